"""Adam in the graph: epsilon and bias corrections as in PyTorch."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

tf = pytest.importorskip("tensorflow", reason="TensorFlow is not installed").compat.v1

LR = 0.1


def graph_steps(gradients: Any, dtype: str) -> list[float]:
    """The value of a variable that starts at 0 after each of these gradients."""
    from spinup.tf1.adam import Adam

    with tf.Graph().as_default(), tf.Session() as session:
        w = tf.get_variable("w", (1,), dtype, tf.zeros_initializer(), use_resource=True)
        gradient = tf.placeholder(dtype, ())
        step = Adam("adam", [w], LR).minimize(gradient * w[0])
        session.run(tf.global_variables_initializer())
        values = []
        for value in gradients:
            session.run(step, {gradient: value})
            values.append(float(session.run(w)[0]))
        return values


def torch_steps(gradients: Any) -> list[float]:
    """The same in torch, in float64."""
    w = torch.zeros(1, dtype=torch.float64, requires_grad=True)
    optimizer, values = torch.optim.Adam([w], lr=LR), []
    for value in gradients:
        w.grad = torch.full_like(w, value)
        optimizer.step()
        values.append(w.item())
    return values


@pytest.mark.parametrize(("dtype", "rtol"), [("float64", 1e-12), ("float32", 1e-4)])
def test_a_small_gradient_moves_as_far_as_in_torch(dtype: str, rtol: float) -> None:
    # m_hat = 1e-6 and sqrt(v_hat) = 1e-6: by hand the step is lr / (1 + 1e-8 / 1e-6)
    assert graph_steps([1e-6], dtype) == pytest.approx([-LR / 1.01], rel=rtol)


@pytest.mark.parametrize(("dtype", "rtol"), [("float64", 1e-11), ("float32", 1e-4)])
def test_many_steps_are_those_of_torch(dtype: str, rtol: float) -> None:
    gradients = np.random.default_rng(0).standard_normal(200) * np.logspace(-9, 1, 200)
    np.testing.assert_allclose(
        graph_steps(gradients, dtype), torch_steps(gradients), rtol=rtol, atol=rtol * LR
    )


def test_only_its_variables_move() -> None:
    from spinup.tf1.adam import Adam

    with tf.Graph().as_default(), tf.Session() as session:
        w = tf.get_variable("w", (), tf.float32, tf.ones_initializer(), use_resource=True)
        other = tf.get_variable("other", (), tf.float32, tf.ones_initializer(), use_resource=True)
        unused = tf.get_variable("unused", (), tf.float32, tf.ones_initializer(), use_resource=True)
        step = Adam("adam", [w, unused], LR).minimize(w * other)
        session.run(tf.global_variables_initializer())
        session.run(step)
        assert session.run(w) == pytest.approx(1 - LR)
        assert session.run((other, unused)) == (1.0, 1.0)
