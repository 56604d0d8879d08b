"""Evaluation, rendering and recording of saved policies."""
