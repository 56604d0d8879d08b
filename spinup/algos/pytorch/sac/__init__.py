"""Import paths of Spinning Up: `sac` and the parts of an actor-critic in `core`."""
