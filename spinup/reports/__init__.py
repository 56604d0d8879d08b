"""Overviews of runs from the files in their folders: an HTML report, and a live view in the terminal."""
