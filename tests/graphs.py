"""The graph learner beside the torch one: equal weights, so that both can be held against each other."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from gymnasium.spaces import Box
from helpers import make, small_ac

from spinup.config import SACConfig
from spinup.data.replay import Layout

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
    import torch

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
    found = {}
    for scope, q1, q2 in (
        ("main", learner.ac.q1, learner.ac.q2),
        ("target", *learner.objective.targets),
    ):
        found |= layers(f"{scope}/q1", q1.q) | layers(f"{scope}/q2", q2.q)
    pi = learner.ac.pi
    found |= layers("main/pi", pi.net) | layer("main/pi/mu", pi.mu_layer)
    found |= layer("main/pi/log_std", pi.log_std_layer)
    if hasattr(learner.temperature, "log_alpha"):
        found["temperature/log_alpha"] = array(learner.temperature.log_alpha)
    return found


def moments(learner: Any) -> dict[str, Any]:
    """Adam's first moments of a torch learner by the names of the graph's variables."""
    named = weights(learner)
    by_shape = {}
    for scope, optimiser, params in (
        ("pi_adam", learner.pi_optimiser, learner.objective.pi_params),
        ("critic_adam", learner.critic_optimiser, learner.objective.critic_params),
    ):
        for param in params:
            value = array(param)
            name = next(n for n, w in named.items() if n.startswith("main") and same(w, value))
            m = array(optimiser.state[param]["exp_avg"])
            by_shape[f"{scope}/{name}/m"] = m.T if m.ndim == 2 else m
    return by_shape


def same(weight: Any, value: Any) -> bool:
    """Whether a graph's array and a torch parameter are one and the same weights."""
    value = value.T if value.ndim == 2 else value
    return weight.shape == value.shape and bool(np.all(weight == value))


def layers(scope: str, net: Any) -> dict[str, Any]:
    """The linear layers of a perceptron."""
    linear = [part for part in net if hasattr(part, "weight")]
    return {k: v for i, part in enumerate(linear) for k, v in layer(f"{scope}/layer{i}", part).items()}


def layer(scope: str, part: Any) -> dict[str, Any]:
    """One linear layer, or a free vector."""
    if hasattr(part, "value"):
        return {scope: array(part.value)}
    return {f"{scope}/weight": array(part.weight).T, f"{scope}/bias": array(part.bias)}


def array(tensor: Any) -> Any:
    """A copy of a torch tensor."""
    return tensor.detach().numpy().copy()


def log_density(mean: Any, log_std: Any, squashed: Any) -> Any:
    """log pi of actions in (-1, 1) in NumPy, written from the change of variables itself."""
    u = np.arctanh(squashed)
    normal = -0.5 * ((u - mean) / np.exp(log_std)) ** 2 - log_std - 0.5 * math.log(2 * math.pi)
    return (normal - np.log(1 - squashed**2)).sum(-1)
