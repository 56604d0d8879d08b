"""Samplers against hand-computed windows and a brute-force computation."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from helpers import Batches, replay_buffer
from hypothesis import given
from hypothesis import strategies as st

from spinup.config import SACConfig
from spinup.replay.buffer import ReplayBuffer
from spinup.replay.builders import NStepBuilder, OneStepBuilder
from spinup.replay.registry import make_sampler
from spinup.replay.samplers import RowSampler, UniformSampler
from spinup.replay.storage import HostStorage
from spinup.replay.transition import Field, transition_fields

GAMMA = 0.5


def transition(number: int, env: int = 0, start: bool = False, terminated: bool = False) -> Batches:
    """One row whose observation is `number`, reward 2 ** -number and next observation `number` + 0.5."""
    return {
        "obs": np.full((1, 2), number, np.float32),
        "action": np.zeros((1, 1), np.float32),
        "reward": np.array([2.0**-number], np.float32),
        "terminated": np.array([terminated]),
        "next_obs": np.full((1, 2), number + 0.5, np.float32),
        "env": np.array([env], np.int32),
        "episode_start": np.array([start]),
    }


def windows(buffer: ReplayBuffer) -> dict[int, tuple[float, float, float]]:
    """Reward, discount and number of the last row of each drawn window, by the number of its first row."""
    batches = buffer.sample(10, 100, np.random.default_rng(0))
    flat = {name: values.reshape(1000, -1)[:, 0] for name, values in batches.items()}
    assert all(values.dtype == np.float32 for values in batches.values())
    rows = zip(flat["obs"], flat["reward"], flat["discount"], flat["next_obs"], strict=True)
    return {int(o): (float(r), float(d), float(n) - 0.5) for o, r, d, n in rows}


def test_the_configuration_chooses_the_sampler() -> None:
    for n_step, builder in ((1, OneStepBuilder), (2, NStepBuilder)):
        sampler = make_sampler(SACConfig(n_step=n_step))
        assert isinstance(sampler, UniformSampler)
        assert type(sampler.builder) is builder


class Newest(RowSampler):
    """A sampler of a user: always the newest row but one."""

    def rows(self, storage: Any, count: int, batch_size: int, rng: np.random.Generator) -> Any:
        """Positions, (count, batch_size)."""
        return np.full((count, batch_size), len(storage) - 2)


@pytest.mark.parametrize(
    ("builder", "wanted"),
    [
        (OneStepBuilder(GAMMA), (1 / 4, GAMMA, 2)),
        (NStepBuilder(GAMMA, 2), (1 / 4 + GAMMA / 8, GAMMA**2, 3)),
    ],
)
def test_a_sampler_that_chooses_rows_gets_n_step_returns(builder: Any, wanted: Any) -> None:
    sampler, fields = Newest(builder), transition_fields(2, 1)
    buffer = ReplayBuffer(HostStorage([fields[k] for k in sampler.stored_fields], 10), sampler)
    for k in range(4):
        buffer.add(transition(k, start=k == 0))
    assert windows(buffer) == {2: wanted}
    uniform = buffer.sample_uniform(50, np.random.default_rng(0))
    assert set(uniform["obs"][0, :, 0]) == {0, 1, 2, 3}


def test_one_step_discount_is_gamma_where_the_episode_goes_on() -> None:
    buffer = replay_buffer(10, gamma=0.97)
    for k in range(4):
        buffer.add(transition(k, terminated=k == 2))
    gamma = float(np.float32(0.97))
    assert windows(buffer) == {k: (2.0**-k, 0.0 if k == 2 else gamma, k) for k in range(4)}


@pytest.mark.parametrize("builder", [OneStepBuilder(GAMMA), NStepBuilder(GAMMA, 2)])
def test_batches_keep_the_dtype_and_shape_of_each_field(builder: Any) -> None:
    sampler = UniformSampler(builder)
    image = np.dtype(np.uint8)
    fields = transition_fields(2, 1) | {k: Field(k, (2, 3), image) for k in ("obs", "next_obs")}
    buffer = ReplayBuffer(HostStorage([fields[k] for k in sampler.stored_fields], 4), sampler)
    for k in range(6):
        images = {
            name: np.full((1, 2, 3), 200 + k + at, image) for at, name in enumerate(("obs", "next_obs"))
        }
        buffer.add({**transition(k, terminated=k == 5), **images})
    batches = buffer.sample(7, 5, np.random.default_rng(0))
    for name, shape in {
        "obs": (2, 3),
        "next_obs": (2, 3),
        "reward": (),
        "discount": (),
        "action": (1,),
    }.items():
        assert batches[name].shape == (7, 5, *shape)
        assert batches[name].dtype == (image if shape == (2, 3) else np.float32)
    first = batches["obs"][..., 0, 0]
    steps = 1 if type(builder) is OneStepBuilder else 2
    assert set(np.unique(first)) == {202, 203, 204, 205}
    assert np.array_equal(batches["next_obs"][..., 1, 2], np.minimum(first + steps, 206))
    assert buffer.read(2, 6)["terminated"].tolist() == [False, False, False, True]


def test_one_step_windows_are_the_batches_of_the_uniform_sampler() -> None:
    drawn = []
    for sampler in (UniformSampler(OneStepBuilder(0.97)), UniformSampler(NStepBuilder(0.97, 1))):
        fields = transition_fields(2, 1)
        buffer = ReplayBuffer(HostStorage([fields[k] for k in sampler.stored_fields], 20), sampler)
        for part in random_history(np.random.default_rng(3), 20, 2):
            buffer.add(part)
        drawn.append(buffer.sample(30, 10, np.random.default_rng(0)))
    assert drawn[0].keys() == drawn[1].keys()
    for name, values in drawn[0].items():
        assert np.array_equal(values, drawn[1][name])
        assert values.dtype == drawn[1][name].dtype


def test_windows_end_at_terminals_cuts_and_the_newest_row() -> None:
    buffer = replay_buffer(20, gamma=GAMMA, n_step=3)
    buffer.add(transition(0, start=True))
    buffer.add(transition(1))
    buffer.add(transition(2, terminated=True))
    buffer.add(transition(3, start=True))
    buffer.add(transition(4))  # cut here: row 5 starts an episode
    buffer.add(transition(5, start=True))
    assert windows(buffer) == {
        0: (1 + GAMMA / 2 + GAMMA**2 / 4, 0.0, 2),
        1: (1 / 2 + GAMMA / 4, 0.0, 2),
        2: (1 / 4, 0.0, 2),
        3: (1 / 8 + GAMMA / 16, GAMMA**2, 4),
        4: (1 / 16, GAMMA, 4),
        5: (1 / 32, GAMMA, 5),
    }
    buffer.add(transition(6))
    assert windows(buffer)[5] == (1 / 32 + GAMMA / 64, GAMMA**2, 6)  # the window grows with the episode


def test_windows_follow_their_own_environment_and_skip_missing_rows() -> None:
    buffer = replay_buffer(20, gamma=GAMMA, n_step=3)
    order = [(0, 0), (1, 1), (2, 0), (3, 0), (4, 1), (5, 1)]  # environment 1 brings no row in the third step
    for number, env in order:
        buffer.add(transition(number, env, start=number < 2))
    assert {k: last for k, (_, _, last) in windows(buffer).items()} == {0: 3, 1: 5, 2: 3, 3: 3, 4: 5, 5: 5}
    assert windows(buffer)[1] == (1 / 2 + GAMMA / 16 + GAMMA**2 / 32, GAMMA**3, 5)


def test_a_window_longer_than_the_episode_is_the_episode() -> None:
    buffer = replay_buffer(20, gamma=GAMMA, n_step=50)
    for k in range(3):
        buffer.add(transition(k, start=k == 0, terminated=k == 2))
    assert windows(buffer)[0] == (1 + GAMMA / 2 + GAMMA**2 / 4, 0.0, 2)


def test_windows_continue_across_the_end_of_the_ring_and_stop_at_the_newest_row() -> None:
    buffer = replay_buffer(5, gamma=GAMMA, n_step=3)
    for k in range(8):  # row 4 is at the last position, rows 5 to 7 at the first three
        buffer.add(transition(k, start=k == 0))
    assert windows(buffer) == {
        3: (1 / 8 + GAMMA / 16 + GAMMA**2 / 32, GAMMA**3, 5),
        4: (1 / 16 + GAMMA / 32 + GAMMA**2 / 64, GAMMA**3, 6),
        5: (1 / 32 + GAMMA / 64 + GAMMA**2 / 128, GAMMA**3, 7),
        6: (1 / 64 + GAMMA / 128, GAMMA**2, 7),
        7: (1 / 128, GAMMA, 7),  # followed in the ring by row 3, the oldest
    }


def random_history(rng: np.random.Generator, steps: int, envs: int) -> list[Batches]:
    """Steps of several environments: each row may be missing, start an episode, or terminate."""
    parts, start = [], [True] * envs
    number = 0
    for _ in range(steps):
        for env in range(envs):
            if rng.random() < 0.1:
                continue
            terminated = bool(rng.random() < 0.15)
            parts.append(transition(number % 20, env, start[env], terminated))
            parts[-1]["obs"][:] = number
            parts[-1]["next_obs"][:] = number + 0.5
            start[env] = terminated or bool(rng.random() < 0.15)
            number += 1
    return parts


def brute_force(parts: list[Batches], first: int, n_step: int) -> tuple[float, float, float]:
    """Reward, discount and last row of the window from row `first`, by walking through all rows."""
    env, last = parts[first]["env"][0], first
    reward, discount = float(parts[first]["reward"][0]), GAMMA
    for row in range(first + 1, len(parts)):
        if parts[row]["env"][0] != env:
            continue
        if parts[row]["episode_start"][0] or discount < GAMMA ** (n_step - 0.5):
            break
        reward += discount * float(parts[row]["reward"][0])
        discount, last = discount * GAMMA, row
    return reward, 0.0 if parts[last]["terminated"][0] else discount, last


@given(
    seed=st.integers(0, 10_000), steps=st.integers(1, 30), envs=st.integers(1, 4),
    capacity=st.integers(4, 60), n_step=st.integers(1, 6),
)  # fmt: skip
def test_any_history_gives_the_windows_of_a_brute_force_walk(
    seed: int, steps: int, envs: int, capacity: int, n_step: int
) -> None:
    parts = random_history(np.random.default_rng(seed), steps, envs)
    buffer = replay_buffer(capacity, gamma=GAMMA, n_step=n_step)
    for part in parts:
        buffer.add(part)
    if not parts:
        return
    for first, window in windows(buffer).items():
        assert first >= len(parts) - capacity
        assert window == pytest.approx(brute_force(parts, first, n_step))


@given(
    seed=st.integers(0, 10_000), steps=st.integers(3, 30), envs=st.integers(1, 3),
    capacity=st.integers(4, 60), pieces=st.integers(1, 4),
)  # fmt: skip
def test_a_restored_buffer_draws_the_same_batches_and_continues_alike(
    seed: int, steps: int, envs: int, capacity: int, pieces: int
) -> None:
    parts = random_history(np.random.default_rng(seed), steps, envs)
    if len(parts) < 4:
        return
    first, second = (replay_buffer(capacity, gamma=GAMMA, n_step=3) for _ in range(2))
    half = len(parts) // 2
    for part in parts[:half]:
        first.add(part)
    bounds = np.linspace(first.total - len(first), first.total, pieces + 1).astype(int)
    for k, (start, stop) in enumerate(zip(bounds[:-1].tolist(), bounds[1:].tolist(), strict=True)):
        rows = first.read(start, stop)
        if k == 0:
            second.restore(start, rows)
        else:
            second.add(rows)
    for part in parts[half:]:
        first.add(part)
        second.add(part)
    drawn: list[Any] = [buffer.sample(3, 9, np.random.default_rng(1)) for buffer in (first, second)]
    for name, values in drawn[0].items():
        assert np.array_equal(values, drawn[1][name])


def test_a_restored_buffer_forgets_the_rows_it_held() -> None:
    buffer = replay_buffer(5, gamma=GAMMA, n_step=3)
    buffer.add(transition(0, env=1, start=True))
    buffer.restore(0, transition(1, env=0, start=True))
    buffer.add(transition(2, env=1))
    assert windows(buffer) == {1: (1 / 2, GAMMA, 1), 2: (1 / 4, GAMMA, 2)}
