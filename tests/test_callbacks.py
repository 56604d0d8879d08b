"""Callbacks within an epoch, tests at their own interval, numbered models: counted, and resumed exactly."""

import math
import os
import signal

import numpy as np
import pytest
import torch
from helpers import Point, parameters, read_rows, train, without_timing

import spinup
from spinup.cli.main import main
from spinup.errors import ConfigError, EnvError
from spinup.playback import viewer
from spinup.playback.episodes import load_policy_and_env
from spinup.runs.resuming import is_complete


def columns(row):
    """The names in a row."""
    return list(row)


def test_the_callback_is_called_within_epochs_with_the_row_so_far(tmp_path):
    seen = []
    ac, rows = train(tmp_path / "a", callback=lambda row, ac: seen.append(row), callback_every=30)
    assert [row["TotalEnvInteracts"] for row in seen] == [30, 60, 90, 100, 120, 150, 180, 200]
    assert [row["Epoch"] for row in seen] == [1, 1, 1, 1, 2, 2, 2, 2]
    assert all(columns(row) == columns(rows[0]) for row in seen)
    assert math.isnan(seen[0]["LossQ"])  # no update before step 40
    assert math.isfinite(seen[1]["LossQ"])
    assert math.isnan(seen[1]["AverageTestEpRet"])
    assert seen[3]["AverageEpRet"] == float(rows[0]["AverageEpRet"])
    assert math.isnan(seen[4]["AverageEpRet"]) or seen[4]["AverageEpRet"] != seen[3]["AverageEpRet"]
    plain, without = train(tmp_path / "b")
    assert without_timing(rows) == without_timing(without)
    assert (parameters(plain) == parameters(ac)).all()


def test_a_callback_ends_the_run_within_an_epoch(tmp_path):
    def stop(row, ac):
        return row["TotalEnvInteracts"] < 150

    ac, rows = train(tmp_path, callback=stop, callback_every=50)
    assert [row["TotalEnvInteracts"] for row in rows] == ["100"]
    saved = torch.load(tmp_path / "pyt_save" / "model.pt")
    assert (parameters(saved) == parameters(ac)).all()
    resumed, rows = train(tmp_path, resume=True)
    assert (parameters(resumed) == parameters(ac)).all()  # it stays ended
    resumed, rows = train(tmp_path, resume="again")
    whole, wanted = train(tmp_path / "whole")
    assert (parameters(resumed) == parameters(whole)).all()
    assert without_timing(rows) == without_timing(wanted)


def test_a_callback_ends_the_run_with_numpys_false_and_with_nothing_else_that_is_false(tmp_path):
    _, rows = train(tmp_path / "numpy", callback=lambda row, ac: np.float64(row["Epoch"]) < 0)
    assert len(rows) == 1
    for answer in (None, 0, 0.0, ""):
        _, rows = train(tmp_path / repr(answer), callback=lambda row, ac, answer=answer: answer)
        assert len(rows) == 2


def test_the_model_of_a_run_that_its_callback_ended_is_numbered(tmp_path):
    train(tmp_path, epochs=5, save_freq=3, keep_checkpoints="all", callback=lambda row, ac: row["Epoch"] < 2)
    assert {path.stem for path in (tmp_path / "pyt_save").iterdir()} == {"model", "model_best", "model2"}


def test_a_callback_that_was_due_at_the_last_checkpoint_is_called_after_resuming(tmp_path):
    settings, seen = {"callback_every": 30, "checkpoint_every": 30}, []

    def crash(row, ac):
        if row["TotalEnvInteracts"] == 60:
            raise RuntimeError

    with pytest.raises(RuntimeError):
        train(tmp_path, callback=crash, **settings)
    train(tmp_path, callback=lambda row, ac: seen.append(row["TotalEnvInteracts"]), resume=True, **settings)
    assert seen == [60, 90, 100, 120, 150, 180, 200]


def test_a_stop_where_a_checkpoint_was_written_already_is_kept(tmp_path):
    settings = {"callback_every": 50, "checkpoint_every": 50}
    train(tmp_path, callback=lambda row, ac: row["TotalEnvInteracts"] < 150, **settings)
    assert is_complete(tmp_path, 2)


def test_early_stop_at_a_return_of_tests_within_the_epoch(tmp_path):
    def reached(row, ac):
        return not row["AverageTestEpRet"] > -1e9

    ac, rows = train(tmp_path, callback=reached, callback_every=10, test_every=150)
    assert [row["TotalEnvInteracts"] for row in rows] == ["100"]
    best = torch.load(tmp_path / "pyt_save" / "model_best.pt")
    assert (parameters(best) == parameters(ac)).all()


def count_tests(monkeypatch):
    """The env steps at which tests run, as a list that grows."""
    from spinup.training import Trainer

    made, test = [], Trainer.test

    def counted(self, round_number):
        made.append((self.n, round_number))
        test(self, round_number)

    monkeypatch.setattr(Trainer, "test", counted)
    return made


@pytest.mark.parametrize(
    ("test_every", "wanted"),
    [
        ("epoch", [(100, 0), (200, 1)]),
        (100, [(100, 0), (200, 1)]),
        (40, [(40, 0), (80, 1), (120, 2), (160, 3), (200, 4)]),
        (150, [(150, 0)]),
    ],
)
def test_tests_at_their_own_interval(test_every, wanted, tmp_path, monkeypatch):
    made = count_tests(monkeypatch)
    ac, rows = train(tmp_path / "a", test_every=test_every)
    assert made == wanted
    for i, row in enumerate(rows):
        tested = any(100 * i < n <= 100 * (i + 1) for n, _ in wanted)
        assert math.isfinite(float(row["AverageTestEpRet"])) == tested
    plain, _ = train(tmp_path / "b")
    assert (parameters(plain) == parameters(ac)).all()  # tests leave training as it was


def test_with_several_environments_each_multiple_that_is_passed_counts(tmp_path, monkeypatch):
    made = count_tests(monkeypatch)
    train(tmp_path, num_envs=4, test_every=30)
    assert made == [(32, 0), (60, 1), (92, 2), (120, 3), (152, 4), (180, 5)]


def test_a_run_with_its_own_test_interval_is_resumed_exactly(tmp_path):
    settings = {"test_every": 40, "checkpoint_every": 10, "keep_checkpoints": "all"}
    whole, wanted = train(tmp_path / "whole", **settings)

    def stop(row, ac):
        return row["TotalEnvInteracts"] < 120  # where a test is due

    train(tmp_path / "parts", callback=stop, callback_every=10, **settings)
    resumed, rows = train(tmp_path / "parts", resume="again", **settings)
    assert without_timing(rows) == without_timing(wanted)
    assert (parameters(resumed) == parameters(whole)).all()
    best = [torch.load(tmp_path / name / "pyt_save" / "model_best.pt") for name in ("whole", "parts")]
    assert (parameters(best[0]) == parameters(best[1])).all()


@pytest.mark.parametrize(
    ("keep", "names"), [(0, []), (2, ["model4", "model5"]), ("all", [f"model{i}" for i in range(1, 6)])]
)
def test_numbered_models(keep, names, tmp_path):
    train(tmp_path, epochs=5, keep_checkpoints=keep, steps_per_epoch=20)
    saved = {p.stem for p in (tmp_path / "pyt_save").iterdir()}
    assert saved == {"model", "model_best", *names}


def test_a_numbered_model_is_the_policy_of_its_epoch(tmp_path):
    models = {}

    def keep(row, ac):
        models[row["Epoch"]] = parameters(ac)

    train(tmp_path, "Pendulum-v1", epochs=4, keep_checkpoints=2, save_freq=2, callback=keep)
    assert {p.stem for p in (tmp_path / "pyt_save").iterdir()} == {"model", "model_best", "model2", "model4"}
    for number in (2, 4):
        saved = torch.load(tmp_path / "pyt_save" / f"model{number}.pt")
        assert (parameters(saved) == models[number]).all()
    env, get_action = load_policy_and_env(tmp_path, 2)
    assert get_action(env.observation_space.sample()).shape == (1,)
    env.close()


@pytest.mark.parametrize(
    ("name", "value"),
    [("test_every", 0), ("test_every", "step"), ("keep_checkpoints", -1), ("keep_checkpoints", "al"),
     ("callback_every", -1), ("video_every", 1.5)],
)  # fmt: skip
def test_invalid_values(name, value, tmp_path):
    with pytest.raises(ConfigError, match=f"{name}={value!r}: give"):
        spinup.sac_pytorch(Point, **{name: value})


def test_videos_are_written_every_k_epochs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    words = (
        "sac --env Pendulum-v1 --exp_name v --video_every 2 --epochs 4 --steps_per_epoch 50 --max_ep_len 30"
    )
    words += " --start_steps 10 --update_after 20 --batch_size 8 --hid [8] --num_test_episodes 1 --threads 1"
    assert main(words.split()) == 0
    films = sorted((tmp_path / "data/v/v_s0/videos").iterdir())
    assert [film.name for film in films] == ["epoch2.mp4", "epoch4.mp4"]
    assert all(film.stat().st_size > 1000 for film in films)
    plain = words.replace("--video_every 2", "").replace("--exp_name v", "--exp_name p")
    assert main(plain.split()) == 0
    with_videos, without = (read_rows(tmp_path / f"data/{n}/{n}_s0") for n in "vp")
    assert without_timing(with_videos) == without_timing(without)


def test_a_signal_during_a_video_waits_until_the_epoch_is_logged(tmp_path, monkeypatch):
    settings = {"epochs": 2, "video_every": 1, "num_test_episodes": 1, "max_ep_len": 30}
    train(tmp_path / "whole", "Pendulum-v1", **settings)
    write_frame = viewer.Viewer._write_frame

    def interrupt(self):
        os.kill(os.getpid(), signal.SIGTERM)
        return write_frame(self)

    monkeypatch.setattr(viewer.Viewer, "_write_frame", interrupt)
    with pytest.raises(SystemExit):
        train(tmp_path / "parts", "Pendulum-v1", **settings)
    monkeypatch.undo()
    _, rows = train(tmp_path / "parts", "Pendulum-v1", resume=True, **settings)
    assert without_timing(rows) == without_timing(read_rows(tmp_path / "whole"))


def test_videos_of_an_environment_that_cannot_be_made_again_are_refused(capsys):
    with pytest.raises(EnvError, match="the environment has no id"):
        spinup.sac_pytorch(Point, video_every=1, threads=1)


@pytest.mark.parametrize(
    ("callback", "message"),
    [(lambda row: None, r"it is called as callback\(row, ac\), but: too many positional arguments"),
     (lambda row, ac, more: None, r"callback\(row, ac\), but: missing a required argument: 'more'"),
     (3, r"callback=3: give a function that is called as callback\(row, ac\), or None")],
)  # fmt: skip
def test_callbacks_of_other_arguments_are_refused_before_the_run(callback, message, tmp_path):
    with pytest.raises(ConfigError, match=message):
        train(tmp_path / "run", callback=callback)
    assert not (tmp_path / "run").exists()


def test_callables_without_a_signature_and_bound_methods_are_taken(tmp_path):
    class Rows(list):
        def keep(self, row, *rest):
            self.append(row)

    rows = Rows()
    train(tmp_path / "method", callback=rows.keep)
    train(tmp_path / "c", callback=print)
    assert len(rows) == 2
