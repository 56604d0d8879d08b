"""The learner: a session that acts and learns, and one that saves. Importing this imports TensorFlow."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from gymnasium.spaces import Box
from numpy.typing import NDArray

from spinup.config import SACConfig
from spinup.replay.storage import Block, Layout
from spinup.tf1.graph import METRICS, TrainingGraph
from spinup.tf1.protocol import ActorCritic, GraphFunction, check_graph_function
from spinup.tf1.saved import GraphSaver
from spinup.tf1.session import load_variables, open_session, variables_by_name

Float = NDArray[np.float32]
ACT_STREAM = 3
SAVED = {"model": "tf1_save", "model_best": "tf1_save_best"}


class GraphLearner:
    """SAC on a TensorFlow graph of its own; other graphs and sessions of the process are left alone.

    Args:
        actor_critic: the graph function, see `sac_tf1`.
        layout: columns of a replay row.
        action_space: flat bounded Box.
        ac_kwargs: keyword arguments for `actor_critic`.
        config: hyperparameters.
        target_entropy: for a learned alpha.
        threads: threads of the sessions.
        dtype: of networks, losses and optimisers, "float32" or "float64".

    Raises:
        ConfigError: for a graph function that cannot work.
    """

    def __init__(
        self,
        actor_critic: GraphFunction,
        layout: Layout,
        action_space: Box,
        ac_kwargs: dict[str, Any],
        config: SACConfig,
        target_entropy: float,
        *,
        threads: int = 1,
        dtype: str = "float32",
    ) -> None:
        make = partial(ActorCritic, actor_critic, action_space=action_space, ac_kwargs=ac_kwargs)
        check_graph_function(make("main"), layout, dtype, threads)
        self.rng = np.random.default_rng(np.random.SeedSequence([config.seed, ACT_STREAM]))
        self.session = open_session(config.seed, threads)
        with self.session.graph.as_default():
            self.graph = graph = TrainingGraph(make, layout, config, target_entropy, dtype)
            self.variables = variables_by_name()
            self.session.run(graph.initialise())
            self._alpha = graph.alpha.value()
        self.session.graph.finalize()
        fetch = self.session.make_callable
        self._mean = fetch(graph.out.mu, [graph.x])
        self._sample = fetch(graph.out.pi, [graph.x, graph.xi])
        self._update = fetch([graph.metrics[key] for key in METRICS], [graph.rows, graph.noise])
        self._saving_session = open_session(config.seed, threads)
        self._saver = GraphSaver(self._saving_session, make("main"), layout, dtype)
        self.saved: Path | None = None  # the folder of the last "model" saved

    def act(self, obs: Float, deterministic: bool) -> Float:
        """Actions (N, act_dim) for observations (N, obs_dim)."""
        if deterministic:
            return np.asarray(self._mean(obs), np.float32)
        noise = self.rng.standard_normal((len(obs), self.graph.layout.act_dim), dtype=np.float32)
        return np.asarray(self._sample(obs, noise), np.float32)

    def update(self, block: Block) -> dict[str, Float]:
        """One gradient step per batch, all in one run of the session; metrics of all n."""
        return dict(zip(METRICS, self._update(block.rows, block.noise), strict=True))

    def save(self, folder: Path, name: str) -> None:
        """Write folder/tf1_save, or folder/tf1_save_best for the name "model_best"."""
        values, alpha = self.session.run((self.variables, self._alpha))
        path = folder / SAVED[name]
        self._saver.save(path, values, alpha)
        if name == "model":
            self.saved = path

    def state_dict(self) -> dict[str, Any]:
        """Every variable of the graph and the generator of actions, as arrays and numbers."""
        return {
            "variables": self.session.run(self.variables),
            "rng": self.rng.bit_generator.state,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue exactly where `state` was taken.

        What a user's graph function draws inside the graph is not part of it.
        """
        load_variables(self.session, self.variables, state["variables"])
        self.rng.bit_generator.state = state["rng"]

    def close(self) -> None:
        """Close the sessions."""
        self.session.close()
        self._saving_session.close()
