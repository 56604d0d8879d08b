"""Environments: made, vectorised, checked against their spaces, and replayed to the middle of an episode."""
