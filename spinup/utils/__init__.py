"""Logging, launching, testing and plotting of runs."""
