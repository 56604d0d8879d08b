"""The graph learner beside the torch one: equal weights, so that both can be held against each other."""

from __future__ import annotations

import copy
import importlib.util
import math
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium.spaces import Box
from helpers import make, small_ac

import spinup
from spinup.config import SACConfig
from spinup.replay.storage import Layout

TF1 = pytest.param(
    "tf1",
    marks=pytest.mark.skipif(
        importlib.util.find_spec("tensorflow") is None, reason="TensorFlow is not installed"
    ),
)
LAYOUT = Layout(3, 2)
LOW, HIGH = np.array([-1.0, -0.5], np.float32), np.array([1.0, 2.5], np.float32)


def graph_learner(
    dtype: str = "float32", actor_critic: Any = None, kwargs: Any = None, low: Any = LOW, **changes: Any
) -> Any:
    """A GraphLearner on small networks, for 3 observations and 2 actions with bounds of their own."""
    from spinup.tf1.learner import GraphLearner
    from spinup.tf1.networks import mlp_actor_critic

    config = SACConfig(**{"batch_size": 5, **changes})
    kwargs = {"hidden_sizes": (8, 8)} if kwargs is None else kwargs
    function = actor_critic or mlp_actor_critic
    return GraphLearner(function, LAYOUT, Box(low, HIGH), kwargs, config, -2.0, dtype=dtype)


def pair(dtype: str, act: str = "ReLU", free_std: bool = False, **changes: Any) -> tuple[Any, Any]:
    """A torch learner and a graph learner with the same weights."""
    names = {"ReLU": "relu", "Tanh": "tanh"}
    ac = small_ac(low=LOW, high=HIGH, activation=getattr(torch.nn, act), state_dependent_std=not free_std).to(
        getattr(torch, dtype)
    )
    kwargs = {"hidden_sizes": (8, 8), "activation": names[act], "state_dependent_std": not free_std}
    graph = graph_learner(dtype, kwargs=kwargs, **changes)
    eager = make(ac, **changes)
    state = graph.state_dict()
    assert set(weights(eager)) <= set(state["variables"])
    graph.load_state_dict({**state, "variables": {**state["variables"], **weights(eager)}})
    return eager, graph


def weights(learner: Any) -> dict[str, Any]:
    """Parameters, targets and alpha of a torch learner by the names of the graph's variables."""
    named = names("main", learner.ac) | target_names(learner.objective.targets)
    found = {name: as_graph(parameter) for name, parameter in named.items()}
    if hasattr(learner.temperature, "log_alpha"):
        found["temperature/log_alpha"] = as_graph(learner.temperature.log_alpha)
    return found


def moments(learner: Any) -> dict[str, Any]:
    """Adam's first moments of a torch learner by the names of the graph's variables."""
    found = {}
    for name, parameter in names("main", learner.ac).items():
        scope, optimiser = ("pi_adam", learner.pi_optimiser)
        if not name.startswith("main/pi"):
            scope, optimiser = ("critic_adam", learner.critic_optimiser)
        found[f"{scope}/{name}/m"] = as_graph(optimiser.state[parameter]["exp_avg"])
    return found


def names(scope: str, ac: Any) -> dict[str, Any]:
    """The parameters of a default actor-critic by the names of the graph's variables."""
    pi = ac.pi
    found = layers(f"{scope}/pi", pi.net) | layer(f"{scope}/pi/mu", pi.mu_layer)
    found |= layer(f"{scope}/pi/log_std", pi.log_std_layer)
    return found | layers(f"{scope}/q1", ac.q1.q) | layers(f"{scope}/q2", ac.q2.q)


def target_names(targets: Any) -> dict[str, Any]:
    """The parameters of the two target critics."""
    return layers("target/q1", targets[0].q) | layers("target/q2", targets[1].q)


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
    """A torch tensor as the graph holds it: weights are (in, out) there."""
    return tensor.detach().numpy().T.copy()


def copy_back(named: dict[str, Any], variables: dict[str, Any]) -> None:
    """Set torch parameters to the graph's variables."""
    with torch.no_grad():
        for name, parameter in named.items():
            parameter.copy_(torch.from_numpy(np.array(variables[name]).T))


class Mirror:
    """A graph learner that starts from a torch actor-critic and keeps it equal to the graph."""

    def __init__(self, ac: Any, act_dim: int, **changes: Any) -> None:
        from spinup.tf1.learner import GraphLearner
        from spinup.tf1.networks import mlp_actor_critic

        self.ac, self.targets = ac, copy.deepcopy(torch.nn.ModuleList([ac.q1, ac.q2]))
        linear = [part for part in ac.pi.net if hasattr(part, "weight")]
        config = SACConfig(**{"batch_size": 5, **changes})
        space = Box(ac.pi.low.numpy(), ac.pi.high.numpy())
        layout, kwargs = (
            Layout(linear[0].in_features, act_dim),
            {"hidden_sizes": [p.out_features for p in linear]},
        )
        target = -float(act_dim) if config.target_entropy == "auto" else config.target_entropy
        self.graph = GraphLearner(mlp_actor_critic, layout, space, kwargs, config, target)
        given = {k: as_graph(p) for k, p in (names("main", ac) | target_names(self.targets)).items()}
        state = self.graph.state_dict()
        self.graph.load_state_dict({**state, "variables": {**state["variables"], **given}})
        self.act = self.graph.act

    def update(self, block: Any) -> Any:
        """The graph's own, after which the torch networks are as the graph's."""
        metrics = self.graph.update(block)
        self._copy_back()
        return metrics

    def state_dict(self) -> dict[str, Any]:
        """The graph's, with the targets as torch holds them."""
        targets = {name: p.detach().numpy() for name, p in self.targets.named_parameters()}
        return {"targets": targets, "graph": self.graph.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue where `state` was taken."""
        self.graph.load_state_dict(state["graph"])
        self._copy_back()

    def _copy_back(self) -> None:
        variables = self.graph.state_dict()["variables"]
        copy_back(names("main", self.ac) | target_names(self.targets), variables)


def sac_mirrored(env_fn: Any, **settings: Any) -> Any:
    """A run of sac_tf1; returns a torch actor-critic with the weights that it ended with."""
    last: dict[str, Any] = {}
    given = settings.pop("callback", None)

    def callback(row: dict[str, Any], learner: Any) -> Any:
        last.update(learner.state_dict()["variables"], space=learner.graph.main.action_space)
        return given and given(row, learner)

    del settings["engine"]
    spinup.sac_tf1(env_fn, callback=callback, **settings)
    obs_dim = len(last["main/pi/layer0/weight"])
    ac = spinup.MLPActorCritic(Box(-np.inf, np.inf, (obs_dim,)), last["space"], **settings["ac_kwargs"])
    copy_back(names("main", ac), last)
    return ac


def log_density(mean: Any, log_std: Any, squashed: Any) -> Any:
    """log pi of actions in (-1, 1) in NumPy, written from the change of variables itself."""
    u = np.arctanh(squashed)
    normal = -0.5 * ((u - mean) / np.exp(log_std)) ** 2 - log_std - 0.5 * math.log(2 * math.pi)
    return (normal - np.log(1 - squashed**2)).sum(-1)
