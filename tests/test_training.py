"""The loop's counting, with an environment and an agent that record how they are called."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers import Diary, check_diary, replay_buffer

from spinup.collect.evaluation import EnvEvaluator
from spinup.collect.make import make_collectors
from spinup.config import SACConfig
from spinup.errors import TrainingDiverged
from spinup.loggers.epoch_logger import EpochLogger
from spinup.training import Trainer

MARK = np.float32(0.125)  # the policy's action; uniform draws are never exactly this
STATISTICS = [
    f"{stat}{key}" for key in ("Q1Vals", "Q2Vals", "LogPi") for stat in ("Average", "Std", "Max", "Min")
]
COLUMNS = [
    "Epoch", "AverageEpRet", "StdEpRet", "MaxEpRet", "MinEpRet", "AverageTestEpRet", "StdTestEpRet",
    "MaxTestEpRet", "MinTestEpRet", "EpLen", "TestEpLen", "TotalEnvInteracts", *STATISTICS, "LossPi", "LossQ",
    "Time",
]  # fmt: skip


class RecordingAgent:
    """An agent and its engine, which computes nothing and lists what the loop asked for."""

    def __init__(self) -> None:
        self.events: list[Any] = []
        self.trainer: Any = None
        self.loss = 0.5

    def act(self, obs: Any, deterministic: bool) -> Any:
        if deterministic and self.events[-1:] != ["test"]:
            self.events.append("test")
        return np.full((len(obs), 1), MARK)

    def draw_noise(self, batches: Any, rng: Any) -> dict[str, Any]:
        return {}

    def update(self, agent: Any, batches: Any) -> dict[str, Any]:
        n = len(batches["reward"])
        self.events.append((self.trainer.n, n))
        values = {k: np.ones((n, 3)) for k in ("Q1Vals", "Q2Vals", "LogPi")}
        means = {k: np.full(n, self.loss) for k in ("LossQ", "LossPi", "Alpha", "Entropy", "TargetEntropy")}
        return {**values, **means}

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        return None

    def save(self, folder: Path, name: str) -> None:
        self.events.append(f"save {name}")


class Run:
    """One run of the loop over Diaries with a RecordingAgent."""

    def __init__(self, folder: Path, callback: Any = None, **settings: Any) -> None:
        defaults = {"steps_per_epoch": 20, "epochs": 2, "start_steps": 10, "update_after": 15}
        fixed = {"update_every": 5, "num_test_episodes": 3, "batch_size": 4}
        self.config = SACConfig(**{**defaults, **fixed, **settings})  # type: ignore[arg-type]
        self.agent, self.rows = RecordingAgent(), []
        collector, tester = make_collectors(Diary, self.config)
        self.replay = replay_buffer(self.config.total_steps)
        logger = EpochLogger(folder, quiet=True, tensorboard=False)
        self.trainer = Trainer(
            self.config,
            agent=self.agent,
            engine=self.agent,
            replay=self.replay,
            collector=collector,
            evaluator=EnvEvaluator(tester, self.config.num_test_episodes),
            actions=collector.actions,
            logger=logger,
            callback=callback or self.callback,
        )
        self.agent.trainer = self.trainer

    def callback(self, row: dict[str, Any]) -> None:
        """Note that a row was logged."""
        self.agent.events.append("row")
        self.rows.append(row)

    def go(self) -> Run:
        """Train to the end."""
        self.trainer.run()
        return self

    @property
    def updates(self) -> list[tuple[int, int]]:
        """(env steps so far, gradient steps) of each block."""
        return [event for event in self.agent.events if isinstance(event, tuple)]


@pytest.mark.parametrize("num_envs", [1, 4])
@pytest.mark.parametrize("start_steps", [0, 1, 10, 12, 1000])
def test_exactly_the_first_start_steps_actions_are_random(
    tmp_path: Path, num_envs: int, start_steps: int
) -> None:
    run = Run(tmp_path, num_envs=num_envs, start_steps=start_steps).go()
    at_random = run.replay.read(0, 40)["action"][:, 0] != MARK
    assert at_random.tolist() == [n < start_steps for n in range(40)]


def test_random_actions_fill_the_action_space(tmp_path: Path) -> None:
    run = Run(tmp_path, start_steps=1000, steps_per_epoch=400, epochs=1).go()
    actions = run.replay.read(0, 400)["action"]
    assert actions.min() < -0.98
    assert actions.max() > 0.98
    assert abs(actions.mean()) < 0.1


@pytest.mark.parametrize("num_envs", [1, 4])
def test_actions_of_any_policy_are_clipped_to_the_bounds_in_a_copy(tmp_path: Path, num_envs: int) -> None:
    returned = np.broadcast_to(np.float32(3.0), (4, 1))  # beyond the bound of 1, and read-only
    run = Run(tmp_path, num_envs=num_envs, start_steps=2)
    run.agent.act = lambda obs, deterministic: returned[: len(obs)]  # type: ignore[method-assign]
    run.go()
    actions = run.replay.read(0, 40)["action"][:, 0]
    assert (actions[2:] == 1.0).all()
    assert (np.abs(actions[:2]) < 1.0).all()


def test_blocks_of_updates_with_one_env(tmp_path: Path) -> None:
    assert Run(tmp_path).go().updates == [(15, 5), (20, 5), (25, 5), (30, 5), (35, 5), (40, 5)]


def test_blocks_of_updates_with_four_envs(tmp_path: Path) -> None:
    run = Run(tmp_path, num_envs=4).go()
    assert run.updates == [(16, 5), (20, 5), (28, 5), (32, 5), (36, 5), (40, 5)]


def test_several_multiples_crossed_in_one_step_give_several_blocks(tmp_path: Path) -> None:
    run = Run(tmp_path, num_envs=10, update_after=0).go()
    assert run.updates == [(10, 5), (10, 5), (20, 5), (20, 5), (30, 5), (30, 5), (40, 5), (40, 5)]


@pytest.mark.parametrize(
    ("update_after", "first"), [(0, 5), (4, 5), (5, 5), (6, 10), (14, 15), (15, 15), (16, 20)]
)
def test_first_update_and_no_missed_updates_made_up(tmp_path: Path, update_after: int, first: int) -> None:
    updates = Run(tmp_path, update_after=update_after).go().updates
    assert updates[0] == (first, 5)
    assert len(updates) == (40 - first) // 5 + 1


@pytest.mark.parametrize(("ratio", "total"), [(0.1, 4), (0.5, 20), (2.0, 80), (1.3, 52)])
def test_updates_per_step_is_exact(tmp_path: Path, ratio: float, total: int) -> None:
    updates = Run(tmp_path, update_after=0, updates_per_step=ratio).go().updates
    assert sum(count for _, count in updates) == total
    done = 0
    for n, count in updates:
        done += count
        assert abs(done - ratio * n) < 1.0


@pytest.mark.parametrize("num_envs", [1, 2])
def test_save_test_log_in_this_order(tmp_path: Path, num_envs: int) -> None:
    events = Run(tmp_path, num_envs=num_envs, start_steps=0, update_after=1000).go().agent.events
    assert events == ["save model", "test", "save model_best", "row"] * 2  # Diaries return more and more


def test_saves_every_save_freq_epochs_and_at_the_last(tmp_path: Path) -> None:
    run = Run(tmp_path, epochs=5, save_freq=2, update_after=1000, num_test_episodes=0).go()
    saved_before_row, rows = [], 0
    for event in run.agent.events:
        if event == "save model":
            saved_before_row.append(rows + 1)
        rows += event == "row"
    assert saved_before_row == [2, 4, 5]


def test_rows_count_interactions_and_hold_every_column(tmp_path: Path) -> None:
    run = Run(tmp_path).go()
    assert [row["TotalEnvInteracts"] for row in run.rows] == [20, 40]
    assert [row["Epoch"] for row in run.rows] == [1, 2]
    assert list(run.rows[0])[: len(COLUMNS)] == COLUMNS
    assert list(run.rows[1]) == list(run.rows[0])


def test_episodes_carry_across_epochs(tmp_path: Path) -> None:
    # Lengths 3, 5, 1, 4: episodes end at 3, 8, 9, 13, 16, 21, 22, 26 ...; epochs end at 10 and 20.
    run = Run(tmp_path, steps_per_epoch=10).go()
    check_diary(run.replay.read(0, 20))
    assert [run.rows[i]["EpLen"] for i in (0, 1)] == [3.0, 3.5]
    assert run.rows[1]["MaxEpRet"] == 1210.0  # episode 3, four steps: 301 + 302 + 303 + 304


def test_epoch_without_an_episode_an_update_or_a_test_logs_nan(tmp_path: Path) -> None:
    run = Run(tmp_path, steps_per_epoch=2, num_test_episodes=0, update_after=1000).go()
    row = run.rows[0]
    for key in COLUMNS[1:11] + COLUMNS[12:26]:
        assert math.isnan(row[key]), key
    assert run.rows[1]["AverageEpRet"] == 6.0  # 1 + 2 + 3: the first episode ends in the second epoch


def test_max_ep_len_cuts_and_bootstraps(tmp_path: Path) -> None:
    run = Run(tmp_path, max_ep_len=3).go()
    check_diary(run.replay.read(0, 40), max_ep_len=3)


def test_callback_stops_after_the_epoch(tmp_path: Path) -> None:
    seen: list[int] = []

    def stop(row: dict[str, Any]) -> bool:
        seen.append(row["Epoch"])
        return row["Epoch"] < 2

    run = Run(tmp_path, callback=stop, epochs=5).go()
    assert seen == [1, 2]
    assert run.trainer.n == 40


@pytest.mark.parametrize(("save_freq", "saves"), [(1, 1), (3, 1)])
def test_the_model_is_saved_when_the_callback_stops(tmp_path: Path, save_freq: int, saves: int) -> None:
    run = Run(tmp_path, callback=lambda row: False, epochs=5, save_freq=save_freq).go()
    assert run.agent.events.count("save model") == saves


def test_callback_returning_nothing_does_not_stop(tmp_path: Path) -> None:
    run = Run(tmp_path, callback=lambda row: None, epochs=3).go()
    assert run.trainer.n == 60


@pytest.mark.parametrize("loss", [math.nan, math.inf])
def test_a_loss_that_is_not_finite_stops_the_run_in_one_line(tmp_path: Path, loss: float) -> None:
    run = Run(tmp_path)
    run.agent.loss = loss
    with pytest.raises(TrainingDiverged, match=r"^[^\n]*env step 15[^\n]*$"):
        run.go()


def test_best_model_is_kept_by_test_return(tmp_path: Path) -> None:
    run = Run(tmp_path, update_after=1000, epochs=4).go()
    returns = [row["AverageTestEpRet"] for row in run.rows]
    better = [i for i, value in enumerate(returns) if value > max(returns[:i], default=-math.inf)]
    assert better == [0, 1, 2]  # episodes 0, 2, 4 and 6 return 6, 201, 1206 and 601
    best_after = []
    rows = 0
    for event in run.agent.events:
        if event == "save model_best":
            best_after.append(rows)
        rows += event == "row"
    assert best_after == [0, 1, 2]
