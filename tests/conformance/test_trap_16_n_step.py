"""Trap 16: n-step returns across an episode's end, or with a wrong share of the entropy terms."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from helpers import Diary, replay_buffer

from spinup.collect.collector import EnvCollector
from spinup.envs.make import make_vector
from spinup.pytorch import losses
from spinup.pytorch.engines.eager import EagerEngine
from spinup.replay.buffer import ReplayBuffer
from spinup.replay.normalizer import Normalizer

GAMMA, LENGTHS = 0.9, (3, 5, 1, 4)
DOCS = Path(__file__).parent.parent.parent / "docs"


@pytest.mark.parametrize("sampler", ["uniform", "per"])
@pytest.mark.parametrize("n_step", [2, 3, 10])
@pytest.mark.parametrize(
    ("envs", "max_ep_len"),
    [(1, 4), (1, 1000), (3, 4), (3, 1000), (AutoresetMode.NEXT_STEP, 1000), (AutoresetMode.SAME_STEP, 1000)],
)
def test_windows_end_where_episodes_do(
    sampler: str, n_step: int, envs: int | AutoresetMode, max_ep_len: int
) -> None:
    """A Diary observes (episode, step) and rewards 100 episode + step, which determines each window."""
    if isinstance(envs, AutoresetMode):
        vector = make_vector(lambda: SyncVectorEnv([Diary] * 3, autoreset_mode=envs), 1, "sync", 10.0)
    else:
        vector = make_vector(Diary, envs, "sync", 10.0)
    collector = EnvCollector(vector, seed=0, stream=1, max_ep_len=max_ep_len)
    collector.start()
    buffer = replay_buffer(50, gamma=GAMMA, n_step=n_step, sampler=sampler)
    for _ in range(70):
        buffer.add(collector.step(np.zeros((collector.num_envs, 1), np.float32))[0])
    newest = {tuple(obs) for obs in collector.obs}
    lengths = check_windows(buffer.sample(20, 50, np.random.default_rng(0)), n_step, max_ep_len, newest)
    assert min(lengths) < n_step


def check_windows(batches: Any, n_step: int, max_ep_len: int, newest: Any = None) -> list[int]:
    """Compare windows with the episodes of Diaries; returns their lengths.

    A window may be shorter than its episode allows if it ends at an observation in `newest`, if given.
    """
    lengths = []
    for obs, reward, discount, next_obs in zip(
        *(np.concatenate(batches[name]) for name in ("obs", "reward", "discount", "next_obs")), strict=True
    ):
        episode, t = map(int, obs)
        end = min(LENGTHS[episode % 4], max_ep_len)
        terminates = end == LENGTHS[episode % 4] and episode % 2 == 0
        m = int(next_obs[1]) - t
        assert next_obs[0] == episode
        assert 1 <= m <= min(n_step, end - t)
        assert m == min(n_step, end - t) or newest is None or tuple(next_obs) in newest
        assert reward == pytest.approx(sum(GAMMA**i * (100 * episode + t + 1 + i) for i in range(m)))
        assert discount == pytest.approx(0.0 if terminates and t + m == end else GAMMA**m)
        lengths.append(m)
    return lengths


def test_windows_of_a_run(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    lengths: list[int] = []
    update = EagerEngine.update

    def checked(self: Any, agent: Any, batches: Any) -> Any:
        lengths.extend(check_windows(batches, 3, 4))
        return update(self, agent, batches)

    monkeypatch.setattr(EagerEngine, "update", checked)
    run(Diary, engine="eager", num_envs=3, n_step=3, gamma=GAMMA, max_ep_len=4, steps_per_epoch=99)
    assert len(lengths) == 8 * 160  # as many windows as transitions are drawn
    assert set(lengths) == {1, 2, 3}


def test_a_normalized_window_is_the_window_over_one_divisor() -> None:
    collector = EnvCollector(make_vector(Diary, 2, "sync", 10.0), seed=0, stream=1, max_ep_len=1000)
    collector.start()
    raw = replay_buffer(50, gamma=GAMMA, n_step=3)
    normalizer = Normalizer(2, 2, GAMMA, observations=False, rewards=True)
    scaled = ReplayBuffer(raw.storage, raw.sampler, normalizer)
    for _ in range(20):
        rows = collector.step(np.zeros((2, 1), np.float32))[0]
        normalizer.update(rows)
        raw.add(rows)
    wanted, got = (b.sample(5, 20, np.random.default_rng(0)) for b in (raw, scaled))
    assert normalizer.returns is not None
    divisor = np.sqrt(normalizer.returns.var + 1e-8)
    assert divisor > 10
    np.testing.assert_allclose(got["reward"], wanted["reward"] / divisor, rtol=1e-5)
    np.testing.assert_array_equal(got["discount"], wanted["discount"])


def test_the_entropy_term_is_that_of_the_last_state_discounted_by_the_window() -> None:
    reward, discount = torch.tensor([1.0 + 0.9 * 2.0]), torch.tensor([0.9**2])
    value = losses.soft_value(torch.tensor([5.0]), torch.tensor([-3.0]), torch.tensor(0.5))
    target = losses.q_target(reward, discount, value)
    assert target.item() == pytest.approx(1.0 + 0.9 * 2.0 + 0.81 * (5.0 + 0.5 * 3.0))


def test_the_documentation_says_which_entropy_terms_are_left_out() -> None:
    text = " ".join((DOCS / "variants.md").read_text().split())
    assert "entropy terms of the steps in between are left out" in text.lower()
