"""tf1_save: read by TensorFlow in a fresh process and by restore_tf_graph, and the documented v."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from graphs import HIGH, LOW, GraphLearner, log_density
from helpers import random_batches

from spinup.loggers.epoch_logger import restore_tf_graph

tf = pytest.importorskip("tensorflow", reason="TensorFlow is not installed").compat.v1

KEYS = ["a", "mu", "pi", "q1", "q2", "v", "x"]
READ_BY_PLAIN_TENSORFLOW = """
import sys
import numpy as np, tensorflow as tf
path, data = sys.argv[1:]
given = np.load(data)
serve = tf.saved_model.load(path).signatures["serving_default"]
out = serve(x=tf.constant(given["x"]), a=tf.constant(given["a"]))
assert "spinup" not in sys.modules
np.savez(data, **{key: value.numpy() for key, value in out.items()})
"""


def trained(dtype: str, **changes: Any) -> Any:
    """A learner after some updates."""
    learner = GraphLearner(dtype, **changes)
    learner.update(random_batches(count=20))
    return learner


@pytest.fixture
def given() -> dict[str, Any]:
    """Observations and actions."""
    rng = np.random.default_rng(0)
    return {"x": rng.standard_normal((4, 3)), "a": rng.uniform(LOW, HIGH, (4, 2))}


def test_plain_tensorflow_reads_it_in_a_fresh_process(tmp_path: Path, given: dict[str, Any]) -> None:
    learner = trained("float32")
    learner.agent.save(tmp_path, "model")
    assert learner.agent.saved == tmp_path / "tf1_save"
    data = tmp_path / "data.npz"
    given = {key: value.astype(np.float32) for key, value in given.items()}
    np.savez(data, **given)
    command = [sys.executable, "-c", READ_BY_PLAIN_TENSORFLOW, str(learner.agent.saved), str(data)]
    subprocess.run(command, check=True, capture_output=True, cwd=tmp_path)
    agent = learner.agent
    feed = {agent.x: given["x"], agent.a: given["a"]}
    expected = agent.session.run({k: getattr(agent.out, k) for k in ("mu", "q1", "q2")}, feed)
    with np.load(data) as out:
        assert sorted(out.files) == ["mu", "pi", "q1", "q2", "v"]
        for key, value in expected.items():
            np.testing.assert_allclose(out[key], value, rtol=1e-6, err_msg=key)
        assert np.any(out["pi"] != out["mu"])


@pytest.mark.parametrize("alpha", [0.3, "auto_0.5"])
def test_v_is_its_formula(tmp_path: Path, given: dict[str, Any], alpha: Any) -> None:
    learner = trained("float64", alpha=alpha, lr=1e-2)
    learner.agent.save(tmp_path, "model")
    with tf.Graph().as_default(), tf.Session() as session:
        tensors = restore_tf_graph(session, tmp_path / "tf1_save")
        assert sorted(tensors) == KEYS
        feed = {tensors["x"]: given["x"]}
        pi, v = session.run((tensors["pi"], tensors["v"]), feed)
        values = session.run({v.op.name: v for v in tf.global_variables()})
        q1, q2 = session.run((tensors["q1"], tensors["q2"]), {**feed, tensors["a"]: pi})
        assert np.any(session.run(tensors["pi"], feed) != pi)
    h = given["x"]
    for i in range(2):
        h = np.maximum(h @ values[f"main/pi/layer{i}/weight"] + values[f"main/pi/layer{i}/bias"], 0)
    mean, log_std = (
        h @ values[f"main/pi/{k}/weight"] + values[f"main/pi/{k}/bias"] for k in ("mu", "log_std")
    )
    low, high = LOW.astype(float), HIGH.astype(float)
    logp = log_density(mean, log_std, (pi - (low + high) / 2) / ((high - low) / 2))
    now = learner.state_dict()["variables"].get("temperature/log_alpha", np.log(0.3))
    assert (alpha == 0.3) == (np.exp(now) == pytest.approx(0.3))
    np.testing.assert_allclose(v, np.minimum(q1, q2) - np.exp(now) * logp, rtol=1e-7)


def test_it_holds_the_networks_alone_and_is_replaced_whole(tmp_path: Path) -> None:
    learner = trained("float32")
    learner.agent.save(tmp_path, "model")
    learner.agent.save(tmp_path, "model_best")
    learner.update(random_batches(count=5))
    learner.agent.save(tmp_path, "model")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["tf1_save", "tf1_save_best"]
    weights = []
    for name in ("tf1_save", "tf1_save_best"):
        with tf.Graph().as_default(), tf.Session() as session:
            restore_tf_graph(session, tmp_path / name)
            values = session.run({v.op.name: v for v in tf.global_variables()})
        assert {n.split("/")[0] for n in values} == {"main", "temperature"}
        weights.append(values)
    live = learner.state_dict()["variables"]
    for name, value in weights[0].items():
        if name.startswith("main"):
            np.testing.assert_array_equal(value, live[name])
    assert np.any(weights[1]["main/pi/mu/weight"] != live["main/pi/mu/weight"])


def test_state_continues_exactly() -> None:
    one, other = GraphLearner(alpha="auto", seed=1), GraphLearner(alpha="auto", seed=2)
    obs = np.ones((2, 3), np.float32)
    one.update(random_batches(count=3))
    one.act(obs, False)
    other.load_state_dict(one.state_dict())
    expected, metrics = (learner.update(random_batches(count=3, seed=1)) for learner in (one, other))
    for key, value in expected.items():
        np.testing.assert_array_equal(value, metrics[key], err_msg=key)
    np.testing.assert_array_equal(one.act(obs, False), other.act(obs, False))
    state = other.state_dict()["variables"]
    for name, value in one.state_dict()["variables"].items():
        np.testing.assert_array_equal(value, state[name], err_msg=name)
