"""The architecture: which way imports go, what `import spinup` loads, what is frozen, what is documented."""

from __future__ import annotations

import ast
import graphlib
import inspect
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import spinup
from spinup import MLPActorCritic, sac_pytorch

ROOT = Path(spinup.__file__).parent
# A module imports only from layers below its own, and from its own package.
LAYERS = {
    "version": 0, "errors": 0, "hints": 0, "user_config": 0, "seeding": 0, "checks": 1, "config": 2,
    "recipes": 3, "files": 3, "ray_connection": 3, "replay": 3, "interfaces": 4, "envs": 4, "collect": 5,
    "loggers": 5, "training": 6, "runs": 7, "plotting": 8, "playback": 8, "reports": 9, "deploy": 9,
    "pytorch": 9, "tf1": 9, "tuning": 9, "": 10, "saved_call": 11, "model": 12, "cli": 12, "utils": 13,
    "algos": 13, "run": 13, "__main__": 13,
}  # fmt: skip
FROZEN: list[tuple[str, Any]] = [
    ("env_fn", inspect.Parameter.empty), ("actor_critic", MLPActorCritic), ("ac_kwargs", {}), ("seed", 0),
    ("steps_per_epoch", 4000), ("epochs", 100), ("replay_size", 1_000_000), ("gamma", 0.99),
    ("polyak", 0.995), ("lr", 1e-3), ("alpha", 0.2), ("batch_size", 100), ("start_steps", 10000),
    ("update_after", 1000), ("update_every", 50), ("num_test_episodes", 10), ("max_ep_len", 1000),
    ("logger_kwargs", {}), ("save_freq", 1),
]  # fmt: skip
FORBIDDEN = [
    "tensorflow",
    "ray",
    "optuna",
    "matplotlib",
    "rich",
    "tensorboard",
    "mujoco",
    "imageio",
    "safetensors",
]


def modules() -> dict[str, Path]:
    """Every module of the package by dotted name below `spinup`; the package itself is ''."""
    found = {}
    for path in ROOT.rglob("*.py"):
        parts = path.relative_to(ROOT).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


MODULES = modules()


def imports(name: str, *, whole: bool = True) -> set[str]:
    """Modules of ours that this one imports: anywhere, or only while it is itself imported."""
    tree = ast.parse(MODULES[name].read_text())
    found = set()
    for node in ast.walk(tree) if whole else import_time(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name}: relative import"
            found |= {node.module or ""} | {f"{node.module}.{alias.name}" for alias in node.names}
    ours = {full.removeprefix("spinup").lstrip(".") for full in found if full.split(".")[0] == "spinup"}
    return {
        other for other in ours if other in MODULES and other != name and not name.startswith(other + ".")
    }


def import_time(tree: ast.AST) -> list[ast.AST]:
    """Nodes outside functions and outside `if TYPE_CHECKING`."""
    found = []
    for node in ast.iter_child_nodes(tree):
        lazy = isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda))
        if lazy or (isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)):
            continue
        found += [node, *import_time(node)]
    return found


@pytest.mark.parametrize("name", [name for name in sorted(MODULES) if name])
def test_imports_go_one_way(name: str) -> None:
    layer = name.split(".")[0]
    assert layer in LAYERS, f"{name}: give it a layer here and in CONTRIBUTING"
    for other in imports(name) - {""}:
        target = other.split(".")[0]
        assert target == layer or LAYERS[target] < LAYERS[layer], f"{name} imports {other}"


def test_no_cycles() -> None:
    graph = {name: imports(name, whole=False) for name in MODULES if name}
    order = list(graphlib.TopologicalSorter(graph).static_order())
    assert order.index("errors") < order.index("config") < order.index("training")


@pytest.mark.parametrize("name", [name for name in MODULES if name.endswith("losses")])
def test_losses_import_their_framework_and_other_losses(name: str) -> None:
    tree = ast.parse(MODULES[name].read_text())
    names = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    names |= {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    ours = {n for n in names if n.startswith("spinup")}
    assert ours <= {"spinup.pytorch.losses"}
    others = {n.split(".")[0] for n in names - ours}
    assert others <= {"__future__", "math", "typing", "torch", "tensorflow"}


def test_training_knows_no_framework() -> None:
    text = MODULES["training"].read_text()
    assert "torch" not in text
    assert "tensorflow" not in text


@pytest.fixture(scope="module")
def loaded() -> set[str]:
    """Modules that a fresh interpreter has after `import spinup`."""
    code = "import sys, spinup; print('\\n'.join(sys.modules))"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(out.stdout.split())


def test_import_loads_torch_and_little_else(loaded: set[str]) -> None:
    assert "torch" in loaded
    assert not [m for m in loaded if m.split(".")[0] in FORBIDDEN]
    envs = {m for m in loaded if m.startswith("gymnasium.envs")}
    assert envs <= {"gymnasium.envs", "gymnasium.envs.registration"}
    assert not [
        m for m in loaded if m.startswith(("spinup.utils", "spinup.tf1", "spinup.runs", "spinup.cli"))
    ]


def test_documented_signature_is_frozen() -> None:
    parameters = list(inspect.signature(sac_pytorch).parameters.values())
    assert [(p.name, p.default) for p in parameters[:19]] == FROZEN
    assert all(p.kind is inspect.Parameter.POSITIONAL_OR_KEYWORD for p in parameters[:19])
    for p in parameters[19:]:
        assert p.kind is inspect.Parameter.KEYWORD_ONLY
        assert p.default is not inspect.Parameter.empty


def test_public_names_are_frozen() -> None:
    assert spinup.__all__ == [
        "SAC", "EpochLogger", "MLPActorCritic", "register_actor_critic", "register_variant",
        "sac_pytorch", "sac_tf1",
    ]  # fmt: skip
    for name in spinup.__all__[:6]:
        assert callable(getattr(spinup, name))
        assert name in dir(spinup)
    missing = "nothing_here"
    with pytest.raises(AttributeError, match=missing):
        getattr(spinup, missing)


@pytest.mark.parametrize("name", sorted(MODULES))
def test_modules_and_public_names_are_documented(name: str) -> None:
    tree = ast.parse(MODULES[name].read_text())
    assert ast.get_docstring(tree), f"{name} has no docstring"
    for node in public(tree.body):
        assert ast.get_docstring(node), f"{name}.{node.name} has no docstring"


def public(body: list[ast.stmt]) -> list[Any]:
    """Public functions and classes at the top of a module."""
    kinds = (ast.FunctionDef, ast.ClassDef)
    return [node for node in body if isinstance(node, kinds) and not node.name.startswith("_")]


@pytest.mark.parametrize("folder", ["spinup", "tests", "benchmarks", "tools"])
def test_no_module_defines_a_constant_or_function_twice(folder: str) -> None:
    """The second definition replaces the first, which may have been the values of a parametrized test."""
    files = sorted((ROOT.parent / folder).rglob("*.py"))
    assert files
    for file in files:
        names: list[str] = []
        for node in ast.parse(file.read_text()).body:
            if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
                names.append(node.name)
            elif isinstance(node, (ast.Assign, ast.AnnAssign)):
                targets = node.targets if isinstance(node, ast.Assign) else [node.target]
                names += [t.id for t in targets if isinstance(t, ast.Name) and t.id.isupper()]
        assert sorted(set(names)) == sorted(names), file
