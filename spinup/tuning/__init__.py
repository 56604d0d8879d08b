"""Search for the settings with the highest return."""
