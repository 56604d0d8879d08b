"""setup_logger_kwargs and ExperimentGrid, under the import path that Spinning Up documents."""

from spinup.runs.grid import ExperimentGrid, setup_logger_kwargs

__all__ = ["ExperimentGrid", "setup_logger_kwargs"]
