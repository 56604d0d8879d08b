"""setup_logger_kwargs, call_experiment and ExperimentGrid, under the import path of Spinning Up."""

from spinup.runs.grid import ExperimentGrid, call_experiment, setup_logger_kwargs

__all__ = ["ExperimentGrid", "call_experiment", "setup_logger_kwargs"]
