"""The agent: networks, targets, optimizers and temperature in a graph, and the session that acts.

Importing this imports TensorFlow.
"""

from __future__ import annotations

import math
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow.compat.v1 as tf
from gymnasium.spaces import Box
from numpy.typing import NDArray

from spinup.config import SACConfig
from spinup.seeding import ACT_STREAM, generator
from spinup.tf1.adam import Adam
from spinup.tf1.graph_function import ActorCritic, GraphFunction, check_graph_function, placeholders
from spinup.tf1.saved_model import ModelSaver
from spinup.tf1.session import load_variables, open_session, variables_by_name

Float = NDArray[np.float32]
SAVED = {"model": "tf1_save", "model_best": "tf1_save_best"}


class Temperature:
    """The entropy coefficient alpha: fixed, or learned as exp(log_alpha) (equation 8)."""

    def __init__(self, config: SACConfig, act_dim: int, dtype: Any) -> None:
        target: Any = config.target_entropy
        if isinstance(target, str):
            target = -act_dim * config.target_entropy_factor
        self.target_entropy = tf.constant(target if config.learns_alpha else math.nan, dtype)
        self._fixed = tf.constant(config.initial_alpha, dtype)
        self.log_alpha: Any = None
        if config.learns_alpha:
            start = tf.constant_initializer(math.log(config.initial_alpha))
            with tf.variable_scope("temperature", use_resource=True):
                self.log_alpha = tf.get_variable("log_alpha", (), dtype, start)

    def value(self) -> Any:
        """A tensor with the current alpha, 0-dim."""
        return self._fixed if self.log_alpha is None else tf.exp(self.log_alpha)


class GraphAgent:
    """All learned state of a run, in a separate TensorFlow graph; other graphs are not changed.

    Args:
        actor_critic: the graph function, see `sac_tf1`.
        obs_dim: length of an observation.
        action_space: flat bounded Box.
        ac_kwargs: keyword arguments for `actor_critic`.
        config: hyperparameters.
        threads: number of threads of the sessions.
        dtype: dtype of networks, losses and optimizers, "float32" or "float64".

    Attributes:
        session: the session of the graph.
        main, target: the networks; a call builds their tensors for other inputs, with the same variables.
        x, a, noise: placeholders for observations, actions and noise.
        out: the outputs of `main` for them.

    Raises:
        ConfigError: for an invalid graph function.
    """

    def __init__(
        self,
        actor_critic: GraphFunction,
        obs_dim: int,
        action_space: Box,
        ac_kwargs: dict[str, Any],
        config: SACConfig,
        *,
        threads: int = 1,
        dtype: str = "float32",
    ) -> None:
        make = partial(ActorCritic, actor_critic, action_space=action_space, ac_kwargs=ac_kwargs)
        self.main, self.target = make("main"), make("target")
        self.obs_dim, self.act_dim, self.dtype = obs_dim, self.main.act_dim, tf.as_dtype(dtype)
        check_graph_function(self.main, obs_dim, dtype, threads)
        self.rng = generator(config.seed, ACT_STREAM)
        self.session = open_session(config.seed, threads)
        with self.session.graph.as_default():
            self.x, self.a, self.noise = placeholders(obs_dim, self.act_dim, self.dtype)
            self.out = self.main(self.x, self.a, self.noise)
            self.target(self.x, self.a, self.noise)
            self.temperature = Temperature(config, self.act_dim, self.dtype)
            self.critic_params = self.main.variables("q1", "q2")
            self.target_params = self.target.variables("q1", "q2")
            self.critic_optimizer = Adam("critic_adam", self.critic_params, config.lr)
            self.actor_optimizer = Adam("pi_adam", self.main.variables("pi"), config.lr)
            log_alpha = self.temperature.log_alpha
            self.alpha_optimizer = None if log_alpha is None else Adam("alpha_adam", [log_alpha], config.lr)
            self.variables = variables_by_name()
            self._alpha = self.temperature.value()
            self.session.run(tf.global_variables_initializer())
            pairs = zip(self.target_params, self.critic_params, strict=True)
            self.session.run([target.assign(param) for target, param in pairs])
        self._mean = self.session.make_callable(self.out.mu, [self.x])
        self._sample = self.session.make_callable(self.out.pi, [self.x, self.noise])
        self._saver = ModelSaver(make("main"), obs_dim, dtype, seed=config.seed, threads=threads)
        self.saved: Path | None = None  # the folder of the last "model" saved

    def act(self, obs: Float, deterministic: bool) -> Float:
        """Actions (N, act_dim) for observations (N, obs_dim)."""
        if deterministic:
            return np.asarray(self._mean(obs), np.float32)
        noise = self.rng.standard_normal((len(obs), self.act_dim), dtype=np.float32)
        return np.asarray(self._sample(obs, noise), np.float32)

    def save(self, folder: Path, name: str) -> None:
        """Write folder/tf1_save, or folder/tf1_save_best for the name "model_best"."""
        values, alpha = self.session.run((self.variables, self._alpha))
        path = folder / SAVED[name]
        self._saver.save(path, values, alpha)
        if name == "model":
            self.saved = path

    def state_dict(self) -> dict[str, Any]:
        """Every variable of the graph and the generator of actions, as arrays and numbers."""
        return {"variables": self.session.run(self.variables), "rng": self.rng.bit_generator.state}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue exactly where `state` was taken.

        The state of random operations in a custom graph function is not included.
        """
        load_variables(self.session, self.variables, state["variables"])
        self.rng.bit_generator.state = state["rng"]

    def close(self) -> None:
        """Close the sessions."""
        self.session.close()
        self._saver.close()
