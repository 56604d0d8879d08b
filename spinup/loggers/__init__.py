"""EpochLogger and the files it writes: progress.txt, TensorBoard events and saved models."""
