"""Run folders: launching, checkpointing, resuming, signals, locks and grids of runs."""
