"""Variants with losses of the user's own: equal to the same losses of SAC; options, columns, modules."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from helpers import Point, parameters, read_rows, train
from rooms import Rooms
from torch import Tensor

import spinup
from spinup.cli.main import main
from spinup.config import BUILT_IN_VARIANTS
from spinup.errors import ConfigError
from spinup.pytorch.variants import registry
from spinup.pytorch.variants.discrete import DiscreteSACObjective
from spinup.pytorch.variants.distributional import QuantileSACObjective
from spinup.pytorch.variants.objective import Batch, Networks, Objective
from spinup.pytorch.variants.sac import GaussianObjective, SACObjective
from spinup.pytorch.variants.sac_v1 import SACv1Objective

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
REGISTER_ENV = """
import gymnasium
gymnasium.register("Own-v0", "gymnasium.envs.classic_control.pendulum:PendulumEnv", max_episode_steps=10)
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


@dataclass(frozen=True)
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
    spinup.register_variant("rooms", DiscreteSACObjective)
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


class Undecorated(Penalized):
    """Inherits the decorator's work."""

    more: float = 1.0


@dataclass(frozen=True)
class Required(Penalized):
    """Has a field without a default."""

    strength: float = field(kw_only=True)


def with_columns(*columns: Any) -> Any:
    """A class with these columns."""
    return dataclass(frozen=True)(type("Named", (Penalized,), {"columns": columns}))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("sac", Penalized), r"name 'sac': give an identifier other than sac, sac_v1"),
        (("my:own", Penalized), r"name 'my:own': give an identifier"),
        (("own", Unfinished), r"Unfinished has no actor_loss: define it"),
        (("own", torch.nn.Linear), r"Linear is not an objective: give a subclass of Objective"),
        (("own", Penalized()), r"is not an objective: give a subclass of Objective"),
        (("own", Undecorated), r"Undecorated is not a dataclass itself: decorate it with @dataclass"),
        (("own", Required), r"has the field 'strength' without a default: give it a value, strength=\.\.\."),
        (("own", QuantileSACObjective), r"needs other networks"),
        (("own", SACv1Objective), r"needs other networks"),
        (("own", with_columns("LossQ")), r"has the column 'LossQ', which the log has already"),
        (("own", with_columns("StdThing")), r"has the column 'StdThing', which the log has already"),
        (("own", with_columns("A", "A")), r"has the column 'A', which the log has already"),
        (("own", with_columns("a\tb")), r"give a tuple of identifiers"),
        (("own", with_columns(3)), r"give a tuple of identifiers"),
    ],
)
def test_what_cannot_be_registered(arguments: tuple[Any, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        spinup.register_variant(*arguments)


def test_a_field_without_a_default_gets_its_value(tmp_path: Path) -> None:
    spinup.register_variant("own", Required, strength=2.0)
    train(tmp_path, Point, variant="own")
    objective = json.loads((tmp_path / "config.json").read_text())["objective"]
    assert objective == {"class": "Required", "weight": 0.0, "strength": 2.0}


def test_a_changed_option_is_refused_when_resuming(tmp_path: Path) -> None:
    spinup.register_variant("own", Penalized, weight=0.5)
    train(tmp_path, Point, variant="own")
    spinup.register_variant("own", Penalized, weight=0.6)
    with pytest.raises(ConfigError, match=r"objective was .*0\.5.* and is now .*0\.6"):
        train(tmp_path, Point, variant="own", epochs=4, resume=True)


def test_built_in_variants_are_those_of_the_registry() -> None:
    assert {variant.selected_by for variant in registry.BUILT_IN} == set(BUILT_IN_VARIANTS)


def test_every_column_of_a_run_is_reserved(tmp_path: Path) -> None:
    _, rows = train(tmp_path, Point)
    for column in rows[0]:
        with pytest.raises(ConfigError, match="which the log has already"):
            spinup.register_variant("own", with_columns(column))


class Wrong(Penalized):
    """Returns what `result` makes of the loss and the metrics."""

    result: ClassVar[Any]

    def critic_loss(self, networks: Networks, batch: Batch, alpha: Tensor) -> Any:
        return self.result(*super().critic_loss(networks, batch, alpha))


@pytest.mark.parametrize(
    ("result", "message"),
    [
        (lambda loss, metrics: None, "critic_loss returned nothing: it must return the loss and a dict"),
        (
            lambda loss, metrics: (loss, None),
            "returned nothing as metric 'LossQ': it must be a tensor of shape",
        ),
        (lambda loss, metrics: (loss.detach(), metrics), r"shape \(\) without gradient as loss"),
        (lambda loss, metrics: (metrics["Q1Vals"], metrics), r"returned a tensor of shape \(3,\) as loss"),
        (lambda loss, metrics: (3.0, metrics), "returned a float as loss"),
        (lambda loss, metrics: (loss, metrics | {"EpRet": loss}), "metric 'EpRet': list it in Wrong.columns"),
        (
            lambda loss, metrics: (loss, metrics | {"Q2Vals": loss}),
            r"shape \(\) as metric 'Q2Vals': .*\(3,\)",
        ),
        (
            lambda loss, metrics: (loss, {"LossQ": loss, "Q1Vals": metrics["Q1Vals"]}),
            "nothing as metric 'Pen",
        ),
        (lambda loss, metrics: 1 / 0, "critic_loss failed: ZeroDivisionError: division by zero; fix it"),
        (lambda loss, metrics: (loss, metrics | {"Penalty": 1.0}), "returned a float as metric 'Penalty'"),
    ],
)
def test_wrong_losses_are_named_before_training(result: Any, message: str, tmp_path: Path) -> None:
    wrong = dataclass(frozen=True)(type("Wrong", (Wrong,), {"result": staticmethod(result)}))
    spinup.register_variant("wrong", wrong)
    with pytest.raises(ConfigError, match=message):
        train(tmp_path, Point, variant="wrong")


def test_prioritized_replay_needs_td_errors(tmp_path: Path) -> None:
    without = lambda loss, metrics: (loss, {k: v for k, v in metrics.items() if k != "TDError"})  # noqa: E731
    spinup.register_variant(
        "wrong", dataclass(frozen=True)(type("Wrong", (Wrong,), {"result": staticmethod(without)}))
    )
    train(tmp_path / "uniform", Point, variant="wrong")
    with pytest.raises(ConfigError, match="returned nothing as metric 'TDError'"):
        train(tmp_path / "per", Point, variant="wrong", sampler="per")


@pytest.mark.parametrize("log_prob", ["mean", "column"])
def test_a_wrong_log_prob_is_named_before_training(log_prob: str, tmp_path: Path) -> None:
    @dataclass(frozen=True)
    class Policy(Penalized):
        def actor_loss(self, networks: Networks, batch: Batch, alpha: Tensor) -> tuple[Tensor, Tensor]:
            loss, logp = super().actor_loss(networks, batch, alpha)
            return loss, logp.mean() if log_prob == "mean" else logp.unsqueeze(-1)

    spinup.register_variant("wrong", Policy)
    with pytest.raises(ConfigError, match=r"actor_loss returned a tensor of shape .* as log pi"):
        train(tmp_path, Point, variant="wrong")


@pytest.mark.parametrize(
    "settings",
    [{"sampler": "per", "alpha": "auto"}, {"ac_kwargs": {"critic_norm": "batch"}, "target_networks": False}],
)
def test_the_check_before_training_leaves_no_trace(settings: dict[str, Any], tmp_path: Path) -> None:
    spinup.register_variant("penalized", Penalized)
    wanted, _ = train(tmp_path / "sac", Point, engine="eager", **settings)
    found, _ = train(tmp_path / "own", Point, variant="penalized", **settings)
    for a, b in zip(found.state_dict().values(), wanted.state_dict().values(), strict=True):
        assert torch.equal(a, b)


def test_files_import_no_module(module: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = tmp_path / "run"
    train(output, "Pendulum-v1")
    shutil.rmtree(output / "checkpoint")
    config = json.loads((output / "config.json").read_text())
    for name in (f"{module}:own_of_a_module", "own_of_a_module", f"{module}:sac", 7, ["sac"]):
        (output / "config.json").write_text(json.dumps({**config, "variant": name}))
        assert main(["resume", str(output)]) == 2
        assert "is not registered here: call again with resume=True" in capsys.readouterr().err
    assert module not in sys.modules


def test_spinup_resume_finds_it_in_the_module_of_the_environment(
    module: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "modules" / "own_variant.py"
    path.write_text(path.read_text() + REGISTER_ENV)
    folder = tmp_path / "data"
    settings = "--steps_per_epoch 20 --epochs 1 --start_steps 5 --num_test_episodes 1 --max_ep_len 10"
    words = ["--seed", "0", "1", "--data_dir", str(folder), *settings.split()]
    words += ["--variant", f"{module}:own_of_a_module", "--env", f"{module}:Own-v0"]
    assert main(["sac", *words]) == 0
    assert "spinup resume" not in capsys.readouterr().out
    words = ["resume", str(folder), "--epochs", "2", "--env", f"{module}:Own-v0"]
    assert main([*words, "--jobs", "2"]) == 0
    assert {len(read_rows(path.parent)) for path in folder.rglob("progress.txt")} == {2}


def test_unknown_options_and_modules(tmp_path: Path) -> None:
    with pytest.raises(
        ConfigError, match=r"has no option 'wieght', did you mean 'weight'.*fields are weight"
    ):
        spinup.register_variant("own", Penalized, wieght=1.0)
    with pytest.raises(ConfigError, match=r"no option 'critics'; it has no fields of its own"):
        spinup.register_variant("own", DiscreteSACObjective, critics=3)
    for name in ("nowhere_at_all:own", ":own"):
        with pytest.raises(ConfigError, match=rf"variant='{name}': the module cannot be imported \(\w+: "):
            train(tmp_path, Point, variant=name)
    with pytest.raises(ConfigError, match=r"variant='math:sac': give one of sac, sac_v1"):
        train(tmp_path, Point, variant="math:sac")
    spinup.register_variant("penalized", Penalized)
    with pytest.raises(
        ConfigError,
        match=r"critic='quantile' is defined for variant='sac'[^\n]* \(critic is a setting of recipe='tqc'",
    ):
        train(tmp_path, Point, variant="penalized", recipe="tqc")


def test_a_module_that_exits_ends_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "own_variant.py").write_text("raise SystemExit(0)")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(ConfigError, match=r"cannot be imported \(SystemExit: 0\)"):
        train(tmp_path / "run", Point, variant="own_variant:own")


def test_only_the_eager_engine_runs_it(tmp_path: Path) -> None:
    spinup.register_variant("penalized", Penalized)
    with pytest.raises(ConfigError, match=r"engine='native'.*the objective is Penalized"):
        train(tmp_path, Point, variant="penalized", engine="native")
