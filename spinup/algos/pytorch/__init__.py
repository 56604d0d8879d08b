"""Import paths of Spinning Up, PyTorch."""
