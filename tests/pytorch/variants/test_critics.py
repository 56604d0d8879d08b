"""Ensembles of N critics: the random subset of the target, and what the policy maximizes."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers import FourCalls, Point, make, random_batches, small_ac, train
from rooms import Rooms

from spinup.errors import ConfigError
from spinup.pytorch.variants.sac import SACObjective


def constant_critics(values: list[float]) -> Any:
    """An actor-critic whose critic i is values[i] everywhere."""
    ac: Any = small_ac(critics=len(values)).double()
    with torch.no_grad():
        for i, value in enumerate(values, 1):
            for p in getattr(ac, f"q{i}").parameters():
                p.zero_()
            getattr(ac, f"q{i}").q[-1].bias.fill_(value)
    return ac


@pytest.mark.parametrize("subset", [[0, 1], [3, 1], [4, 2]])
def test_the_target_is_the_minimum_of_the_subset_and_the_policy_maximizes_the_mean(subset: list[int]) -> None:
    values = [3.0, 1.0, 4.0, 2.0, 5.0]
    learner = make(constant_critics(values), critics=5, alpha=0.0)
    batches = random_batches(dtype=np.float64) | {"critic_subset": np.array([subset])}
    metrics = learner.update(batches)
    target = batches["reward"] + batches["discount"] * min(values[i] for i in subset)
    wanted = sum(np.mean((value - target) ** 2) for value in values)
    assert metrics["LossQ"][0] == pytest.approx(wanted)
    assert metrics["Q1Vals"][0] == pytest.approx([3.0] * 5)
    assert metrics["Q2Vals"][0] == pytest.approx([1.0] * 5)
    assert metrics["LossPi"][0] == pytest.approx(-3.0, abs=0.05)  # the critics have taken one step of lr


def test_with_all_in_the_target_both_take_the_minimum() -> None:
    values = [3.0, 1.0, 4.0]
    learner = make(constant_critics(values), critics=3, target_critics=3, alpha=0.0)
    batches = random_batches(dtype=np.float64)
    metrics = learner.update(batches)
    target = batches["reward"] + batches["discount"] * 1.0
    assert metrics["LossQ"][0] == pytest.approx(sum(np.mean((value - target) ** 2) for value in values))
    assert metrics["LossPi"][0] == pytest.approx(-1.0, abs=0.05)


@pytest.mark.parametrize("engine", ["eager", "native"])
@pytest.mark.parametrize("subset", [{"target_critics": 3}, {"target_critics": 2}])
@pytest.mark.parametrize(("policy_q", "wanted"), [("mean", 8.0 / 3.0), ("min", 1.0)])
def test_what_the_policy_maximizes_does_not_depend_on_the_target(
    policy_q: str, wanted: float, subset: dict[str, int], engine: str
) -> None:
    ac = constant_critics([3.0, 1.0, 4.0])
    learner = make(ac, critics=3, policy_q=policy_q, alpha=0.0, engine=engine, **subset)
    batches = random_batches(dtype=np.float64)
    if subset["target_critics"] == 2:
        batches |= {"critic_subset": np.array([[2, 0]])}
    metrics = learner.update(batches)
    next_value = 1.0 if subset["target_critics"] == 3 else 3.0
    target = batches["reward"] + batches["discount"] * next_value
    assert metrics["LossQ"][0] == pytest.approx(sum(np.mean((q - target) ** 2) for q in (3.0, 1.0, 4.0)))
    assert metrics["LossPi"][0] == pytest.approx(-wanted, abs=0.05)


def test_subsets_are_drawn_uniformly_without_repetition_and_anew_for_each_batch() -> None:
    objective, rng = SACObjective(critics=5, target_critics=2), np.random.default_rng(0)
    assert objective.noise_fields() == ("noise", "critic_subset")
    drawn = objective.draw_noise(random_batches(count=4000), rng)
    subsets = drawn["critic_subset"]
    assert subsets.shape == (4000, 2)
    assert (subsets[:, 0] != subsets[:, 1]).all()
    pairs = np.sort(subsets, axis=1)
    counts = np.unique(pairs, axis=0, return_counts=True)[1]
    assert len(counts) == 10
    assert (((counts - 400) ** 2) / 400).sum() < 27.9  # chi-square, 9 degrees of freedom, p = 0.001
    assert drawn["noise"].shape == (4000, 2, 5, 2)


def test_the_documented_two_critics_draw_no_subset() -> None:
    objective = SACObjective()
    assert objective.noise_fields() == ("noise",)
    batches = random_batches(count=3)
    drawn = objective.draw_noise(batches, np.random.default_rng(1))
    assert set(drawn) == {"noise"}
    wanted = np.random.default_rng(1).standard_normal((3, 2, 5, 2), dtype=np.float32)
    assert np.array_equal(drawn["noise"], wanted)


def test_every_critic_has_a_target_of_its_own() -> None:
    learner = make(small_ac(critics=4), critics=4, polyak=0.5)
    before = copy.deepcopy(learner.state_dict()["target"])
    learner.update(random_batches() | {"critic_subset": np.array([[0, 1]])})
    after = learner.state_dict()["target"]
    assert {name.split(".")[0] for name in after} == {"0", "1", "2", "3"}
    assert all((before[name] != after[name]).any() for name in after)


@pytest.mark.parametrize(
    ("env", "settings"), [(Point, {}), (Point, {"variant": "sac_v1"}), (Rooms, {}), (Point, {"n_step": 3})]
)
def test_three_critics_train_are_saved_and_loaded(tmp_path: Path, env: Any, settings: Any) -> None:
    ac, rows = train(tmp_path, env, critics=3, epochs=1, **settings)
    assert np.isfinite(float(rows[0]["LossQ"]))
    loaded: Any = torch.load(tmp_path / "pyt_save" / "model.pt", weights_only=True)
    assert isinstance(loaded.q3, torch.nn.Module)
    for mine, theirs in zip(ac.parameters(), loaded.parameters(), strict=True):
        assert torch.equal(mine, theirs)


def test_a_constructor_without_the_keyword_is_refused(tmp_path: Path) -> None:
    with pytest.raises(
        ConfigError, match=r"^critics=3: FourCalls takes no keyword 'critics': [^\n]*q1 to q3$"
    ):
        train(tmp_path, critics=3, actor_critic=FourCalls)


def test_more_target_critics_than_critics_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"^target_critics=4 exceeds critics=3: [^\n]*$"):
        train(tmp_path, critics=3, target_critics=4)
    with pytest.raises(ConfigError, match=r"^ac_kwargs has 'critics'"):
        train(tmp_path, ac_kwargs={"critics": 3})
