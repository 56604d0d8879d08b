"""Search for the settings with which a run returns most."""
