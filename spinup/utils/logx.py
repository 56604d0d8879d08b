"""EpochLogger and restore_tf_graph, under the import path that Spinning Up documents."""

from spinup.loggers.epoch_logger import EpochLogger
from spinup.loggers.run_folder import holds_run
from spinup.loggers.tf_restore import restore_tf_graph

__all__ = ["EpochLogger", "holds_run", "restore_tf_graph"]
