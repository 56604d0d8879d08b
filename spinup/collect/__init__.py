"""Transitions from environments, given a policy."""
