"""Engines: implementations of the update."""
