"""A run that is stopped and resumed equals an uninterrupted run bit for bit."""

from __future__ import annotations

import json
import signal
import sys
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium.envs.classic_control import PendulumEnv
from gymnasium.envs.registration import WrapperSpec
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from gymnasium.wrappers import FrameStackObservation
from helpers import FourCalls, Point, read_rows, train
from resuming import (
    StepHook,
    assert_same,
    assert_same_files,
    noisy,
    normalized,
    point,
    signal_at,
    talking,
)

from spinup.cli.main import main
from spinup.errors import ConfigError, RunError
from spinup.playback.episodes import load_policy_and_env
from spinup.pytorch.model_file import registered
from spinup.runs.manifest import canonical_json, checksum
from spinup.runs.resuming import OUR_ACTOR_CRITICS


@pytest.mark.parametrize("num_envs", [1, 3])
@pytest.mark.parametrize("alpha", [0.2, "auto"])
def test_two_halves_equal_one_run(tmp_path: Path, engine: str, num_envs: int, alpha: Any) -> None:
    settings = {"engine": engine, "num_envs": num_envs, "alpha": alpha, "steps_per_epoch": 99}
    whole, _ = train(tmp_path / "whole", epochs=4, **settings)
    train(tmp_path / "halves", epochs=2, **settings)
    halves, _ = train(tmp_path / "halves", epochs=4, resume=True, **settings)
    assert_same(whole, halves, tmp_path / "whole", tmp_path / "halves")


@pytest.mark.parametrize(
    "settings",
    [
        {"n_step": 3},
        {"n_step": 4, "num_envs": 3, "replay_size": 60},
        {"critics": 4, "engine": "eager"},
        {"critics": 3, "target_critics": 3, "alpha": "auto", "variant": "sac_v1", "n_step": 2},
    ],
)
def test_n_step_and_more_critics(tmp_path: Path, settings: dict[str, Any]) -> None:
    settings = {"env_fn": point, "steps_per_epoch": 99, "checkpoint_every": 10, **settings}
    whole, _ = train(tmp_path / "whole", **settings)
    resumed = stop_and_resume(tmp_path / "stopped", 117, **settings)
    assert_same(whole, resumed, tmp_path / "whole", tmp_path / "stopped")


@pytest.mark.filterwarnings("ignore::DeprecationWarning:torch.*")  # of the compiler's own modules
@pytest.mark.slow
@pytest.mark.parametrize("module", [None, FourCalls])
@pytest.mark.usefixtures("compiled_once")
def test_two_compiled_halves_equal_one_run(tmp_path: Path, module: Any) -> None:
    settings: dict[str, Any] = {"engine": "compile", "alpha": "auto", "num_envs": 3, "steps_per_epoch": 99}
    settings |= {"actor_critic": module} if module else {}
    whole, _ = train(tmp_path / "whole", epochs=4, **settings)
    torch._dynamo.reset()  # as in a new process
    train(tmp_path / "halves", epochs=2, **settings)
    torch._dynamo.reset()
    halves, _ = train(tmp_path / "halves", epochs=4, resume=True, **settings)
    assert_same(whole, halves, tmp_path / "whole", tmp_path / "halves")


def stop_and_resume(folder: Path, at: int, signum: int = signal.SIGTERM, **settings: Any) -> Any:
    """A run that a signal stops in step `at`, including steps of tests, and that is resumed."""
    signal_at(at, signum)
    with pytest.raises(KeyboardInterrupt if signum == signal.SIGINT else SystemExit) as stopped:
        train(folder, **settings)
    if signum != signal.SIGINT:
        assert stopped.value.code == 128 + signum  # type: ignore[attr-defined]
    envs = max(settings.get("num_envs", 1), 2)  # two in tests
    assert StepHook.steps < at + envs, "continued after the current step"
    signal_at(None)
    return train(folder, resume=True, **settings)[0]


@pytest.mark.parametrize(
    ("at", "signum"),
    [
        (1, signal.SIGTERM),
        (57, signal.SIGINT),
        (100, signal.SIGUSR1),
        (117, signal.SIGTERM),
        (117, signal.SIGINT),
    ],
)
def test_stopped_by_a_signal(tmp_path: Path, at: int, signum: int) -> None:
    # Steps: the first; one between updates; the last of an epoch; one within a test.
    whole, _ = train(tmp_path / "whole", point)
    resumed = stop_and_resume(tmp_path / "stopped", at, signum, env_fn=point)
    assert_same(whole, resumed, tmp_path / "whole", tmp_path / "stopped")


@pytest.mark.parametrize("num_envs", [1, 3])
@pytest.mark.parametrize("env_fn", [normalized, noisy])
@pytest.mark.parametrize("at", [74, 117, 229])  # training, within the first test, after it
def test_statistics_of_wrappers_are_restored(tmp_path: Path, env_fn: Any, num_envs: int, at: int) -> None:
    settings = {"env_fn": env_fn, "num_envs": num_envs, "steps_per_epoch": 99, "max_ep_len": 40}
    whole, _ = train(tmp_path / "whole", **settings)
    resumed = stop_and_resume(tmp_path / "stopped", at, **settings)
    assert_same(whole, resumed, tmp_path / "whole", tmp_path / "stopped")


def test_worker_processes(tmp_path: Path) -> None:
    settings = {"env_fn": normalized, "num_envs": 3, "steps_per_epoch": 99, "num_test_episodes": 1}
    whole, _ = train(tmp_path / "whole", epochs=2, **settings)
    train(tmp_path / "halves", epochs=1, env_workers="async", **settings)
    halves, _ = train(tmp_path / "halves", epochs=2, env_workers="async", resume=True, **settings)
    assert_same(whole, halves, tmp_path / "whole", tmp_path / "halves")


def test_a_module_that_draws_from_the_global_generator(tmp_path: Path) -> None:
    settings = {"actor_critic": FourCalls, "env_fn": point}
    whole, _ = train(tmp_path / "whole", **settings)
    resumed = stop_and_resume(tmp_path / "stopped", 87, **settings)
    assert_same(whole, resumed, tmp_path / "whole", tmp_path / "stopped")


def test_a_replay_buffer_that_has_wrapped(tmp_path: Path) -> None:
    settings = {"env_fn": point, "replay_size": 37, "checkpoint_every": 5}
    whole, _ = train(tmp_path / "whole", **settings)
    resumed = stop_and_resume(tmp_path / "stopped", 93, **settings)
    assert_same(whole, resumed, tmp_path / "whole", tmp_path / "stopped")


class Drifting(Point):
    """Not deterministic: the drift persists over resets."""

    drift = 0.0

    def step(self, action: Any) -> Any:
        Drifting.drift += 0.01
        self.x[0] += Drifting.drift
        return super().step(action)


def test_an_episode_that_cannot_be_replayed_is_discarded(tmp_path: Path, capfd: Any) -> None:
    train(tmp_path, Drifting, epochs=1)
    _, rows = train(tmp_path, Drifting, resume=True, logger_kwargs=talking(tmp_path))
    assert "cannot replay its running episode exactly: it begins a new one" in capfd.readouterr().out
    assert [row["TotalEnvInteracts"] for row in rows] == ["100", "200"]


def vector() -> Any:
    """A user's vector environment."""
    return SyncVectorEnv([Point] * 2, autoreset_mode=AutoresetMode.NEXT_STEP)


def test_a_users_vector_environment_begins_new_episodes(tmp_path: Path, capfd: Any) -> None:
    train(tmp_path, vector, num_envs=2, epochs=1)
    _, rows = train(tmp_path, vector, num_envs=2, resume=True, logger_kwargs=talking(tmp_path))
    assert "environment 0, 1 cannot replay" in capfd.readouterr().out
    assert len(rows) == 2


@pytest.mark.parametrize(
    ("changed", "line"),
    [
        ({"gamma": 0.9}, "gamma was 0.99 and is now 0.9"),
        ({"lr": 1e-4}, "lr was 0.001 and is now 0.0001"),
        ({"seed": 1}, "seed was 0 and is now 1"),
        ({"num_envs": 2}, "num_envs was 1 and is now 2"),
        ({"alpha": "auto"}, "alpha was 0.2 and is now 'auto'"),
        ({"ac_kwargs": {"hidden_sizes": (16,)}}, r"ac_kwargs was .*\[8, 8\].* and is now .*\[16\]"),
        ({"env_fn": "Pendulum-v1"}, "env was None and is now .*Pendulum-v1"),
        ({"actor_critic": FourCalls}, "actor_critic was 'MLPActorCritic' and is now 'helpers.FourCalls'"),
    ],
)
def test_a_changed_hyperparameter_is_refused(tmp_path: Path, changed: dict[str, Any], line: str) -> None:
    train(tmp_path, epochs=1, engine="eager")
    before = (tmp_path / "progress.txt").read_bytes(), (tmp_path / "config.json").read_bytes()
    with pytest.raises(ConfigError, match=line) as refused:
        train(tmp_path, engine="eager", resume=True, **changed)
    assert "\n" not in str(refused.value)
    assert before == ((tmp_path / "progress.txt").read_bytes(), (tmp_path / "config.json").read_bytes())


def test_settings_that_may_change_are_logged(tmp_path: Path, capfd: Any) -> None:
    train(tmp_path, epochs=1, threads=1)
    _, rows = train(
        tmp_path, epochs=3, threads=2, env_workers="async", resume=True, logger_kwargs=talking(tmp_path)
    )
    out = capfd.readouterr().out
    for line in ("epochs was 1 and is now 3", "threads was 1 and is now 2", "env_workers was 'sync'"):
        assert line in out
    assert len(rows) == 3


def test_what_auto_resolved_to_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    train(tmp_path, epochs=1, threads=1, engine="eager")
    monkeypatch.setattr("os.cpu_count", lambda: 64)
    train(tmp_path, resume=True, threads="auto", engine="auto")
    config = (tmp_path / "config.json").read_text()
    assert '"threads": 1' in config
    assert '"engine": "eager"' in config


def test_resume_in_an_empty_folder_starts_a_run(tmp_path: Path) -> None:
    whole, _ = train(tmp_path / "whole")
    fresh, _ = train(tmp_path / "fresh", resume=True)
    assert_same(whole, fresh, tmp_path / "whole", tmp_path / "fresh")
    with pytest.raises(ConfigError, match="give the folder of the run"):
        train(tmp_path, resume=True, logger_kwargs={})


def test_a_resume_without_the_compiler_continues_with_another_engine(
    tmp_path: Path, capfd: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    train(tmp_path, epochs=1, engine="native")
    monkeypatch.setattr("spinup.pytorch.engines.native.missing_compiler", lambda: "no compiler is installed")
    _, rows = train(tmp_path, engine="native", resume=True, logger_kwargs=talking(tmp_path))
    out = capfd.readouterr().out
    assert "engine: eager, plain autograd (not native, as no compiler is installed)" in out
    assert len(rows) == 2
    assert '"engine": "eager"' in (tmp_path / "config.json").read_text()


def test_rows_without_a_checkpoint_are_never_overwritten(tmp_path: Path) -> None:
    train(tmp_path, epochs=1, checkpoint_every=0, checkpoint_minutes=0)
    assert not (tmp_path / "checkpoint").exists()
    before = (tmp_path / "progress.txt").read_bytes()
    with pytest.raises(RunError, match=r"no intact checkpoint to continue.*start over with overwrite=True"):
        train(tmp_path, resume=True)
    assert before == (tmp_path / "progress.txt").read_bytes()


def test_resuming_a_finished_run_changes_nothing(tmp_path: Path) -> None:
    a, before = train(tmp_path)
    files = {name: (tmp_path / "pyt_save" / name).read_bytes() for name in ("model.pt", "model_best.pt")}
    b, after = train(tmp_path, resume=True)
    assert before == after
    for name, data in files.items():
        assert (tmp_path / "pyt_save" / name).read_bytes() == data
    assert all(
        np.array_equal(p.detach(), q.detach()) for p, q in zip(a.parameters(), b.parameters(), strict=True)
    )


def test_fewer_epochs_than_are_done_are_refused_and_nothing_is_written(tmp_path: Path, capsys: Any) -> None:
    train(tmp_path, "Pendulum-v1", sampler="per", epochs=3)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    with pytest.raises(
        ConfigError, match=r"^epochs=2: epoch 3 of this run is done already; give at least as"
    ):
        train(tmp_path, "Pendulum-v1", sampler="per", epochs=2, resume=True)
    assert main(["resume", str(tmp_path), "--epochs", "2", "--threads", "auto"]) == 2
    assert "--epochs 2: epoch 3 of this run is done already" in capsys.readouterr().err
    after = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert {p: after[p] for p in before if "tfevents" not in p.name} == {
        p: content for p, content in before.items() if "tfevents" not in p.name
    }


def test_a_run_ended_by_its_callback_stays_ended(tmp_path: Path) -> None:
    def stop(row: Any, ac: Any) -> bool:
        return bool(row["Epoch"] < 2)

    train(tmp_path, epochs=4, callback=stop)
    assert len(train(tmp_path, epochs=4, resume=True)[1]) == 2
    assert len(train(tmp_path, epochs=5, resume=True)[1]) == 5


PENDULUM = [
    "--hid", "[8,8]", "--steps_per_epoch", "60", "--start_steps", "20", "--update_after", "20",
    "--update_every", "10", "--batch_size", "8", "--num_test_episodes", "1", "--act", "torch.nn.Tanh",
]  # fmt: skip


def test_the_command(tmp_path: Path) -> None:
    places = ["--data_dir", str(tmp_path)]
    assert main(["sac", "--env", "Pendulum-v1", "--exp_name", "a", "--epochs", "3", *PENDULUM, *places]) == 0
    assert main(["sac", "--env", "Pendulum-v1", "--exp_name", "b", "--epochs", "2", *PENDULUM, *places]) == 0
    assert main(["resume", str(tmp_path / "b" / "b_s0"), "--epochs", "3"]) == 0
    assert_same_files(tmp_path / "a" / "a_s0", tmp_path / "b" / "b_s0")
    assert [row["Epoch"] for row in read_rows(tmp_path / "b" / "b_s0")] == ["1", "2", "3"]


def test_the_command_continues_with_other_threads(tmp_path: Path) -> None:
    train(tmp_path, "Pendulum-v1", epochs=1, threads=2)
    assert main(["resume", str(tmp_path), "--epochs", "2", "--threads", "1"]) == 0
    assert json.loads((tmp_path / "config.json").read_text())["threads"] == 1
    assert len(read_rows(tmp_path)) == 2


def refused(capsys: Any, *words: str) -> str:
    """The error line of the command."""
    assert main(["resume", *words]) == 2
    line: str = capsys.readouterr().err
    assert line.count("\n") == 1
    return line


def test_the_command_refuses_runs_that_files_do_not_describe(tmp_path: Path, capsys: Any) -> None:
    train(tmp_path / "lambda", Point, epochs=1)
    assert "no id describes its environment: call again" in refused(capsys, str(tmp_path / "lambda"))
    wrapped = tmp_path / "wrapped"
    train(wrapped, lambda: gym.wrappers.TimeAwareObservation(gym.make("Pendulum-v1")), epochs=1)
    assert "is wrapped in TimeAwareObservation by your code: call again" in refused(capsys, str(wrapped))
    train(tmp_path / "own", "Pendulum-v1", epochs=1, actor_critic=FourCalls)
    assert "'helpers.FourCalls' is not registered here" in refused(capsys, str(tmp_path / "own"))
    (tmp_path / "empty").mkdir()
    assert "config.json is missing" in refused(capsys, str(tmp_path / "empty"))
    assert "does not exist" in refused(capsys, str(tmp_path / "emptx"))


def stacked_pendulum(**kwargs: Any) -> gym.Env[Any, Any]:
    """A Pendulum that returns its last two observations."""
    return FrameStackObservation(PendulumEnv(**kwargs), 2)


def test_an_id_that_makes_its_wrappers_is_enough(tmp_path: Path, capsys: Any) -> None:
    gym.register("Stacked-v0", stacked_pendulum, max_episode_steps=20)
    aware = WrapperSpec("TimeAware", "gymnasium.wrappers:TimeAwareObservation", {})
    gym.register("Aware-v0", PendulumEnv, max_episode_steps=20, additional_wrappers=(aware,))
    try:
        for env_id in ("Stacked-v0", "Aware-v0"):
            folder = tmp_path / env_id
            train(folder, env_id, epochs=1)
            assert json.loads((folder / "vars.json").read_text())["env"]["wrappers"]
            assert main(["resume", str(folder), "--epochs", "2"]) == 0
            env, get_action = load_policy_and_env(folder)
            assert env.action_space.contains(get_action(env.reset(seed=0)[0]))
            # The same environment from the user's code.
            train(folder, lambda env_id=env_id: gym.make(env_id), epochs=3, resume=True)
            assert "is wrapped in" in refused(capsys, str(folder))
    finally:
        del gym.registry["Stacked-v0"], gym.registry["Aware-v0"]


def test_the_command_refuses_a_run_of_an_older_version(tmp_path: Path, capsys: Any) -> None:
    train(tmp_path, "Pendulum-v1", epochs=1)
    config = tmp_path / "config.json"
    config.write_text(config.read_text().replace('"native"', '"fused"').replace('"eager"', '"fused"'))
    for path in (tmp_path / "checkpoint").glob("manifest-*.json"):
        body = {**json.loads(path.read_text())["body"], "version": 1}
        path.write_text(json.dumps({"sha256": checksum(canonical_json(body)), "body": body}))
    assert "was written by spinup 0.1.0" in refused(capsys, str(tmp_path))


def test_an_engine_asked_for_with_resume_is_not_replaced_in_a_new_run(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"^engine='cuda_graph' cannot be used here"):
        train(tmp_path, engine="cuda_graph", resume=True)


def test_the_command_imports_no_module_named_in_a_file(tmp_path: Path, capsys: Any) -> None:
    train(tmp_path, "Pendulum-v1", epochs=1)
    vars_file = tmp_path / "vars.json"
    vars_file.write_text(vars_file.read_text().replace("Pendulum-v1", "antigravity:Pendulum-v1"))
    assert "is not registered here, and modules named in files are not imported" in refused(
        capsys, str(tmp_path)
    )
    assert "antigravity" not in sys.modules


@pytest.mark.parametrize("limit", [15, -1])
def test_an_environment_given_again_is_made_with_the_saved_arguments(
    tmp_path: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch, limit: int
) -> None:
    pendulum = "gymnasium.envs.classic_control:PendulumEnv"
    register = f"import gymnasium\ngymnasium.register('Swing-v0', {pendulum!r}, max_episode_steps=25)\n"
    (tmp_path / "own_swing.py").write_text(register)
    monkeypatch.syspath_prepend(tmp_path)
    settings = {"max_ep_len": 40, "num_test_episodes": 1, "epochs": 1}
    run = tmp_path / "run"
    train(run, lambda: gym.make("own_swing:Swing-v0", g=5.0, max_episode_steps=limit), **settings)
    assert float(read_rows(run)[0]["TestEpLen"]) == (15 if limit == 15 else 40)
    forget("Swing-v0", "own_swing")
    assert "--env module:Swing-v0, or call again with resume=True" in refused(capsys, str(run))
    assert main(["resume", str(run), "--epochs", "2", "--env", "own_swing:Swing-v0"]) == 0
    forget("Swing-v0", "own_swing")
    assert [row["TestEpLen"] for row in read_rows(run)] == [str(15.0 if limit == 15 else 40.0)] * 2
    assert "env was" in refused(capsys, str(run), "--epochs", "3", "--env", "Pendulum-v1")


def forget(env_id: str, module: str) -> None:
    """Undo the import of a module that registers an environment."""
    del gym.registry[env_id]
    del sys.modules[module]


def test_a_resumed_run_logs_as_it_did(tmp_path: Path, capfd: Any) -> None:
    logging = {"output_fname": "rows.txt", "tensorboard": False, "quiet": True}
    run = tmp_path / "run"
    with pytest.raises(FileNotFoundError):  # read_rows looks for progress.txt
        train(run, "Pendulum-v1", epochs=1, logger_kwargs={"output_dir": str(run), **logging})
    assert main(["resume", str(run), "--epochs", "2"]) == 0
    assert len((run / "rows.txt").read_text().splitlines()) == 3
    assert not (run / "progress.txt").exists()
    assert not list(run.glob("events.*"))
    assert "Epoch" not in capfd.readouterr().out
    config = json.loads((run / "config.json").read_text())
    assert config.pop("logger_kwargs") == logging
    (run / "config.json").write_text(json.dumps(config))  # as in a file without it
    (run / "rows.txt").rename(run / "progress.txt")
    assert main(["resume", str(run), "--epochs", "3"]) == 0
    assert len(read_rows(run)) == 3
    assert list(run.glob("events.*"))
    assert "Epoch" in capfd.readouterr().out


@pytest.mark.parametrize("name", ["../rows.txt", "/rows.txt", "..", 3])
def test_rows_are_not_written_outside_the_folder(tmp_path: Path, capsys: Any, name: Any) -> None:
    train(tmp_path, "Pendulum-v1", epochs=1)
    file = tmp_path / "config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "logger_kwargs": {"output_fname": name}}))
    assert "gives the logger output_fname=" in refused(capsys, str(tmp_path))


def test_actor_critics_of_the_command_are_registered() -> None:
    assert all(registered(name) for name in OUR_ACTOR_CRITICS if name)


def test_an_edited_configuration_is_refused(tmp_path: Path, capsys: Any) -> None:
    train(tmp_path, "Pendulum-v1", epochs=1)
    file = tmp_path / "config.json"
    file.write_text(file.read_text().replace('"gamma": 0.99', '"gamma": 0.9'))
    assert "gamma was 0.99 and is now 0.9" in refused(capsys, str(tmp_path))
