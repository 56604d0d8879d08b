"""Soft Actor-Critic as a TensorFlow graph; TensorFlow is imported only when a graph is built."""
