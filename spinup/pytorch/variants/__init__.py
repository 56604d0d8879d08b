"""Variants of SAC: one registry entry and one objective each."""
