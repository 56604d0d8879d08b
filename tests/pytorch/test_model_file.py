"""model.pt loads under torch's safe default, in a fresh process, and imports nothing."""

from __future__ import annotations

import functools
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium.spaces import Box
from helpers import FourCalls, parameters, small_ac, train
from resuming import talking
from torch import nn

import spinup
from spinup import MLPActorCritic
from spinup.errors import RunError
from spinup.pytorch import model_file
from spinup.pytorch.model_file import register_actor_critic, save_model
from spinup.pytorch.networks.actor_critic import DiscreteMLPActorCritic, MLPValueActorCritic

LOW, HIGH = np.array([-3.0, 0.5], np.float32), np.array([-1.0, 8.5], np.float32)
SPACES = Box(-np.inf, np.inf, (3,)), Box(LOW, HIGH)
KWARGS: dict[str, Any] = {"hidden_sizes": (8, 8), "activation": nn.ELU}


class Subclass(MLPActorCritic):
    """A user's subclass with an argument of its own."""

    def __init__(self, *args: Any, options: Any = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.options = options


@pytest.fixture(autouse=True)
def registry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Undo what a test registers."""
    monkeypatch.setattr(model_file, "_REGISTRY", dict(model_file._REGISTRY))


def test_a_model_loads_as_it_was_saved(tmp_path: Path) -> None:
    ac = MLPActorCritic(*SPACES, **KWARGS)
    save_model(ac, tmp_path / "a" / "model.pt", MLPActorCritic, SPACES, KWARGS)
    back = torch.load(tmp_path / "a" / "model.pt")
    assert type(back) is MLPActorCritic
    assert torch.equal(parameters(back), parameters(ac))
    obs = np.ones((4, 3), np.float32)
    assert np.array_equal(back.act(obs, deterministic=True), ac.act(obs, deterministic=True))
    assert type(back.pi.net[1]) is nn.ELU
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["model.pt"]


def test_a_fresh_process_needs_only_import_spinup(tmp_path: Path) -> None:
    ac, path = MLPActorCritic(*SPACES, **KWARGS), tmp_path / "model.pt"
    save_model(ac, path, MLPActorCritic, SPACES, KWARGS)
    code = (
        "import sys, torch, numpy as np, spinup; before = set(sys.modules); "
        f"ac = torch.load({str(path)!r}); "
        "print(ac.act(np.ones(3, np.float32), deterministic=True).tolist()); "
        "print([m for m in set(sys.modules) - before if 'spinup' in m or 'gymnasium' in m])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    action, loaded = out.splitlines()
    assert json.loads(action) == ac.act(np.ones(3, np.float32), deterministic=True).tolist()
    assert loaded == "[]"


def test_without_spinup_the_file_does_not_load(tmp_path: Path) -> None:
    path = tmp_path / "model.pt"
    save_model(small_ac(), path, MLPActorCritic, SPACES, {"hidden_sizes": (8, 8)})
    code = f"import torch; torch.load({str(path)!r})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode != 0
    assert "rebuild_actor_critic" in done.stderr


def test_loading_draws_nothing_from_the_global_generator(tmp_path: Path) -> None:
    save_model(small_ac(), tmp_path / "m.pt", MLPActorCritic, SPACES, {"hidden_sizes": (8, 8)})
    state = torch.get_rng_state()
    torch.load(tmp_path / "m.pt")
    assert torch.equal(torch.get_rng_state(), state)


def test_a_saved_model_does_not_change_with_later_training(tmp_path: Path) -> None:
    ac = MLPActorCritic(*SPACES, **KWARGS)
    before = parameters(ac)
    snapshot = model_file.SavedActorCritic(ac, MLPActorCritic, SPACES, KWARGS)
    with torch.no_grad():
        for p in ac.parameters():
            p.zero_()
    torch.save(snapshot, tmp_path / "m.pt")
    assert torch.equal(parameters(torch.load(tmp_path / "m.pt")), before)


def test_a_subclass_is_refused_until_registered_and_then_loads_as_itself(tmp_path: Path) -> None:
    kwargs = {**KWARGS, "options": {"a": [1, 2.5, None, True], "b": {"c": "d"}}}
    ac = Subclass(*SPACES, **kwargs)
    save_model(ac, tmp_path / "m.pt", Subclass, SPACES, kwargs)
    with pytest.raises(
        RunError, match=r"^[^\n]*Subclass', which is not registered: [^\n]*register_actor_critic[^\n]*$"
    ):
        torch.load(tmp_path / "m.pt")
    register_actor_critic(Subclass)
    back = torch.load(tmp_path / "m.pt")
    assert type(back) is Subclass
    assert back.options == kwargs["options"]
    assert torch.equal(parameters(back), parameters(ac))


# Written by version 0.1.0; "hidden_sizes": (4,), "activation": nn.Tanh. The action is that at (1, 1, 1).
OLD_FILES: list[tuple[str, Any, Any, float]] = [
    ("sac", MLPActorCritic, [-2.4152997, 2.9463353], -0.3176094),
    ("discrete", DiscreteMLPActorCritic, 2, -0.3603221),
    ("sac_v1", MLPValueActorCritic, [-2.4152997, 2.9463353], -1.9037670),
]


@pytest.mark.parametrize(("variant", "kind", "action", "total"), OLD_FILES)
def test_files_of_version_0_1_0_load(variant: str, kind: Any, action: Any, total: float) -> None:
    path = Path(__file__).parents[1] / "data" / f"model_{variant}_0.1.0.pt"
    assert b"spinup.pytorch.saved" in path.read_bytes()  # the module that had rebuild_actor_critic then
    ac = torch.load(path)
    assert type(ac) is kind
    np.testing.assert_allclose(ac.act(np.ones(3, np.float32), deterministic=True), action, rtol=1e-6)
    assert parameters(ac).double().sum().item() == pytest.approx(total, abs=1e-6)
    assert "spinup.pytorch.saved" not in sys.modules


ARRAYS: list[Any] = [
    np.arange(6.0).reshape(2, 3), np.array(2.5, np.float32), np.array([1, 2], ">i4"), np.arange(6)[::-2],
    np.ones((2, 0)), np.array([True]), torch.arange(3), torch.ones(2, dtype=torch.float64), np.float64(0.5),
    {1: "one", "two": np.ones(2)},
]  # fmt: skip


@pytest.mark.parametrize("given", ARRAYS, ids=repr)
def test_arrays_and_tensors_among_the_arguments_are_restored(tmp_path: Path, given: Any) -> None:
    kwargs = {**KWARGS, "options": [given]}
    assert model_file.load_warnings(MLPActorCritic, kwargs) == ()
    save_model(Subclass(*SPACES, **kwargs), tmp_path / "m.pt", Subclass, SPACES, kwargs)
    register_actor_critic(Subclass)
    (back,) = torch.load(tmp_path / "m.pt").options
    if isinstance(given, dict):
        assert list(back) == [1, "two"]
        given, back = given["two"], back["two"]
    assert type(back) is (float if isinstance(given, np.floating) else type(given))
    np.testing.assert_array_equal(back, given)
    assert getattr(back, "shape", ()) == getattr(given, "shape", ())


@pytest.mark.parametrize(
    "given", [functools.partial(nn.ReLU), nn.ReLU(), 2j, np.array(["a"]), range(3)], ids=repr
)
def test_arguments_that_cannot_be_saved_are_reported_before_training(
    tmp_path: Path, given: Any, capfd: Any
) -> None:
    kwargs = {"hidden_sizes": (8, 8), "options": {"inner": [given]}}
    train(
        tmp_path,
        actor_critic=Subclass,
        ac_kwargs=kwargs,
        epochs=1,
        logger_kwargs=talking(tmp_path),
        engine="eager",
    )
    out = capfd.readouterr().out
    (note,) = [line for line in out.splitlines() if "model.pt of this run will not load" in line]
    assert f"ac_kwargs['options'] holds a {model_file.qualified_name(type(given))}: give" in note
    assert out.index(note) < out.index("Epoch")
    register_actor_critic(Subclass)
    with pytest.raises(RunError, match="instance', which is not registered"):
        torch.load(tmp_path / "pyt_save" / "model.pt")


def test_registering_as_a_decorator_and_by_name(tmp_path: Path) -> None:
    assert spinup.register_actor_critic(FourCalls) is FourCalls
    register_actor_critic(Subclass, "mine-v1")
    save_model(Subclass(*SPACES), tmp_path / "m.pt", Subclass, SPACES, {})
    assert b"mine-v1" in (tmp_path / "m.pt").read_bytes()
    assert type(torch.load(tmp_path / "m.pt")) is Subclass


def test_a_file_that_names_a_module_does_not_import_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "trap_module.py").write_text("raise SystemExit('imported')")
    monkeypatch.syspath_prepend(tmp_path)
    foreign = type("Net", (Subclass,), {"__module__": "trap_module", "__qualname__": "Net"})
    save_model(foreign(*SPACES), tmp_path / "m.pt", foreign, SPACES, {})
    with pytest.raises(RunError, match=r"^[^\n]*'trap_module\.Net', which is not registered"):
        torch.load(tmp_path / "m.pt")
    assert "trap_module" not in sys.modules


def test_classes_among_the_arguments_must_be_registered(tmp_path: Path) -> None:
    class Swish(nn.SiLU):
        """A user's activation."""

    kwargs = {"activation": Swish}
    save_model(Subclass(*SPACES, **kwargs), tmp_path / "m.pt", MLPActorCritic, SPACES, kwargs)
    with pytest.raises(RunError, match="Swish"):
        torch.load(tmp_path / "m.pt")
    register_actor_critic(Swish)
    assert type(torch.load(tmp_path / "m.pt").pi.net[1]) is Swish


def test_constructors_without_a_name_are_saved_and_refused_in_one_line(tmp_path: Path) -> None:
    constructor = functools.partial(MLPActorCritic, activation=nn.Tanh)
    save_model(constructor(*SPACES), tmp_path / "m.pt", constructor, SPACES, {})
    with pytest.raises(
        RunError, match=r"^this model was made by 'functools\.partial', which is not registered"
    ):
        torch.load(tmp_path / "m.pt")
    register_actor_critic(constructor, "tanh")
    save_model(constructor(*SPACES), tmp_path / "m.pt", constructor, SPACES, {})
    assert type(torch.load(tmp_path / "m.pt").pi.net[1]) is nn.Tanh


def test_a_class_that_has_changed_is_refused_in_one_line(tmp_path: Path) -> None:
    register_actor_critic(MLPActorCritic, "changing")
    save_model(MLPActorCritic(*SPACES), tmp_path / "m.pt", MLPActorCritic, SPACES, {"hidden_sizes": (8,)})
    with pytest.raises(RunError, match=r"^[^\n]+$"):
        torch.load(tmp_path / "m.pt")
