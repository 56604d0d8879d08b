"""Soft Actor-Critic in PyTorch: losses, networks, agent, engines."""
