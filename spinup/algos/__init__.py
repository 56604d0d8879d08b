"""The import paths of Spinning Up's algorithms: `spinup.algos.pytorch.sac.sac` and `.core`."""
