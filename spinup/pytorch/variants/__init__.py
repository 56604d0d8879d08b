"""Variants of SAC: their losses (objectives) and their registry."""
