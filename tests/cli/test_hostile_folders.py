"""Hostile and damaged run folders: each ends in one line with exit code 2, or is ignored on purpose.

The cases are generated: each field of each file is missing, of each wrong type, out of range, huge, and text
with escape sequences; each file is missing, a folder, a FIFO, a link, text, random bytes, and 20 GB long.
"""

from __future__ import annotations

import fnmatch
import hashlib
import itertools
import json
import os
import resource
import shutil
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch

from spinup.cli.main import main
from spinup.config import field_defaults
from spinup.envs.saved_spec import MakeEnv
from spinup.pytorch.model_file import rebuild_actor_critic
from spinup.runs.manifest import canonical_json

ESCAPE = "\x1b]0;title\x07\x1b[31mred\x9b2J\u202e"
MISSING: Any = object()
WRONG: dict[str, Any] = {
    "missing": MISSING, "null": None, "list": [[]], "dict": {"id": {}}, "text": ESCAPE, "flag": True,
    "negative": -5, "fraction": 1.5, "huge": 10**30, "long": "x" * 100_000,
}  # fmt: skip
COMMANDS = {
    "resume": ["resume", "run", "--epochs", "2"],
    "test_policy": ["test_policy", "run", "-nr", "-n", "1"],
    "plot": ["plot", "run", "--save", "curve.png"],
}
MAX_SECONDS, MAX_BYTES = 5.0, 500 * 2**20
SPARSE_BYTES = 20 * 2**30

Tree = dict[str, Any]
Damage = Callable[[Path], object]


@dataclass(frozen=True)
class Case:
    """Damage to a folder and the command that is run on it."""

    name: str
    command: str
    damage: Damage

    @property
    def id(self) -> str:
        """Such as "resume: config.json gamma list"."""
        return f"{self.command}: {self.name}"


# What is ignored on purpose, by reason: patterns of `Case.id`.
HAD_THE_DEFAULT = """actor_critic alpha callback_every checkpoint_every checkpoint_minutes collect collectors
    critics device engine env_timeout env_workers exp_name gamma keep_checkpoints logger_kwargs
    logger_kwargs.output_fname logger_kwargs.quiet logger_kwargs.tensorboard logger_kwargs.trackers
    lr max_staleness n_step num_envs polyak ray save_freq seed target_critics target_entropy test_every
    threads updates_per_step variant video_every critic atoms value_bound quantiles drop_quantiles
    target_networks reward_scale policy_delay actor_first betas weight_decay lr_schedule lr_end
    normalize_weights hold_noise recipe critic_keys normalize_observations normalize_rewards sampler
    priority_exponent priority_beta priority_beta_updates her_k prior_data prior_fraction offline
    random_shift policy_q alpha_loss"""
IGNORED = {
    "a missing setting has its default, which the run had too or which may change; others are not read": [
        *(f"resume: config.json {name} missing" for name in HAD_THE_DEFAULT.split()),
        *("resume: both engine missing", "resume: both device missing", "resume: both threads missing"),
        *("*: vars.json env.kwargs missing", "*: vars.json env.max_episode_steps missing"),
        *("*: vars.json env.wrappers missing", "test_policy: config.json max_ep_len missing"),
        *("test_policy: config.json max_ep_len null", "test_policy: config.json missing"),
        *(
            "plot: config.json missing",
            "test_policy: model kwargs.dict.activation missing",
        ),
    ],
    "what the run had": [
        *(f"resume: config.json {name} null" for name in ("collectors", "ray", "recipe", "prior_data")),
        "resume: config.json target_networks flag",
    ],
    "a valid value of what may change while a run is resumed, or of what only this command uses": [
        *("resume: config.json env_timeout fraction", "resume: config.json env_timeout huge"),
        *("resume: config.json checkpoint_minutes fraction", "resume: config.json checkpoint_minutes huge"),
        *("resume: config.json save_freq huge", "resume: config.json checkpoint_every huge"),
        *(f"resume: config.json {x} huge" for x in ("callback_every", "keep_checkpoints", "video_every")),
        *(
            "resume: config.json logger_kwargs.tensorboard flag",
            "resume: config.json logger_kwargs.quiet flag",
        ),
        *("resume: config.json logger_kwargs dict", "test_policy: config.json max_ep_len huge"),
        *("test_policy: vars.json env.max_episode_steps null",),
        *("test_policy: vars.json env.max_episode_steps huge",),
    ],
    "--epochs replaces it": ["resume: config.json epochs *"],
    "only copied, and never printed": ["resume: config.json exp_name *"],
    "the folder's name replaces what is no name; text is drawn with its escapes": [
        "plot: config.json exp_name *"
    ],
    "the run continues after the rows that are left, with a warning": [
        f"resume: progress.txt {kind}"
        for kind in (
            "missing",
            "text",
            "empty",
            "random bytes",
            "nested",
            "list",
            "long number",
            "brackets",
            "of *",
        )
    ],
    "written anew": ["resume: pyt_save/model.pt *"],
    "not read by this command": ["plot: pyt_save/model.pt *", "test_policy: progress.txt *"],
    "a state that a run can have": [
        *("resume: state stopped flag", "resume: state collector.started flag"),
        *("resume: state best_return fraction", "resume: state seconds fraction"),
        *(
            "resume: state collector.episodes.0.ret fraction",
            "resume: state collector.episodes.0.number huge",
        ),
        *("resume: state rng.state.state huge", "resume: state rng.has_uint32 negative"),
        *("resume: state log.position huge", "resume: state log.stats.EpRet missing"),
    ],
    "the last one counts": [
        "plot: progress.txt of the same column twice",
    ],
}


def ignored_reason(case: Case) -> str:
    """Why the case exits with 0; empty if it does not."""
    return next(
        (why for why, ids in IGNORED.items() if any(fnmatch.fnmatchcase(case.id, i) for i in ids)), ""
    )


# Changes to a JSON file.


def put(tree: Tree, path: tuple[str, ...], value: Any) -> None:
    """Set or remove an entry of nested dicts."""
    for key in path[:-1]:
        tree = tree[key]
    if value is MISSING:
        tree.pop(path[-1], None)
    else:
        tree[path[-1]] = value


def in_json(file: str, path: tuple[str, ...], value: Any) -> Damage:
    """Change an entry of a JSON file."""

    def damage(folder: Path) -> None:
        tree = json.loads((folder / file).read_text())
        put(tree, path, value)
        (folder / file).write_text(json.dumps(tree))

    return damage


def in_manifest(*changes: tuple[tuple[str, ...], Any]) -> Damage:
    """Change entries of the manifest's body, and its checksum."""

    def damage(folder: Path) -> None:
        path = folder / "checkpoint" / "manifest-2.json"
        body = json.loads(path.read_text())["body"]
        for at, value in changes:
            put(body, at, value)
        digest = hashlib.sha256(canonical_json(body)).hexdigest()
        path.write_text(json.dumps({"sha256": digest, "body": body}))

    return damage


def in_both(path: tuple[str, ...], value: Any) -> Damage:
    """Change a setting in the manifest and in the JSON file that holds it, so that both agree."""
    file = "vars.json" if path[0] == "env" else "config.json"

    def damage(folder: Path) -> None:
        in_json(file, path, value)(folder)
        in_manifest((("settings", *path), value))(folder)

    return damage


# Changes to files.


def replaced(file: str, make: Callable[[Path], object]) -> Damage:
    """Put something else in place of a file or folder."""

    def damage(folder: Path) -> None:
        path = folder / file
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
        make(path)

    return damage


def sparse(path: Path) -> None:
    """A file of 20 GB of zeros that occupies no space."""
    path.touch()
    os.truncate(path, SPARSE_BYTES)


def sparse_array_file(file: str) -> Damage:
    """An array file of 20 GB, and the size in the manifest."""

    def damage(folder: Path) -> None:
        os.truncate(folder / "checkpoint" / file, SPARSE_BYTES)
        in_manifest((("files", file), [SPARSE_BYTES, "0" * 64]))(folder)

    return damage


OTHER_FILES: dict[str, Callable[[Path], object]] = {
    "missing": lambda path: None,
    "folder": lambda path: path.mkdir(),
    "FIFO": os.mkfifo,
    "link to a device": lambda path: path.symlink_to("/dev/zero"),
    "link to itself": lambda path: path.symlink_to(path),
    "text": lambda path: path.write_text(ESCAPE + "\n"),
    "empty": lambda path: path.touch(),
    "random bytes": lambda path: path.write_bytes(hashlib.shake_128(b"0").digest(5000)),
    "sparse": sparse,
    "nested": lambda path: path.write_text("[" * 100_000),
    "list": lambda path: path.write_text("[1, 2]\n"),
    "long number": lambda path: path.write_text('{"x": ' + "9" * 10_000 + "}\n"),
    "brackets": lambda path: path.write_text('{"x": [' + "[]," * 2_000_000 + "1]}"),
}


def model_with(path: tuple[str, ...], value: Any) -> Damage:
    """Change an entry of the dict that model.pt holds."""

    def damage(folder: Path) -> None:
        file = folder / "pyt_save" / "model.pt"
        torch.save(ModelWith(file, path, value), file)

    return damage


class ModelWith:
    """Pickles as the content of a model.pt with one entry changed."""

    def __init__(self, file: Path, path: tuple[str, ...], value: Any) -> None:
        self.data = saved_data(file)
        put(self.data, path, value)

    def __reduce__(self) -> Any:
        return rebuild_actor_critic, (self.data,)


def saved_data(file: Path) -> Tree:
    """The dict that a model.pt holds."""
    held: list[Tree] = []
    allowed = torch.serialization.get_safe_globals()
    torch.serialization.clear_safe_globals()
    with torch.serialization.safe_globals([(held.append, "spinup.pytorch.model_file.rebuild_actor_critic")]):
        torch.load(file, weights_only=True)
    torch.serialization.add_safe_globals(allowed)
    return held[0]


def compressed(path: Path) -> None:
    """A zip archive whose entry of 128 MB is compressed to a thousandth."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("a/data.pkl", "w") as file:
        for _ in range(8):
            file.write(bytes(2**24))


# The cases.


def json_cases(command: str, file: str, fields: list[tuple[str, ...]]) -> Iterator[Case]:
    """Each field of a JSON file with each wrong value."""
    for path in fields:
        for kind, value in WRONG.items():
            if path == ("exp_name",) and kind in ("dict", "flag", "fraction", "negative"):
                continue  # never validated, so that all end in a whole run
            yield Case(f"{file} {'.'.join(path)} {kind}", command, in_json(file, path, value))


def file_cases(command: str, file: str) -> Iterator[Case]:
    """A file replaced by each of OTHER_FILES."""
    for kind, make in OTHER_FILES.items():
        yield Case(f"{file} {kind}", command, replaced(file, make))


CONFIG = [(name,) for name in (*field_defaults(), "algorithm", "exp_name", "actor_critic", "ac_kwargs")]
CONFIG += [("ac_kwargs", "hidden_sizes"), ("logger_kwargs",)]
CONFIG += [("logger_kwargs", name) for name in ("output_fname", "tensorboard", "trackers", "quiet")]
ENV = [("env",), *(("env", name) for name in ("id", "kwargs", "max_episode_steps", "wrappers"))]
BODY = ("format", "version", "number", "state", "settings", "segments", "files")
STATE = """epoch best_return stopped seconds rng rng.bit_generator rng.state rng.state.state rng.has_uint32
    agent agent.ac agent.ac.pi/net/0/weight agent.target agent.target.0/q/0/weight agent.rng agent.torch_rng
    agent.critic_optimizer agent.critic_optimizer.0 agent.critic_optimizer.0.step
    agent.actor_optimizer.0.exp_avg_sq collector collector.env_steps collector.started collector.obs
    collector.episodes collector.episodes.0 collector.episodes.0.number collector.episodes.0.ret
    collector.episodes.0.length collector.episodes.0.actions collector.episodes.0.statistics
    collector.statistics collector.statistics.0 evaluator evaluator.0 log log.stats log.stats.EpRet
    log.header log.rows log.position log.pending"""
SCALARS = """epoch best_return stopped seconds collector.env_steps collector.started log.rows log.position
    rng.state.state rng.has_uint32
    collector.episodes.0.number collector.episodes.0.ret collector.episodes.0.length"""
MODEL = """constructor observation_space observation_space.low action_space action_space.high kwargs
    kwargs.dict kwargs.dict.hidden_sizes kwargs.dict.activation state state.pi/net/0/weight"""


def nested_path(words: str) -> tuple[str, ...]:
    """The path that a word names; "/" stands for a dot in a key."""
    return tuple(key.replace("/", ".") for key in words.split("."))


def all_cases() -> Iterator[Case]:
    """Every case."""
    yield from json_cases("resume", "config.json", CONFIG)
    yield from json_cases("test_policy", "config.json", [("max_ep_len",)])
    yield from json_cases("plot", "config.json", [("exp_name",)])
    for command in ("resume", "test_policy"):
        yield from json_cases(command, "vars.json", ENV)
        yield from file_cases(command, "vars.json")
    for command in COMMANDS:
        yield from file_cases(command, "config.json")
    yield from file_cases("resume", "progress.txt")
    yield from file_cases("plot", "progress.txt")
    yield from file_cases("test_policy", "pyt_save/model.pt")
    for kind in ("missing", "folder", "FIFO", "link to a device"):
        for command, file in (
            ("resume", "pyt_save/model.pt"),
            ("plot", "pyt_save/model.pt"),
            ("test_policy", "progress.txt"),
        ):
            yield Case(f"{file} {kind}", command, replaced(file, OTHER_FILES[kind]))
    yield from env_cases()
    yield from checkpoint_cases()
    yield from model_cases()
    yield from table_cases()


KWARGS = {
    "id": {"id": "CartPole-v1"}, "unknown": {"x": 1}, "escape": {ESCAPE: 1}, "type": {"g": ESCAPE},
    "null": {"g": None}, "limit": {"max_episode_steps": "x"}, "render mode": {"render_mode": ESCAPE},
    "checker": {"disable_env_checker": []},
}  # fmt: skip
IDS = (
    "LunarLander-v3",
    "phys2d/CartPole-v1",
    "GymV21Environment-v0",
    "Pendulum-v1:x",
    "os:Pendulum-v1",
    "",
    "/",
)


def env_cases() -> Iterator[Case]:
    """Environments that cannot be made as saved, also where the manifest says the same."""
    for command in ("resume", "test_policy"):
        for name, kwargs in KWARGS.items():
            yield Case(f"both env.kwargs with {name}", command, in_both(("env", "kwargs"), kwargs))
        for env_id in IDS:
            yield Case(f"both env.id {env_id}", command, in_both(("env", "id"), env_id))
        for limit in (0, -5, 1.5, "many", []):
            yield Case(f"both env limit {limit}", command, in_both(("env", "max_episode_steps"), limit))
    for count in (0, 100_000, 10**30):
        yield Case(f"both threads {count}", "resume", in_both(("threads",), count))
    for kind, value in WRONG.items():
        for name in ("engine", "device", "threads", "ac_kwargs"):
            yield Case(f"both {name} {kind}", "resume", in_both((name,), value))


def checkpoint_cases() -> Iterator[Case]:
    """The newest checkpoint, which is the only one."""
    yield from file_cases("resume", "checkpoint")
    for file in ("manifest-2.json", "state-2.safetensors", "replay-2-1-20.safetensors"):
        yield from file_cases("resume", f"checkpoint/{file}")
        if not file.startswith("manifest"):
            yield Case(f"{file} sparse with its size", "resume", sparse_array_file(file))
    for kind, value in WRONG.items():
        for name in BODY:
            yield Case(f"manifest {name} {kind}", "resume", in_manifest(((name,), value)))
        for words in STATE.split() if kind in ("missing", "text") else SCALARS.split():
            at = ("state", *nested_path(words))
            yield Case(f"state {words} {kind}", "resume", in_manifest((at, value)))
    for name, stats in {
        "count": [-1, 0.0, 0.0, 0.0, 0.0],
        "variance": [1, 0.0, -1.0, 0.0, 0.0],
        "short": [1, 2],
    }.items():
        yield Case(
            f"state statistics {name}", "resume", in_manifest((("state", "log", "stats"), {"EpRet": stats}))
        )
    for name, header in {"numbers": [1, 2], "others": [ESCAPE]}.items():
        yield Case(f"state columns {name}", "resume", in_manifest((("state", "log", "header"), header)))
    deep: Any = 1
    for _ in range(900):
        deep = {"a": deep}
    yield Case(
        "state nested 900 deep", "resume", in_manifest((("state", "collector", "statistics", "0"), deep))
    )
    yield Case("state nested 900 deep elsewhere", "resume", in_manifest((("state", "x"), deep)))


def model_cases() -> Iterator[Case]:
    """model.pt with a changed entry, or another object."""
    for kind, value in WRONG.items():
        for words in MODEL.split():
            yield Case(f"model {words} {kind}", "test_policy", model_with(nested_path(words), value))
    objects: dict[str, Any] = {
        "tensor": torch.zeros(3), "dict": {"act": 1}, "number": 3, "array of 8 exabytes":
        torch.zeros(1).expand(2**20, 2**20, 2**20),
    }  # fmt: skip
    for name, value in objects.items():
        yield Case(
            f"model of a {name}",
            "test_policy",
            lambda folder, value=value: torch.save(value, folder / "pyt_save/model.pt"),
        )
    yield Case("model compressed", "test_policy", replaced("pyt_save/model.pt", compressed))
    yield Case(
        "model truncated", "test_policy", lambda folder: os.truncate(folder / "pyt_save/model.pt", 3000)
    )
    huge_space = torch.zeros(1).expand(2**20, 2**20)
    yield Case(
        "model observation_space.low of 4 TB",
        "test_policy",
        model_with(("observation_space", "low"), huge_space),
    )
    yield Case(
        "model kwargs of 4 TB", "test_policy", model_with(("kwargs", "dict", "hidden_sizes"), [10**6, 10**6])
    )
    for kind in ("folder", "FIFO", "missing", "text"):
        yield Case(f"pyt_save {kind}", "test_policy", replaced("pyt_save", OTHER_FILES[kind]))


TABLES: dict[str, bytes] = {
    "columns of escapes": f"{ESCAPE}\tEpoch\n1\t2\n".encode(),
    "only a header": b"Epoch\tTotalEnvInteracts\n",
    "a million columns": b"\t".join([b"a"] * 10**6) + b"\n" + b"\t".join([b"1"] * 10**6) + b"\n",
    "the same column twice": b"AverageEpRet\tAverageEpRet\tTotalEnvInteracts\n1\t2\t3\n",
    "huge numbers": b"AverageEpRet\tTotalEnvInteracts\n1e308\t1e308\n-1e308\t-1e308\n1e400\t1\n",
    "text for numbers": f"AverageEpRet\tTotalEnvInteracts\n{ESCAPE}\t{ESCAPE}\n".encode(),
    "rows of other lengths": b"AverageEpRet\tTotalEnvInteracts\n1\n1\t2\t3\n",
    "null bytes": bytes(10**6) + b"\n" + bytes(10**6) + b"\n",
    "a long line": b"AverageEpRet\tTotalEnvInteracts\n" + b"9" * 10**7 + b"\t1\n",
}


def table_cases() -> Iterator[Case]:
    """progress.txt with other content."""
    for command in ("plot", "resume"):
        for name, data in TABLES.items():
            yield Case(
                f"progress.txt of {name}", command,
                lambda folder, data=data: (folder / "progress.txt").write_bytes(data),
            )  # fmt: skip
    for name in (r"$\frac{$", "_hidden", "x\ny" * 1000):
        yield Case(f"config.json exp_name {name[:9]!r}", "plot", in_json("config.json", ("exp_name",), name))


CASES = list(all_cases())


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished run with one checkpoint, taken within an episode."""
    from spinup import sac_pytorch

    folder = tmp_path_factory.mktemp("original") / "run"
    sac_pytorch(
        MakeEnv("Pendulum-v1"), ac_kwargs={"hidden_sizes": [8]}, steps_per_epoch=20, epochs=1, start_steps=10,
        update_after=10, update_every=5, batch_size=4, num_test_episodes=1, max_ep_len=8, threads=1,
        engine="eager", replay_size=100,
        logger_kwargs={"output_dir": str(folder), "exp_name": "run", "tensorboard": False},
    )  # fmt: skip
    (folder / "checkpoint" / "manifest-1.json").unlink()
    return folder


def peak_bytes() -> int:
    """The largest resident size of this process so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


@pytest.mark.usefixtures("time_limit")
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_a_hostile_folder_ends_in_one_line(
    case: Case, original: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copytree(original, "run")
    case.damage(Path("run"))
    used, peak = time.process_time(), peak_bytes()
    code = main(COMMANDS[case.command])
    assert time.process_time() - used < MAX_SECONDS
    assert peak_bytes() - peak < MAX_BYTES
    out, err = capfd.readouterr()
    controls = {character for character in out + err if not character.isprintable()}
    assert controls <= {"\n"}
    if ignored_reason(case):
        assert (code, err) == (0, "")
    else:
        assert code == 2
        assert err.startswith("spinup: ")
        assert err.count("\n") == 1
        assert len(err) < 2500


LIMITED = """
import json, os, resource, signal, sys
import matplotlib.figure, matplotlib.backends.backend_agg, safetensors.numpy
from spinup.cli.main import main
pages = int(open("/proc/self/statm").read().split()[0])
limit = pages * resource.getpagesize() + 500 * 2**20
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
for folder, words in json.loads(sys.argv[1]):
    os.chdir(folder)
    signal.alarm(20)  # which ends this process
    print(main(words), words, folder, flush=True)
"""
COSTLY = (
    "*: config.json FIFO", "*: config.json link to a device", "*: config.json sparse", "*: vars.json FIFO",
    "plot: progress.txt FIFO", "plot: progress.txt sparse", "plot: progress.txt of a million columns",
    "*: pyt_save/model.pt FIFO", "test_policy: pyt_save/model.pt sparse", "test_policy: model *4 TB",
    "resume: * sparse with its size", "resume: checkpoint/manifest-2.json *", "resume: both threads 100000",
    "resume: state nested*",
)  # fmt: skip


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="measures memory with Linux's /proc")
def test_costly_files_in_a_process_of_limited_memory(original: Path, tmp_path: Path) -> None:
    jobs = []
    for pattern in COSTLY:
        cases = [case for case in CASES if fnmatch.fnmatchcase(case.id, pattern) and not ignored_reason(case)]
        assert cases, f"{pattern} matches no case"
        for case in cases:
            folder = tmp_path / str(len(jobs))
            shutil.copytree(original, folder / "run")
            case.damage(folder / "run")
            jobs.append((str(folder), COMMANDS[case.command]))
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, json.dumps(jobs)],
        capture_output=True, text=True, timeout=100, check=False,
    )  # fmt: skip
    lines = done.stdout.splitlines()
    assert [line for line in lines if line.endswith(tuple("0123456789")) and not line.startswith("2 ")] == []
    assert (done.returncode, len([line for line in lines if line.startswith("2 ")])) == (0, len(jobs)), done
    assert done.stderr.count("spinup: ") == done.stderr.count("\n") == len(jobs)


def test_there_are_many_cases() -> None:
    assert len(CASES) > 700
    assert len({case.id for case in CASES}) == len(CASES)
    for pattern in itertools.chain(*IGNORED.values()):
        assert fnmatch.filter([case.id for case in CASES], pattern), f"{pattern} matches no case"
