"""Rows, messages and models of a run: EpochLogger and what it writes to."""
