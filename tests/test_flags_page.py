"""docs/flags.md and the synopses of docs/commands.md have exactly the flags that the commands have."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import pytest

import spinup
from spinup.cli import flags, tune
from spinup.cli.main import COMMANDS
from spinup.cli.train import ALGORITHMS
from spinup.config import field_defaults
from tools import flags_page

DOCS = Path(__file__).parent.parent / "docs"
SECTIONS = dict(
    re.findall(r"^## spinup (\w+)\n(.*?)(?=^## |\Z)", (DOCS / "flags.md").read_text(), re.M | re.S)
)
TOOLS = [command for command in COMMANDS if command not in {*ALGORITHMS, "tune"}]


def rows(text: str) -> list[list[str]]:
    """The cells of the tables in a section."""
    found = [line.strip("| ").split(" | ") for line in re.findall(r"^\| `.*$", text, re.MULTILINE)]
    assert found
    return [[cell.replace("\\|", "|").strip() for cell in row] for row in found]


def test_the_page_is_what_the_parsers_give() -> None:
    assert (DOCS / "flags.md").read_text() == flags_page.page(), "python tools/flags_page.py writes it"


def test_every_command_has_its_section() -> None:
    assert set(SECTIONS) == {*COMMANDS} - {"sac_pytorch"}  # which is `sac`


def test_flags_of_training_have_the_names_and_defaults_of_the_call() -> None:
    documented = {row[0].strip("`").removeprefix("--"): row for row in rows(SECTIONS["sac"])}
    parameters = flags.flag_defaults(spinup.sac_pytorch)
    networks = inspect.signature(spinup.MLPActorCritic).parameters.values()
    entries = {
        f"ac_kwargs:{p.name}": p.default
        for p in networks
        if p.default is not p.empty and p.name not in field_defaults()
    }
    own = {"env", "env_kwargs", *flags._OUTPUT_FLAGS}
    forms = {*flags.SHORTCUTS, "env:<name>", "a:b", "flag[short]"}
    assert set(documented) == {*parameters, *entries, *own, *forms}
    for name, default in (parameters | entries).items():
        shown = documented[name][2].strip("`")
        if name not in own and shown:
            given = flags.parse_flags([f"--{name}", shown], spinup.sac_pytorch).params[name]
            assert given == [default], name
        elif name not in own:
            assert default in (None, {}), name
        assert len(documented[name][-1]) > 9, f"{name} has no description"


def test_what_takes_a_flags_place_in_python_exists() -> None:
    functions = {
        "setup_logger_kwargs": spinup.runs.grid.setup_logger_kwargs,
        "ExperimentGrid.run": spinup.runs.grid.ExperimentGrid.run,
        "logger_kwargs": spinup.EpochLogger,
    }
    found = re.findall(r'`([\w.]+)(?:\(\.\.\., |\[")(\w+)(?:=\)|"\])`', SECTIONS["sac"])
    assert len(found) == 8
    for function, keyword in found:
        assert keyword in inspect.signature(functions[function]).parameters


def test_flags_of_the_tensorflow_version() -> None:
    (line,) = re.findall(r"is `cmd_sac_tf1`: (.*)\.$", SECTIONS["sac_tf1"], re.MULTILINE)
    parameters, of_torch = (flags.flag_defaults(f) for f in (spinup.sac_tf1, spinup.sac_pytorch))
    listed = set(re.findall(r"`--(\w+)`", line))
    assert listed == {*parameters, "env", "env_kwargs", *flags._OUTPUT_FLAGS}
    for name in parameters:
        assert parameters[name] == of_torch[name], name


def test_flags_of_a_search() -> None:
    named = set(re.findall(r"^  (--\w+)", tune.HELP, re.MULTILINE))
    assert {row[0].strip("`").split()[0] for row in rows(SECTIONS["tune"])} == named
    for name in tune._REFUSED:
        assert f"`--{name}`" in SECTIONS["tune"]
    (line,) = re.findall(r"^spinup tune --env ID .*", (DOCS / "commands.md").read_text(), re.MULTILINE)
    assert set(re.findall(r"--\w+", line)) == {"--env", *named}


@pytest.mark.parametrize("command", TOOLS)
def test_flags_of_a_tool(command: str) -> None:
    actions = flags_page.actions(flags_page.parser_of(command))
    known = {name for action in actions for name in action.option_strings}
    listed = {name for row in rows(SECTIONS[command]) for name in re.findall(r"`(--?[\w-]+)", row[0])}
    assert listed == known
    assert len(rows(SECTIONS[command])) == len(actions)
    (line,) = re.findall(rf"^spinup {command} .*", (DOCS / "commands.md").read_text(), re.MULTILINE)
    on_line = set(re.findall(r"(?<=[ \[])--?[a-z][\w-]*", line))
    assert on_line <= known
    for action in actions:
        assert not action.option_strings or on_line & set(action.option_strings), action.dest
        assert action.help


def test_a_flag_that_is_not_on_the_page_changes_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def sac_pytorch(env_fn, actor_critic=spinup.MLPActorCritic, gamma: float = 0.5, *, new: int = 3):  # type: ignore[no-untyped-def]
        """A call with another default and one keyword more."""

    monkeypatch.setattr(spinup, "sac_pytorch", sac_pytorch)
    monkeypatch.setattr(flags, "field_defaults", lambda: {"gamma": 0.5, "new": 3})
    text = flags_page.page()
    assert "| `--gamma` | float | `0.5` |" in text
    assert "| `--new` | int | `3` |" in text
    assert "--polyak" not in text.split("## spinup sac_tf1")[0]
