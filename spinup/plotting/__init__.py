"""Learning curves from the rows of runs."""
