"""Trackers: the same names as in progress.txt, one record across a resume, failures that never stop a run.

Needs the extras `wandb`, `trackio` and `mlflow`.
"""

import json
import math

import pytest
from helpers import read_rows, train

from spinup.cli.main import main
from spinup.errors import ConfigError, MissingExtraError
from spinup.loggers import trackers as trackers_module
from spinup.loggers.epoch_logger import EpochLogger
from spinup.loggers.trackers import TRACKERS, Tracker, check_trackers


class Recorded(Tracker):
    """Writes what it receives into a list."""

    package = "json"
    calls: list = []  # noqa: RUF012
    fails = ""

    def __init__(self, folder, project, config, run_id):
        self.run_id = run_id or f"run{len(self.calls)}"
        self._do("start", project, config, run_id)

    def row(self, step, values):
        self._do("row", step, values)

    def video(self, step, path):
        self._do("video", step, path)

    def close(self):
        self._do("close")

    def _do(self, *call):
        if call[0] == self.fails:
            raise RuntimeError("no\nnetwork")
        self.calls.append(call)


@pytest.fixture
def recorded(monkeypatch):
    """The tracker `wandb`, replaced by one that records; its list of calls."""
    monkeypatch.setitem(TRACKERS, "wandb", Recorded)
    monkeypatch.setattr(Recorded, "calls", [])
    return Recorded


def logging(folder, **changes):
    """The keyword arguments of the logger."""
    kwargs = {"output_dir": str(folder), "quiet": True, "tensorboard": False, "trackers": ["wandb"]}
    return {"logger_kwargs": {**kwargs, **changes}}


def test_rows_and_settings_arrive_under_their_names(recorded, tmp_path):
    train(tmp_path, **logging(tmp_path, exp_name="tracked"))
    start, first, second, close = recorded.calls
    assert start[:2] == ("start", "tracked")
    assert start[2]["lr"] == 1e-3
    assert start[2]["ac_kwargs"] == {"hidden_sizes": [8, 8]}
    assert close == ("close",)
    for (_, step, values), row in zip((first, second), read_rows(tmp_path), strict=True):
        assert step == int(row["TotalEnvInteracts"])
        assert values == {k: float(v) for k, v in row.items() if math.isfinite(float(v))}


def test_a_resumed_run_continues_its_record(recorded, tmp_path):
    train(tmp_path, epochs=1, **logging(tmp_path))
    (name,) = json.loads((tmp_path / "trackers.json").read_text()).values()
    train(tmp_path, resume=True, **logging(tmp_path))
    starts = [call for call in recorded.calls if call[0] == "start"]
    assert [call[3] for call in starts] == [None, name]
    steps = [call[1] for call in recorded.calls if call[0] == "row"]
    assert steps == [100, 200]
    train(tmp_path, **logging(tmp_path, overwrite=True))
    assert [call[3] for call in recorded.calls if call[0] == "start"] == [None, name, None]


@pytest.mark.parametrize("step", ["start", "row", "close"])
def test_a_tracker_that_fails_is_reported_once_and_left_out(step, recorded, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(recorded, "fails", step)
    train(tmp_path, **logging(tmp_path, quiet=False))
    assert len(read_rows(tmp_path)) == 2
    said = "tracker wandb failed (RuntimeError: no network): training continues without it"
    assert capsys.readouterr().out.count(said) == 1


def test_a_damaged_file_of_ids_begins_new_records(recorded, tmp_path):
    train(tmp_path, epochs=1, **logging(tmp_path))
    (tmp_path / "trackers.json").write_text("[")
    train(tmp_path, resume=True, **logging(tmp_path))
    assert [call[3] for call in recorded.calls if call[0] == "start"] == [None, None]


def test_wrong_names(monkeypatch, capsys):
    with pytest.raises(ConfigError, match="did you mean 'wandb'"):
        check_trackers(["wandbb"])
    with pytest.raises(ConfigError, match="give a list of names"):
        check_trackers("wandb")
    assert check_trackers(("wandb", "tensorboard", "wandb")) == ["wandb", "tensorboard"]
    monkeypatch.setattr(trackers_module.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"pip install 'spinup\[wandb\]'"):
        check_trackers(["wandb"])
    assert main(["sac", "--env", "Pendulum-v1", "--track", "tensorbord"]) == 2
    assert "did you mean 'tensorboard'" in capsys.readouterr().err


def test_the_flag_reaches_the_logger_and_a_resumed_run(recorded, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    words = "sac --env Pendulum-v1 --exp_name t --track wandb --epochs 1 --steps_per_epoch 30 --hid [8]"
    words += " --num_test_episodes 1 --max_ep_len 10 --threads 1"
    assert main(words.split()) == 0
    assert main(["resume", "data/t/t_s0", "--epochs", "2"]) == 0
    assert [call[1] for call in recorded.calls if call[0] in ("start", "row")] == ["t", 30, "t", 60]


def test_videos_are_passed_on(recorded, tmp_path):
    logger = EpochLogger(tmp_path, quiet=True, tensorboard=False, trackers=["wandb"])
    logger.video(tmp_path / "a.mp4", 7)
    logger.close()
    logger.close()
    assert recorded.calls[1:] == [("video", 7, tmp_path / "a.mp4"), ("close",)]
