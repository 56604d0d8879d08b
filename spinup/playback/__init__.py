"""Saved policies, loaded and run in an environment."""
