"""Environments: construction, vectorization, validation against the declared spaces, episode replay."""
