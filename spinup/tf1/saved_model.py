"""The SavedModel for users: policy and critics only, without the operations of training."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import tensorflow.compat.v1 as tf

from spinup.loggers.tf_saver import TFSaver
from spinup.tf1 import losses
from spinup.tf1.graph_function import ActorCritic, placeholders
from spinup.tf1.session import load_variables, open_session, variables_by_name


class ModelSaver:
    """Writes SavedModels with the keys x, a, mu, pi, q1, q2 and v.

    v is the soft value of x, min(q1, q2)(x, pi) - alpha log pi(pi|x) (equation 2, one sample), for the sample
    pi of the same call. The noise of pi is drawn in the graph.

    Args:
        main: the graph function in the scope "main".
        obs_dim: length of an observation.
        dtype: dtype of the networks.
        seed, threads: see `open_session`.
    """

    def __init__(self, main: ActorCritic, obs_dim: int, dtype: str, *, seed: int, threads: int) -> None:
        self._session = open_session(seed, threads)
        with self._session.graph.as_default():
            x, a, _ = placeholders(obs_dim, main.act_dim, dtype)
            out = main(x, a)
            with tf.variable_scope("temperature", use_resource=True):
                alpha = tf.get_variable("alpha", (), dtype, tf.zeros_initializer(), trainable=False)
            v = losses.soft_value(losses.min_q(main(x, out.pi).q), out.logp_pi, alpha)
            self._variables = variables_by_name()
        outputs = {"mu": out.mu, "pi": out.pi, "q1": out.q1, "q2": out.q2, "v": v}
        self._saver = TFSaver(self._session, {"x": x, "a": a}, outputs)

    def save(self, path: Path, values: dict[str, Any], alpha: Any) -> None:
        """Write the SavedModel folder `path`, replacing any that is there.

        Args:
            path: the folder.
            values: arrays by the names of the variables in "main"; others are ignored.
            alpha: the entropy coefficient in v.
        """
        load_variables(self._session, self._variables, {**values, "temperature/alpha": alpha})
        self._saver.save(path)

    def close(self) -> None:
        """Close the session."""
        self._session.close()
