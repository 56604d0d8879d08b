"""Learning curves from the progress.txt of runs."""
