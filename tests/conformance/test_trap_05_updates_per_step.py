"""Trap 5: n environments divide the updates per environment step by n; "steps" counts vector steps."""

from __future__ import annotations

from typing import Any

import pytest
from helpers import Point

from spinup.pytorch.engines.eager import EagerEngine


@pytest.mark.parametrize("num_envs", [1, 2, 4, 20])
def test_updates_follow_env_interactions(run: Any, num_envs: int, monkeypatch: pytest.MonkeyPatch) -> None:
    blocks: list[int] = []
    update = EagerEngine.update

    def counted(self: Any, agent: Any, batches: Any) -> Any:
        blocks.append(len(batches["reward"]))
        return update(self, agent, batches)

    monkeypatch.setattr(EagerEngine, "update", counted)
    rows = run(Point, num_envs=num_envs, engine="eager")[1]
    assert sum(blocks) == 200 - 40 + 10  # from 40 on, at each multiple of 10, ten
    assert [int(row["TotalEnvInteracts"]) for row in rows] == [100, 200]
