"""Environments and the replay buffer: NumPy and Gymnasium only."""
