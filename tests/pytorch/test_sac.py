"""sac_pytorch from end to end: reproducible, without side effects, for users' own networks too."""

from __future__ import annotations

import copy
import json
import math
import random
import threading
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium.spaces import Box, Dict, Discrete, Tuple
from helpers import (
    SMALL,
    FourCalls,
    Point,
    SharedByAll,
    SharedCritics,
    parameters,
    read_rows,
)

from spinup import MLPActorCritic, sac_pytorch
from spinup.errors import ConfigError, EnvError, RunError

USERS = [FourCalls, SharedCritics, SharedByAll]


@pytest.mark.parametrize("kind", USERS)
def test_users_modules_train_reproducibly(run: Any, kind: Any) -> None:
    (a, rows), (b, _) = (run(actor_critic=kind) for _ in range(2))
    assert type(a) is kind
    assert torch.equal(parameters(a), parameters(b))
    assert math.isfinite(float(rows[-1]["LossQ"]))


def test_a_subclass_is_trained_as_itself(run: Any) -> None:
    class Subclass(MLPActorCritic):
        """A user's subclass."""

    assert type(run(actor_critic=Subclass)[0]) is Subclass


def process_state() -> list[Any]:
    """The settings and generators of this process that a run might change."""
    denormal = bool((torch.tensor(1e-39) * 0.5).item() != 0.0)
    generators = [torch.get_rng_state().tolist(), random.getstate(), str(np.random.get_state())]  # noqa: NPY002
    return [
        *generators,
        torch.get_num_threads(),
        denormal,
        torch.get_default_dtype(),
        torch.is_grad_enabled(),
    ]


@pytest.mark.parametrize(("key", "hint"), [("output_dirr", r", did you mean 'output_dir'\?"), ("wandb", "")])
def test_an_unknown_argument_of_the_logger_is_named(tmp_path: Path, key: str, hint: str) -> None:
    line = rf"^logger_kwargs: EpochLogger takes no '{key}'{hint}; it takes output_dir, [^\n]*$"
    with pytest.raises(ConfigError, match=line):
        sac_pytorch(Point, **SMALL, logger_kwargs={"output_dir": str(tmp_path / "run"), key: "x"})
    assert not (tmp_path / "run").exists()


class Raises(Point):
    """Fails in its tenth step."""

    def step(self, action: Any) -> Any:
        if self.t == 10:
            raise ZeroDivisionError("mid-run")
        return super().step(action)


@pytest.mark.parametrize("kind", [MLPActorCritic, FourCalls])
def test_a_run_restores_the_state_of_the_process(run: Any, kind: Any) -> None:
    before = process_state()
    run(threads=2, **({} if kind is MLPActorCritic else {"actor_critic": kind}))
    assert process_state() == before


def test_a_run_that_raises_restores_the_state_of_the_process(run: Any) -> None:
    before = process_state()
    with pytest.raises(Exception, match="mid-run"):
        run(Raises, threads=2)
    assert process_state() == before
    with pytest.raises(RuntimeError, match="callback"):
        run(threads=2, callback=lambda row, ac: exec("raise RuntimeError('callback')"))
    assert process_state() == before


def test_results_do_not_depend_on_the_callers_global_generators(run: Any) -> None:
    found = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        np.random.seed(seed)  # noqa: NPY002
        random.seed(seed)
        found.append(parameters(run(actor_critic=FourCalls)[0]))
    assert torch.equal(*found)


def test_files_of_a_run(run: Any, tmp_path: Path) -> None:
    ac, rows = run("Pendulum-v1")
    folder = tmp_path / "run0"
    config = json.loads((folder / "config.json").read_text())
    assert config["gamma"] == 0.99
    assert config["engine"] != "auto"
    assert config["ac_kwargs"] == {"hidden_sizes": [8, 8]}
    assert json.loads((folder / "vars.json").read_text())["env"]["id"] == "Pendulum-v1"
    last, best = (torch.load(folder / "pyt_save" / f"{name}.pt") for name in ("model", "model_best"))
    assert torch.equal(parameters(last), parameters(ac))
    assert type(best) is MLPActorCritic
    assert [row["TotalEnvInteracts"] for row in rows] == ["100", "200"]


def test_a_folder_that_holds_a_run_is_refused_and_unchanged(run: Any, tmp_path: Path) -> None:
    run()
    before = (tmp_path / "run0" / "progress.txt").read_text()
    with pytest.raises(RunError, match=r"^[^\n]*already holds a run[^\n]*$"):
        sac_pytorch(Point, **SMALL, logger_kwargs={"output_dir": str(tmp_path / "run0"), "quiet": True})
    assert (tmp_path / "run0" / "progress.txt").read_text() == before


def test_invalid_settings_leave_no_folder(run: Any, tmp_path: Path) -> None:
    for error, changes in (
        (ConfigError, {"gamma": 2}),
        (ConfigError, {"ac_kwargs": {"hiden_sizes": (8,)}}),
        (EnvError, {"env_fn": lambda: Point(low=-np.inf)}),
        (EnvError, {"env_fn": "Pendulun-v1"}),
    ):
        with pytest.raises(error, match=r"^[^\n]+$"):
            run(**changes)
    assert not list(tmp_path.iterdir())


class NanReward(Point):
    """The reward is NaN in the tenth episode."""

    def reset(self, **kwargs: Any) -> Any:
        self.episodes = getattr(self, "episodes", 0) + 1
        return super().reset(**kwargs)

    def step(self, action: Any) -> Any:
        obs, r, *rest = super().step(action)
        return obs, math.nan if self.episodes == 10 else r, *rest


def test_an_invalid_value_stops_the_run_and_keeps_what_was_written(run: Any, tmp_path: Path) -> None:
    with pytest.raises(EnvError, match=r"^environment 0 returned the reward nan[^\n]*$"):
        run(NanReward)
    assert len(read_rows(tmp_path / "run0")) == 1
    assert isinstance(torch.load(tmp_path / "run0" / "pyt_save" / "model.pt"), MLPActorCritic)


def test_callback_receives_rows_and_the_model_and_stops_the_run(run: Any) -> None:
    seen = []

    def callback(row: dict[str, Any], ac: Any) -> bool:
        seen.append((row["Epoch"], type(ac)))
        return False

    assert len(run(callback=callback, epochs=4)[1]) == 1
    assert seen == [(1, MLPActorCritic)]


def test_off_the_main_thread(run: Any) -> None:
    here = parameters(run()[0])
    found: list[Any] = []
    thread = threading.Thread(target=lambda: found.append(parameters(run()[0])))
    thread.start()
    thread.join()
    assert torch.equal(found[0], here)


STRUCTURED = [
    Dict(a=Box(-1, 1, (2,)), b=Discrete(3)),
    Tuple((Discrete(3), Box(-1, 1, (2, 2)))),
    Box(-1, 1, (2, 3), np.float64),
    Discrete(4),
]


@pytest.mark.parametrize("space", STRUCTURED, ids=str)
@pytest.mark.parametrize("num_envs", [1, 2])
def test_structured_observations_train(run: Any, space: Any, num_envs: int) -> None:
    class Env(Point):
        """Observes samples of the space."""

        def __init__(self) -> None:
            super().__init__()
            self.observation_space = copy.deepcopy(space)

        def reset(self, **kwargs: Any) -> Any:
            super().reset(**kwargs)
            self.observation_space.seed(kwargs.get("seed"))
            return self.observation_space.sample(), {}

        def step(self, action: Any) -> Any:
            return self.observation_space.sample(), *super().step(action)[1:]

    rows = run(Env, num_envs=num_envs, engine="eager")[1]
    assert math.isfinite(float(rows[-1]["LossQ"]))


def test_a_vector_environment_trains(run: Any) -> None:
    rows = run(lambda: gym.vector.SyncVectorEnv([Point] * 4), num_test_episodes=6)[1]
    assert math.isfinite(float(rows[-1]["AverageTestEpRet"]))
    assert math.isfinite(float(rows[-1]["LossPi"]))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "tau",
            r"^sac_pytorch\(\) has no parameter 'tau': tau is 1 - polyak here, .* is polyak=0.995$",
        ),
        ("learning_starts", "'learning_starts': learning_starts is start_steps and update_after here$"),
        ("gama", "'gama', did you mean 'gamma'[?]$"),
        ("nothing_like_it", "'nothing_like_it'$"),
    ],
)
def test_unknown_keyword_arguments(name: str, message: str) -> None:
    for kind in (TypeError, ConfigError):
        with pytest.raises(kind, match=message):
            sac_pytorch("Pendulum-v1", **{name: 0.005})
