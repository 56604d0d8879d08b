"""Sessions on new graphs, and variables by name. Importing this imports TensorFlow."""

from __future__ import annotations

from typing import Any

import tensorflow.compat.v1 as tf


def open_session(seed: int, threads: int) -> Any:
    """A session on a new graph with this seed, on the CPU, with a separate pool of `threads` threads."""
    graph = tf.Graph()
    with graph.as_default():
        tf.set_random_seed(seed)
    settings = tf.ConfigProto(
        intra_op_parallelism_threads=threads,
        inter_op_parallelism_threads=threads,
        use_per_session_threads=True,
        device_count={"GPU": 0},
    )
    return tf.Session(graph=graph, config=settings)


def variables_by_name() -> dict[str, Any]:
    """All variables of the default graph, by name."""
    return {variable.op.name: variable for variable in tf.global_variables()}


def load_variables(session: Any, variables: dict[str, Any], values: dict[str, Any]) -> None:
    """Set `variables` to the arrays of the same names in `values`.

    The arrays are fed to the inputs of the initializers, so that the graph gets no new operations.
    """
    feed = {variable.initializer.inputs[1]: values[name] for name, variable in variables.items()}
    session.run([variable.initializer for variable in variables.values()], feed)
