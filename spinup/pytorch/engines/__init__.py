"""Engines: how an update is computed."""
