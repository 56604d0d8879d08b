"""The actor-critics of the package, and their layers."""
