"""The TensorFlow version beside the torch one, with equal weights, so that tests can compare them."""

from __future__ import annotations

import copy
import importlib.util
import math
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium.spaces import Box
from helpers import Learner, make, small_ac

import spinup
from spinup.config import SACConfig
from spinup.pytorch.networks.mlp import Ensemble
from spinup.pytorch.state_arrays import arrays

TF1 = pytest.param(
    "tf1",
    marks=pytest.mark.skipif(
        importlib.util.find_spec("tensorflow") is None, reason="TensorFlow is not installed"
    ),
)
LOW, HIGH = np.array([-1.0, -0.5], np.float32), np.array([1.0, 2.5], np.float32)


class GraphLearner:
    """A GraphAgent with its engine, by default on small networks for 3 observations and 2 bounded actions."""

    def __init__(
        self,
        dtype: str = "float32",
        actor_critic: Any = None,
        kwargs: Any = None,
        *,
        obs_dim: int = 3,
        space: Any = None,
        **changes: Any,
    ) -> None:
        from spinup.tf1.agent import GraphAgent
        from spinup.tf1.engine import GraphEngine
        from spinup.tf1.networks import mlp_actor_critic

        config = SACConfig(**{"batch_size": 5, **changes})
        kwargs = {"hidden_sizes": (8, 8)} if kwargs is None else kwargs
        function, space = actor_critic or mlp_actor_critic, space or Box(LOW, HIGH)
        self.agent = agent = GraphAgent(function, obs_dim, space, kwargs, config, dtype=dtype)
        self.engine = GraphEngine(agent, config.batch_size, config.polyak)
        self.act, self.state_dict, self.load_state_dict = agent.act, agent.state_dict, agent.load_state_dict

    def update(self, batches: Any) -> Any:
        """One gradient step per batch."""
        return self.engine.update(self.agent, batches)


def pair(
    dtype: str, act: str = "ReLU", free_std: bool = False, **changes: Any
) -> tuple[Learner, GraphLearner]:
    """A torch learner and a graph learner with the same weights."""
    names = {"ReLU": "relu", "Tanh": "tanh"}
    ac = small_ac(low=LOW, high=HIGH, activation=getattr(torch.nn, act), state_dependent_std=not free_std).to(
        getattr(torch, dtype)
    )
    kwargs = {"hidden_sizes": (8, 8), "activation": names[act], "state_dependent_std": not free_std}
    graph = GraphLearner(dtype, kwargs=kwargs, **changes)
    eager = make(ac, **changes)
    set_variables(graph, weights(eager))
    return eager, graph


def set_variables(graph: GraphLearner, values: dict[str, Any]) -> None:
    """Set some variables of the graph, by name."""
    state = graph.state_dict()
    assert set(values) <= set(state["variables"])
    graph.load_state_dict({**state, "variables": {**state["variables"], **values}})


def weights(learner: Learner) -> dict[str, Any]:
    """Parameters, targets and alpha of a torch learner by the names of the graph's variables."""
    named = names("main", learner.ac) | target_names(learner.agent.networks.target)
    found = {name: as_graph(parameter) for name, parameter in named.items()}
    if (log_alpha := learner.agent.temperature.log_alpha) is not None:
        found["temperature/log_alpha"] = as_graph(log_alpha)
    return found


def moments(learner: Learner) -> dict[str, Any]:
    """Adam's first moments of a torch learner by the names of the graph's variables."""
    found, optimizers = {}, learner.agent.optimizers
    for name, parameter in names("main", learner.ac).items():
        scope, optimizer = ("pi_adam", optimizers.actor)
        if not name.startswith("main/pi"):
            scope, optimizer = ("critic_adam", optimizers.critic)
        found[f"{scope}/{name}/m"] = as_graph(optimizer.state[parameter]["exp_avg"])
    return found


def names(scope: str, ac: Any) -> dict[str, Any]:
    """The parameters of a default actor-critic by the names of the graph's variables."""
    pi = ac.pi
    found = layers(f"{scope}/pi", pi.net) | layer(f"{scope}/pi/mu", pi.mu_layer)
    found |= layer(f"{scope}/pi/log_std", pi.log_std_layer)
    return found | layers(f"{scope}/q1", ac.q1.q) | layers(f"{scope}/q2", ac.q2.q)


def target_names(target: Any) -> dict[str, Any]:
    """The parameters of the two target critics."""
    return layers("target/q1", target[0].q) | layers("target/q2", target[1].q)


def layers(scope: str, net: Any) -> dict[str, Any]:
    """The linear layers of a perceptron."""
    linear = [part for part in net if hasattr(part, "weight")]
    return {k: v for i, part in enumerate(linear) for k, v in layer(f"{scope}/layer{i}", part).items()}


def layer(scope: str, part: Any) -> dict[str, Any]:
    """One linear layer, or a free vector."""
    if hasattr(part, "value"):
        return {scope: part.value}
    return {f"{scope}/weight": part.weight, f"{scope}/bias": part.bias}


def as_graph(tensor: Any) -> Any:
    """A copy of a torch tensor in the layout of the graph, where weights are (in, out)."""
    return tensor.detach().numpy().T.copy()


def copy_back(named: dict[str, Any], variables: dict[str, Any]) -> None:
    """Set torch parameters to the graph's variables."""
    with torch.no_grad():
        for name, parameter in named.items():
            parameter.copy_(torch.from_numpy(np.array(variables[name]).T))


class Mirror:
    """A graph learner that starts from a torch actor-critic, and after each update sets it to the graph's."""

    def __init__(self, ac: Any, act_dim: int, **changes: Any) -> None:
        self.ac, self.target = ac, copy.deepcopy(Ensemble([ac.q1, ac.q2]))
        linear = [part for part in ac.pi.net if hasattr(part, "weight")]
        self.graph = GraphLearner(
            kwargs={"hidden_sizes": [part.out_features for part in linear]},
            obs_dim=linear[0].in_features,
            space=Box(ac.pi.low.numpy(), ac.pi.high.numpy()),
            **changes,
        )
        assert self.graph.agent.act_dim == act_dim
        self.agent, self.engine, self.act = self.graph.agent, self.graph.engine, self.graph.act
        set_variables(self.graph, {name: as_graph(p) for name, p in self._mirrored().items()})

    def update(self, batches: Any) -> Any:
        """One gradient step per batch, by the graph."""
        metrics = self.graph.update(batches)
        self._copy_back()
        return metrics

    def state_dict(self) -> dict[str, Any]:
        """The graph's, and the targets as torch holds them."""
        return {"target": arrays(self.target), **self.graph.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue where `state` was taken."""
        self.graph.load_state_dict(state)
        self._copy_back()

    def _mirrored(self) -> dict[str, Any]:
        return names("main", self.ac) | target_names(self.target)

    def _copy_back(self) -> None:
        copy_back(self._mirrored(), self.graph.state_dict()["variables"])


def sac_mirrored(env_fn: Any, **settings: Any) -> Any:
    """A run of sac_tf1; returns a torch actor-critic with its final weights."""
    last: dict[str, Any] = {}
    given = settings.pop("callback", None)

    def callback(row: dict[str, Any], learner: Any) -> Any:
        last.update(learner.state_dict()["variables"], space=learner.main.action_space)
        return given and given(row, learner)

    del settings["engine"]
    spinup.sac_tf1(env_fn, callback=callback, **settings)
    obs_dim = len(last["main/pi/layer0/weight"])
    ac = spinup.MLPActorCritic(Box(-np.inf, np.inf, (obs_dim,)), last["space"], **settings["ac_kwargs"])
    copy_back(names("main", ac), last)
    return ac


def log_density(mean: Any, log_std: Any, squashed: Any) -> Any:
    """log pi of actions in (-1, 1) in NumPy, directly from the change of variables."""
    u = np.arctanh(squashed)
    normal = -0.5 * ((u - mean) / np.exp(log_std)) ** 2 - log_std - 0.5 * math.log(2 * math.pi)
    return (normal - np.log(1 - squashed**2)).sum(-1)
