"""The graph that is saved: policy and critics alone, nothing of the training."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import tensorflow.compat.v1 as tf

from spinup.loggers.tf_saver import TFSaver
from spinup.replay.storage import Layout
from spinup.tf1 import losses
from spinup.tf1.protocol import ActorCritic, inputs
from spinup.tf1.session import load_variables, variables_by_name


class GraphSaver:
    """Writes SavedModels with the keys x, a, mu, pi, q1, q2 and v.

    v is the soft value of x, min(q1, q2)(x, pi) - alpha log pi(pi|x) (equation 2, one sample), with the pi
    that is fetched along with it. The noise of pi is drawn inside the graph.

    Args:
        session: an open session on an empty graph; the caller closes it.
        main: the graph function in the scope "main".
        layout: columns of a replay row.
        dtype: of the networks.
    """

    def __init__(self, session: Any, main: ActorCritic, layout: Layout, dtype: str) -> None:
        self._session = session
        with session.graph.as_default():
            x, a, _ = inputs(layout, dtype)
            out = main(x, a)
            with tf.variable_scope("temperature", use_resource=True):
                alpha = tf.get_variable("alpha", (), dtype, tf.zeros_initializer(), trainable=False)
            _, _, _, q1, q2 = main(x, out.pi)
            v = losses.soft_value(tf.minimum(q1, q2), out.logp_pi, alpha)
            self._variables = variables_by_name()
        outputs = {"mu": out.mu, "pi": out.pi, "q1": out.q1, "q2": out.q2, "v": v}
        self._saver = TFSaver(session, {"x": x, "a": a}, outputs)

    def save(self, path: Path, values: dict[str, Any], alpha: Any) -> None:
        """Write the folder `path`.

        Args:
            path: the SavedModel's folder; it is replaced whole.
            values: arrays by the names of the variables in "main"; others are left aside.
            alpha: the entropy coefficient in v.
        """
        load_variables(self._session, self._variables, {**values, "temperature/alpha": alpha})
        self._saver.save(path)
