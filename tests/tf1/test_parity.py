"""The graph against PyTorch: from equal weights, batches and noise, the same numbers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from graphs import GraphLearner, moments, pair, weights
from helpers import random_batches

from spinup.pytorch import losses as torch_losses

tf = pytest.importorskip("tensorflow", reason="TensorFlow is not installed").compat.v1

EXACT = {"float32": {"rtol": 2e-4, "atol": 2e-6}, "float64": {"rtol": 1e-9, "atol": 1e-11}}


def assert_equal(graph: Any, eager: dict[str, Any], dtype: str) -> None:
    """Every value of the torch side is in the graph's, and equal."""
    for name, value in eager.items():
        np.testing.assert_allclose(graph[name], value, err_msg=name, **EXACT[dtype])


@pytest.mark.parametrize("alpha", [0.2, "auto_0.5"])
@pytest.mark.parametrize(
    ("dtype", "count", "act", "free_std"),
    [("float32", 10, "ReLU", False), ("float64", 100, "ReLU", False), ("float64", 20, "Tanh", True)],
)
def test_updates_are_the_same(dtype: str, count: int, act: str, free_std: bool, alpha: Any) -> None:
    eager, graph = pair(dtype, act, free_std, alpha=alpha, lr=3e-3, polyak=0.9)
    before = weights(eager)
    for seed, n in ((1, 1), (2, count - 1)):  # blocks of different lengths through one graph
        batches = random_batches(count=n, seed=seed)
        expected = eager.update(batches)
        metrics = graph.update(batches)
        assert set(metrics) == set(expected)
        assert {k: v.shape for k, v in metrics.items()} == {k: v.shape for k, v in expected.items()}
        assert_equal(metrics, expected, dtype)
        variables = graph.state_dict()["variables"]
        assert_equal(variables, weights(eager), dtype)
        assert_equal(variables, moments(eager), dtype)  # after the first update 0.1 of each gradient
    assert all(np.any(before[k] != v) for k, v in weights(eager).items())  # all of it moved


def test_one_block_is_as_many_single_updates() -> None:
    batches = random_batches(count=7)
    whole, single = GraphLearner(alpha="auto"), GraphLearner(alpha="auto")
    metrics = whole.update(batches)
    parts = [single.update({name: v[i : i + 1] for name, v in batches.items()}) for i in range(7)]
    for key, value in metrics.items():
        np.testing.assert_array_equal(value, np.concatenate([part[key] for part in parts]), err_msg=key)
    after = single.state_dict()["variables"]
    for name, value in whole.state_dict()["variables"].items():
        np.testing.assert_array_equal(value, after[name], err_msg=name)


def test_a_field_that_the_graph_does_not_use_is_refused() -> None:
    with pytest.raises(KeyError, match="weight"):
        GraphLearner().update({**random_batches(), "weight": np.ones((1, 5), np.float32)})


@pytest.mark.parametrize("deterministic", [True, False])
@pytest.mark.parametrize("rows", [1, 4])
def test_act_is_the_same(rows: int, deterministic: bool) -> None:
    eager, graph = pair("float32", seed=5)
    obs = np.random.default_rng(0).standard_normal((rows, 3)).astype(np.float32)
    for _ in range(3):
        expected, action = eager.act(obs, deterministic), graph.act(obs, deterministic)
        assert action.dtype == np.float32
        np.testing.assert_allclose(action, expected, rtol=1e-5, atol=1e-6)


ALPHA = np.array(0.3)
VECTORS = list(np.random.default_rng(0).standard_normal((3, 6)))
CRITICS = np.random.default_rng(1).standard_normal((2, 6))


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("soft_value", [*VECTORS[:2], ALPHA]),
        ("min_q", [CRITICS]),
        ("q_target", VECTORS),
        ("q_loss", [CRITICS, VECTORS[0]]),
        ("actor_loss", [*VECTORS[:2], ALPHA]),
    ],
)
def test_losses_and_their_gradients_are_the_same(name: str, values: list[Any]) -> None:
    from spinup.tf1 import losses

    check_function(getattr(losses, name), getattr(torch_losses, name), values)


def test_log_density_and_its_gradients_are_the_same_far_out() -> None:
    from spinup.tf1 import losses

    rng = np.random.default_rng(0)
    mu = np.array([[0.0, 1.0], [15.0, -15.0], [200.0, -200.0]])
    values = [mu, rng.uniform(-3, 2, (3, 2)), rng.standard_normal((3, 2))]
    for i in range(2):
        check_function(
            lambda *x, i=i: losses.squashed_gaussian(*x)[i],
            lambda *x, i=i: torch_losses.squashed_gaussian(*x)[i],
            values,
        )


def test_alpha_loss_and_its_gradient_are_the_same() -> None:
    from spinup.tf1 import losses

    values = [np.array(-0.7), np.random.default_rng(0).standard_normal(6)]
    check_function(
        lambda *x: losses.alpha_loss(*x, -2.0),
        lambda *x: torch_losses.alpha_loss(*x, -2.0),
        values,
        differentiable=1,
    )


def check_function(graph: Any, eager: Any, values: list[Any], differentiable: int | None = None) -> None:
    """Values and gradients by the first arguments agree in float64."""
    xs = [torch.tensor(v, requires_grad=True) for v in values]
    out = eager(*xs)
    expected = torch.autograd.grad(out.sum(), xs[:differentiable])
    with tf.Graph().as_default(), tf.Session() as session:
        xs = [tf.constant(v) for v in values]
        y = graph(*xs)
        value, gradients = session.run((y, tf.gradients(tf.reduce_sum(y), xs[:differentiable])))
    np.testing.assert_allclose(value, out.detach().numpy(), rtol=1e-12)
    for one, other in zip(gradients, expected, strict=True):
        np.testing.assert_allclose(one, other.numpy(), rtol=1e-9, atol=1e-14)
