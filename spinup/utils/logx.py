"""EpochLogger and restore_tf_graph, under the import path that Spinning Up documents."""

from spinup.loggers.epoch_logger import EpochLogger
from spinup.loggers.tf_restore import restore_tf_graph

__all__ = ["EpochLogger", "restore_tf_graph"]
