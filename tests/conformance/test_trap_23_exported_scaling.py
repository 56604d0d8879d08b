"""Trap 23: the exported policy omits the action scaling, and acts in (-1, 1) in any environment."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import torch
from gymnasium.spaces import Box
from helpers import Point, train

from spinup.playback.episodes import load_policy_and_env

LOW, HIGH = np.array([-3.0, 0.5], np.float32), np.array([-1.0, 8.5], np.float32)
LOAD_MODEL = """
import sys, numpy as np, torch, spinup
folder, data = sys.argv[1:]
obs = np.load(data)["obs"]
np.savez(data, obs=obs, a=torch.load(folder + "/pyt_save/model.pt").act(obs, deterministic=True))
"""
LOAD_GRAPH = """
import sys, numpy as np, tensorflow as tf
folder, data = sys.argv[1:]
obs = np.load(data)["obs"]
serve = tf.saved_model.load(folder + "/tf1_save").signatures["serving_default"]
out = serve(x=tf.constant(obs), a=tf.zeros((len(obs), 2)))
np.savez(data, obs=obs, a=out["mu"].numpy())
"""


class Shifted(Point):
    """Two action dimensions whose ranges are not centered at 0 and differ in width."""

    def __init__(self) -> None:
        super().__init__()
        self.action_space = Box(LOW, HIGH)


def test_what_is_exported_acts_in_the_envs_units(tmp_path: Path, engine: str) -> None:
    ac, _ = train(tmp_path / "run", Shifted, engine=engine)
    obs = np.random.default_rng(0).normal(0, 3, (64, 2)).astype(np.float32)
    with torch.no_grad():
        mean = ac.pi.distribution(torch.from_numpy(obs))[0].double().numpy()
    expected = LOW + (HIGH - LOW) * (np.tanh(mean) + 1) / 2
    assert (np.ptp(expected, 0) > 0.01 * (HIGH - LOW)).all()
    np.testing.assert_allclose(ac.act(obs, deterministic=True), expected, rtol=1e-4)
    data = tmp_path / "data.npz"
    np.savez(data, obs=obs)
    code = LOAD_GRAPH if engine == "tf1" else LOAD_MODEL
    command = [sys.executable, "-c", code, str(tmp_path / "run"), str(data)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    with np.load(data) as out:
        np.testing.assert_allclose(out["a"], expected, rtol=1e-4)
    env, get_action = load_policy_and_env(tmp_path / "run", env=Shifted)
    for k in range(3):
        np.testing.assert_allclose(get_action(obs[k]), expected[k], rtol=1e-4)
        assert env.action_space.contains(get_action(obs[k]))
