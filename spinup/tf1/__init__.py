"""Soft Actor-Critic as a TensorFlow graph; TensorFlow is imported only once a graph is built."""
