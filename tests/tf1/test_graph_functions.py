"""Graph functions: the default networks, users' own, and the checks of both."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from graphs import GraphLearner
from gymnasium.spaces import Box
from helpers import random_batches

from spinup.errors import ConfigError
from spinup.tf1.networks import ACTIVATIONS, LOG_STD_MAX, mlp_actor_critic

tf = pytest.importorskip("tensorflow", reason="TensorFlow is not installed").compat.v1


def users(x: Any, a: Any, action_space: Any, width: int = 8, fault: str = "") -> Any:
    """A user's function that draws in the graph and uses nothing of the package; `fault` puts in an error."""
    act_dim = a.shape.as_list()[-1]

    def linear(h: Any, size: int, name: str) -> Any:
        w = tf.get_variable(name, (int(h.shape[-1]), size))
        return tf.matmul(h, tf.Variable(w) if fault == "new variables" else w)

    with tf.variable_scope("policy" if fault == "scope" else "pi"):
        h = tf.nn.relu(linear(x, width, "hidden"))
        if fault == "outside":
            with tf.variable_scope(tf.VariableScope(False, "main/encoder"), auxiliary_name_scope=False):
                h = h * tf.get_variable("scale", ())
        mean = linear(h, act_dim, "mean")
        u = mean + tf.random.normal(tf.shape(mean))
        logp = tf.reduce_sum(-0.5 * (u - mean) ** 2 - 0.5 * math.log(2 * math.pi), -1)
        logp -= tf.reduce_sum(tf.log(1 - tf.tanh(u) ** 2 + 1e-6), -1)
        pi = tf.tanh(u) if fault != "no gradient" else tf.stop_gradient(tf.tanh(u))
    values = []
    for name in ("q1", "q2"):
        with tf.variable_scope(name):
            q = linear(tf.nn.relu(linear(tf.concat([x, a], -1), width, "hidden")), 1, "value")
            values.append({"q shape": q, "squeeze": tf.squeeze(q)}.get(fault, tf.squeeze(q, -1)))
    out = (tf.tanh(mean), pi, logp, *values)
    return out[:4] if fault == "four" else out


def test_a_users_function_trains_and_repeats() -> None:
    def trained(seed: int) -> Any:
        learner = GraphLearner(actor_critic=users, kwargs={"width": 6}, seed=seed)
        before = learner.state_dict()["variables"]
        metrics = [learner.update(random_batches(count=10, seed=k)) for k in range(2)]
        after = learner.state_dict()["variables"]
        changed = {name for name, value in after.items() if np.any(value != before[name])}
        assert {"main/pi/mean", "main/q1/hidden", "main/q2/value", "target/q1/value"} <= changed
        obs = np.ones((2, 3), np.float32)
        assert np.any(learner.act(obs, False) != learner.act(obs, False))
        np.testing.assert_array_equal(learner.act(obs, True), learner.act(obs, True))
        return metrics[-1]

    first, again, other = trained(3), trained(3), trained(4)
    for key, value in first.items():
        np.testing.assert_array_equal(value, again[key], err_msg=key)
    assert np.any(first["LogPi"] != other["LogPi"])


def test_the_example_of_the_documents_trains_and_resumes_exactly() -> None:
    page = Path(__file__).parents[2] / "docs" / "tensorflow.md"
    example = re.findall(r"```python\n(.*?)```", page.read_text(), re.DOTALL)[0]
    namespace: dict[str, Any] = {}
    exec(example, namespace)
    learners = [GraphLearner(actor_critic=namespace["my_actor_critic"], kwargs={"width": 6}) for _ in "ab"]
    learners[0].update(random_batches(count=3))
    learners[1].load_state_dict(learners[0].state_dict())
    first, other = (learner.update(random_batches(count=3, seed=1)) for learner in learners)
    for key, value in first.items():
        assert np.isfinite(value).all() == (key != "TargetEntropy")
        np.testing.assert_array_equal(value, other[key], err_msg=key)


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("q shape", r"users: q1 has shape \(1, 1\) for a batch of 1, and must have \(1,\); flatten"),
        ("squeeze", r"users: q1 has shape \(\) for a batch of 1, and must have \(1,\); flatten"),
        ("scope", "users creates no variables in the scope 'pi': wrap"),
        (
            "outside",
            "users creates main/encoder/scale:0 outside the scopes pi, q1 and q2, where .*: create it in one",
        ),
        ("new variables", r"users creates variables at each call, such as .*: use tf.get_variable"),
        ("no gradient", "users: pi has no gradient"),
        ("four", "users must return the five tensors mu, pi, logp_pi, q1, q2"),
    ],
)
def test_faults_are_named_in_one_line(fault: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words) as caught:
        GraphLearner(actor_critic=users, kwargs={"fault": fault})
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("kwargs", "words"),
    [
        ({"noise": 1}, "ac_kwargs has 'noise': leave it out, the run sets it"),
        ({"action_space": 1}, "ac_kwargs has 'action_space': leave it out, the run sets it"),
        ({"activation": "torch.nn.ELU"}, "activation='torch.nn.ELU' is not one of .*, did you mean 'elu'"),
        ({"hidden": (8,)}, "mlp_actor_critic failed: TypeError: .*hidden"),
    ],
)
def test_wrong_arguments_are_named_in_one_line(kwargs: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words) as caught:
        GraphLearner(kwargs=kwargs)
    assert "\n" not in str(caught.value)


def default_values(session: Any, obs_dim: int = 17, act_dim: int = 6, **kwargs: Any) -> Any:
    """The default function's tensors in a new graph, and its initial variables by name."""
    x, a = tf.placeholder(tf.float32, (None, obs_dim)), tf.placeholder(tf.float32, (None, act_dim))
    out = mlp_actor_critic(x, a, action_space=Box(-1, 1, (act_dim,)), **kwargs)
    session.run(tf.global_variables_initializer())
    return x, a, out, session.run({v.op.name: v for v in tf.trainable_variables()})


def test_parameter_counts_are_the_documented_ones() -> None:
    with tf.Graph().as_default(), tf.Session() as session:
        _, _, _, values = default_values(session)
    count = {
        part: sum(v.size for n, v in values.items() if n.startswith(part)) for part in ("pi", "q1", "q2")
    }
    assert count == {"pi": 73_484, "q1": 72_193, "q2": 72_193}


def test_weights_are_drawn_as_torch_draws_them() -> None:
    with tf.Graph().as_default(), tf.Session() as session:
        _, _, _, values = default_values(session)
    for name, value in values.items():
        inputs = len(values[name.replace("bias", "weight")])
        bound = 1 / math.sqrt(inputs)
        assert np.abs(value).max() <= bound, name
        if value.size >= 200:
            assert np.abs(value).max() > 0.97 * bound, name
            assert value.std() == pytest.approx(bound / math.sqrt(3), rel=0.1), name
    assert np.any(values["q1/layer0/weight"] != values["q2/layer0/weight"])


@pytest.mark.parametrize("activation", [*ACTIVATIONS, "tf.nn.elu", "callable"])
def test_every_named_activation_is_one(activation: str) -> None:
    with tf.Graph().as_default(), tf.Session() as session:
        chosen = tf.sin if activation == "callable" else activation
        x, a, out, _ = default_values(session, activation=chosen, hidden_sizes=(4,))
        values = session.run(out, {x: np.ones((3, 17)), a: np.ones((3, 6))})
    assert [v.shape for v in values] == [(3, 6), (3, 6), (3,), (3,), (3,)]
    assert all(np.isfinite(v).all() for v in values)


def test_log_std_is_clamped_and_actions_stay_inside_the_bounds() -> None:
    low, high = np.array([-3.0, 0.1], np.float32), np.array([-1.0, 0.7], np.float32)
    with tf.Graph().as_default(), tf.Session() as session:
        x, noise = tf.placeholder(tf.float32, (None, 3)), tf.placeholder(tf.float32, (None, 2))
        _, pi, logp_pi, _, _ = mlp_actor_critic(x, noise, (4,), action_space=Box(low, high), noise=noise)
        with tf.variable_scope("", reuse=True):
            bias = tf.get_variable("pi/log_std/bias", (2,))
        session.run(tf.global_variables_initializer())
        session.run(bias.assign([50.0, 50.0]))
        far = np.array([[9.0, 9.0], [-9.0, -9.0], [0.0, 0.0]])
        actions, logp = session.run((pi, logp_pi), {x: np.zeros((3, 3)), noise: far})
    assert np.all((low <= actions) & (actions <= high))
    np.testing.assert_allclose(actions[0], high, rtol=1e-6)
    np.testing.assert_allclose(actions[1], low, rtol=1e-6)
    # far inside, the density of u is that of a Gaussian of the largest sigma allowed
    mean = np.arctanh((actions[2] - (high + low) / 2) / ((high - low) / 2))
    expected = -2 * LOG_STD_MAX - math.log(2 * math.pi) - np.log(1 - np.tanh(mean) ** 2).sum()
    assert logp[2] == pytest.approx(expected, rel=1e-4)
