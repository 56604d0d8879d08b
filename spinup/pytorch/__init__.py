"""Soft Actor-Critic in PyTorch: losses, networks, learner, engines."""
