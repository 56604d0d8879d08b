"""Transitions stored by field, and batches sampled from them."""
