"""Variants with losses of the user's own: equal to the same losses of SAC; options, columns, modules."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from helpers import Point, parameters, train
from rooms import Rooms
from torch import Tensor

import spinup
from spinup.cli.main import main
from spinup.errors import ConfigError
from spinup.pytorch.variants import registry
from spinup.pytorch.variants.discrete import DiscreteSACObjective
from spinup.pytorch.variants.objective import Batch, Networks, Objective
from spinup.pytorch.variants.sac import GaussianObjective, SACObjective

MODULE = """
from dataclasses import dataclass
import spinup
from spinup.pytorch.variants.sac import GaussianObjective, SACObjective

@dataclass(frozen=True)
class Own(GaussianObjective):
    def critic_loss(self, networks, batch, alpha):
        return SACObjective(self.critics, self.target_critics, self.target_networks).critic_loss(
            networks, batch, alpha
        )

spinup.register_variant("own_of_a_module", Own)
"""


@dataclass(frozen=True)
class Penalized(GaussianObjective):
    """SAC's loss plus `weight` times the mean square of the critics' values."""

    weight: float = 0.0
    columns: ClassVar[tuple[str, ...]] = ("Penalty",)

    def critic_loss(
        self, networks: Networks, batch: Batch, alpha: Tensor
    ) -> tuple[Tensor, dict[str, Tensor]]:
        sac = SACObjective(self.critics, self.target_critics, self.target_networks)
        loss, metrics = sac.critic_loss(networks, batch, alpha)
        penalty = networks.critics(batch["obs"], batch["action"]).square().mean()
        return loss + self.weight * penalty, metrics | {"Penalty": penalty}


class Unfinished(Objective):
    """Has no losses."""


@pytest.fixture(autouse=True)
def _only_here() -> Iterator[None]:
    before = list(registry.VARIANTS)
    yield
    registry.VARIANTS[:] = before
    sys.modules.pop("own_variant", None)


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of a module that registers a variant."""
    folder = tmp_path / "modules"
    folder.mkdir()
    (folder / "own_variant.py").write_text(MODULE)
    monkeypatch.syspath_prepend(str(folder))
    return "own_variant"


@pytest.mark.parametrize(
    "settings", [{}, {"critics": 3, "target_critics": 2}, {"alpha": "auto", "n_step": 3}]
)
def test_it_trains_as_the_variant_with_the_same_losses(settings: dict[str, Any], tmp_path: Path) -> None:
    spinup.register_variant("penalized", Penalized)
    wanted, rows = train(tmp_path / "sac", Point, engine="eager", **settings)
    found, own_rows = train(tmp_path / "own", Point, variant="penalized", **settings)
    assert torch.equal(parameters(found), parameters(wanted))
    assert {**own_rows[-1], "Penalty": "", "Time": "", "StepsPerSecond": ""} == {
        **rows[-1], "Penalty": "", "Time": "", "StepsPerSecond": "",
    }  # fmt: skip
    assert float(own_rows[-1]["Penalty"]) > 0
    assert list(own_rows[-1]).index("Penalty") > list(own_rows[-1]).index("StepsPerSecond")


def test_options_reach_the_objective(tmp_path: Path) -> None:
    spinup.register_variant("penalized", Penalized)
    spinup.register_variant("more", Penalized, weight=0.5)
    none, _ = train(tmp_path / "none", Point, variant="penalized")
    some, _ = train(tmp_path / "some", Point, variant="more")
    assert not torch.equal(parameters(none), parameters(some))
    spinup.register_variant("more", Penalized)  # replaces it
    again, _ = train(tmp_path / "again", Point, variant="more")
    assert torch.equal(parameters(none), parameters(again))


def test_discrete_actions(tmp_path: Path) -> None:
    spinup.register_variant("rooms", DiscreteSACObjective, discrete=True)
    found, _ = train(tmp_path / "own", Rooms, variant="rooms", engine="eager")
    wanted, _ = train(tmp_path / "sac", Rooms, engine="eager")
    assert torch.equal(parameters(found), parameters(wanted))
    with pytest.raises(ConfigError, match="variant='rooms' is not defined for the actions Box"):
        train(tmp_path / "point", Point, variant="rooms")


def test_a_module_registers_it(module: str, tmp_path: Path) -> None:
    output = tmp_path / "run"
    train(output, Point, variant=f"{module}:own_of_a_module")
    assert json.loads((output / "config.json").read_text())["variant"] == "own_of_a_module"
    train(output, Point, epochs=3, variant=f"{module}:own_of_a_module", resume=True)
    registry.VARIANTS[:] = [v for v in registry.VARIANTS if v.selected_by != "own_of_a_module"]
    with pytest.raises(
        ConfigError, match=r"variant='own_of_a_module': give one of sac, sac_v1, or 'module:name'"
    ):
        train(output, Point, epochs=4, variant="own_of_a_module", resume=True)


def test_the_command_line_imports_the_module_in_every_process(
    module: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = "--env Pendulum-v1 --steps_per_epoch 20 --epochs 1 --start_steps 5 --num_test_episodes 1"
    words = ["sac", *settings.split(), "--data_dir", str(tmp_path / "data"), "--max_ep_len", "10"]
    words += ["--seed", "0", "1", "--jobs", "2"]
    assert main([*words, "--variant", f"{module}:own_of_a_modul"]) == 2
    assert "did you mean 'own_of_a_module'" in capsys.readouterr().err
    assert main([*words, "--variant", f"{module}:own_of_a_module"]) == 0
    configs = [json.loads(path.read_text()) for path in (tmp_path / "data").rglob("config.json")]
    assert [config["variant"] for config in configs] == ["own_of_a_module"] * 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("sac", Penalized), r"name 'sac': give an identifier other than sac, sac_v1"),
        (("my:own", Penalized), r"name 'my:own': give an identifier"),
        (("own", Unfinished), r"Unfinished has no actor_loss: define it"),
        (("own", torch.nn.Linear), r"objective Linear: give a dataclass, subclass of Objective"),
        (("own", Penalized()), r"give a dataclass, subclass of Objective"),
    ],
)
def test_what_cannot_be_registered(arguments: tuple[Any, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        spinup.register_variant(*arguments)


def test_unknown_options_and_modules(tmp_path: Path) -> None:
    with pytest.raises(
        ConfigError, match=r"has no option 'wieght', did you mean 'weight'.*fields are weight"
    ):
        spinup.register_variant("own", Penalized, wieght=1.0)
    with pytest.raises(ConfigError, match=r"no option 'critics'; it has no fields of its own"):
        spinup.register_variant("own", DiscreteSACObjective, discrete=True, critics=3)
    with pytest.raises(ConfigError, match=r"variant='nowhere_at_all:own': nowhere_at_all cannot be imported"):
        train(tmp_path, Point, variant="nowhere_at_all:own")


def test_only_the_eager_engine_runs_it(tmp_path: Path) -> None:
    spinup.register_variant("penalized", Penalized)
    with pytest.raises(ConfigError, match=r"engine='native'.*the objective is Penalized"):
        train(tmp_path, Point, variant="penalized", engine="native")
