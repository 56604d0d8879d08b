"""Trap 14: env, test env or action space never seeded; two runs of one seed differ."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from helpers import Point, parameters, without_timing

from spinup.seeding import TEST_STREAM, TRAIN_STREAM, episode_seed


@pytest.mark.parametrize(
    "changes", [{}, {"num_envs": 2}, {"start_steps": 1000}, {"alpha": "auto"}, {"env_fn": "Pendulum-v1"}]
)
def test_two_runs_of_one_seed_are_the_same(run: Any, engine: str, changes: Any) -> None:
    (a, rows_a), (b, rows_b), (c, rows_c) = (run(**changes, engine=engine, seed=s) for s in (5, 5, 6))
    assert torch.equal(parameters(a), parameters(b))
    assert without_timing(rows_a) == without_timing(rows_b)
    assert not torch.equal(parameters(a), parameters(c))
    for column in ("AverageEpRet", "AverageTestEpRet"):
        assert rows_a[0].get(column) != rows_c[0].get(column) or "env_fn" in changes


def test_every_episode_is_reset_with_its_own_seed(run: Any) -> None:
    seeds: list[int] = []

    class Noted(Point):
        """Records the seeds of all its instances."""

        def reset(self, **kwargs: Any) -> Any:
            seeds.append(kwargs["seed"])
            return super().reset(**kwargs)

    run(Noted, num_envs=2, seed=3)
    assert None not in seeds
    trained = {episode_seed(3, TRAIN_STREAM, i, k) for i in range(2) for k in range(5)}
    tested = {episode_seed(3, TEST_STREAM, i, k) for i in range(2) for k in range(2)}
    assert trained | tested <= set(seeds)
    assert not trained & tested
