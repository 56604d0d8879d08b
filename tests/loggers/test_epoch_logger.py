"""EpochLogger: columns, files, existing folders, write errors, and exact continuation."""

import errno
import json
import math
import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from helpers import train

from spinup import files
from spinup.errors import ConfigError, RunError
from spinup.loggers.epoch_logger import EpochLogger
from spinup.loggers.run_folder import NAN_BATCH
from spinup.loggers.tensorboard_events import tag_of
from spinup.runs.locks import LOCK_FILE


def make(path, **kwargs):
    return EpochLogger(path, **{"quiet": True, "tensorboard": False, **kwargs})


def rows(path):
    lines = (path / "progress.txt").read_text().split("\n")
    assert lines.pop() == ""
    return [line.split("\t") for line in lines]


def write_row(logger, epoch):
    logger.log_tabular("Epoch", epoch)
    logger.log_tabular("EpRet", with_min_and_max=True)
    logger.log_tabular("EpLen", average_only=True)
    return logger.dump_tabular()


def test_columns_and_full_precision(tmp_path):
    logger = make(tmp_path)
    logger.store(EpRet=[0.1, 0.2], EpLen=torch.tensor([3.0, 4.0], requires_grad=True))
    row = write_row(logger, 0)
    header, values = rows(tmp_path)
    assert header == ["Epoch", "AverageEpRet", "StdEpRet", "MaxEpRet", "MinEpRet", "EpLen"]
    mean, std = float(np.mean([0.1, 0.2])), float(np.std([0.1, 0.2]))
    assert values == ["0", repr(mean), repr(std), "0.2", "0.1", "3.5"]
    assert [float(v) for v in values] == list(row.values())


def test_epoch_without_values_logs_nan(tmp_path):
    logger = make(tmp_path)
    write_row(logger, 0)
    logger.store(EpRet=1.0, EpLen=1)
    write_row(logger, 1)
    logger.log_tabular("Epoch", 2)
    logger.dump_tabular()
    table = rows(tmp_path)
    assert table[1] == ["0", *["nan"] * 5]
    assert table[2] == ["1", "1.0", "0.0", "1.0", "1.0", "1.0"]
    assert table[3] == ["2", *["nan"] * 5]


def test_statistics_are_reset_every_epoch(tmp_path):
    logger = make(tmp_path)
    logger.store(EpRet=100.0, EpLen=1)
    write_row(logger, 0)
    logger.store(EpRet=1.0, EpLen=1)
    assert logger.get_stats("EpRet") == [1.0, 0.0, 1.0, 1.0]
    assert write_row(logger, 1)["AverageEpRet"] == 1.0
    assert all(math.isnan(v) for v in logger.get_stats("never"))


def test_tabs_and_newlines_in_values_are_replaced(tmp_path):
    logger = make(tmp_path)
    logger.log_tabular("Note", "two\twords\nand more")
    logger.log_tabular("Tensor", torch.tensor([2.5]))
    logger.log_tabular("Count", np.int64(7))
    logger.dump_tabular()
    assert rows(tmp_path)[1] == ["two words and more", "2.5", "7"]


def test_columns_are_those_of_the_first_row(tmp_path):
    logger = make(tmp_path)
    write_row(logger, 0)
    with pytest.raises(ConfigError, match="'New'"):
        logger.log_tabular("New", 1)
    logger.log_tabular("Epoch", 1)
    with pytest.raises(ConfigError, match="'Epoch' is already set"):
        logger.log_tabular("Epoch", 1)


@pytest.mark.parametrize("name", ["progress.txt", "config.json"])
def test_folder_with_a_run_is_refused(tmp_path, name):
    (tmp_path / name).write_text("content")
    with pytest.raises(RunError, match=r"resume=True.*datestamp=True.*overwrite=True") as caught:
        make(tmp_path)
    assert "resume" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert (tmp_path / name).read_text() == "content"


def test_overwrite_removes_the_run_and_nothing_else(tmp_path):
    logger = make(tmp_path, tensorboard=True)
    logger.save_config({"a": 1})
    logger.setup_pytorch_saver(torch.zeros(1))
    logger.save_state({}, 3)
    write_row(logger, 0)
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "kept").touch()
    (tmp_path / "checkpoint").symlink_to(outside)
    for name in ("notes.txt", "progress.txt.bak", "model.pt"):
        (tmp_path / name).touch()
    make(tmp_path, overwrite=True)
    assert sorted(os.listdir(tmp_path)) == ["model.pt", "notes.txt", "outside", "progress.txt.bak"]
    assert (outside / "kept").exists()


def test_overwrite_removes_everything_that_a_run_writes(tmp_path):
    train(tmp_path, epochs=1, logger_kwargs={"output_dir": str(tmp_path), "quiet": True})
    for name in ("tf1_save", "tf1_save_best", "tf1_save3", ".tf1_save.tmp", ".tf1_save_best.old"):
        (tmp_path / name).mkdir()
    for name in (NAN_BATCH, "vars3.json", ".vars.json.tmp", ".config.json.tmp"):
        (tmp_path / name).touch()
    make(tmp_path, overwrite=True)
    assert os.listdir(tmp_path) == [LOCK_FILE]


def test_overwrite_and_resume_are_mutually_exclusive(tmp_path):
    write_row(make(tmp_path), 0)
    with pytest.raises(ConfigError, match="leave one of them out"):
        make(tmp_path, overwrite=True, resume=True)
    assert len(rows(tmp_path)) == 2


def test_new_folders_are_distinct(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folders = [make(None).output_dir for _ in range(3)]
    assert len(set(folders)) == 3
    assert all(os.path.dirname(folder) == str(tmp_path / "data") for folder in folders)


def test_folder_that_cannot_be_created(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(RunError, match="cannot create the folder"):
        make(tmp_path / "file" / "run")


class FullDisk:
    """os.write that fails after `free` bytes, as on a full disk."""

    def __init__(self, free):
        self.free = free
        self.write = os.write

    def __call__(self, handle, data):
        if self.free == 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        data = data[: self.free]
        self.free -= len(data)
        return self.write(handle, data)


@pytest.mark.parametrize("free", [0, 1, 5])
def test_full_disk_keeps_rows_complete_and_in_order(tmp_path, monkeypatch, capsys, free):
    logger = make(tmp_path, quiet=False)
    write_row(logger, 0)
    with monkeypatch.context() as patched:
        patched.setattr(files.os, "write", FullDisk(free))
        write_row(logger, 1)
        write_row(logger, 2)
        assert [row[0] for row in rows(tmp_path)] == ["Epoch", "0"]
        state = logger.state_dict()
    assert capsys.readouterr().out.count("No space left") == 1
    write_row(logger, 3)
    assert [row[0] for row in rows(tmp_path)] == ["Epoch", "0", "1", "2", "3"]

    resumed = make(tmp_path, resume=True)
    resumed.load_state_dict(state)
    write_row(resumed, 3)
    assert [row[0] for row in rows(tmp_path)] == ["Epoch", "0", "1", "2", "3"]


def test_full_disk_from_the_first_row(tmp_path, monkeypatch):
    logger = make(tmp_path)
    with monkeypatch.context() as patched:
        patched.setattr(files.os, "write", FullDisk(10))
        write_row(logger, 0)
        write_row(logger, 1)
    logger.close()
    assert [row[0] for row in rows(tmp_path)] == ["Epoch", "0", "1"]


def test_full_disk_in_save_state_keeps_the_previous_save(tmp_path, monkeypatch, capsys):
    logger = make(tmp_path, quiet=False)
    logger.setup_pytorch_saver(torch.zeros(1))
    logger.save_state({"n": 1})
    before = (tmp_path / "pyt_save" / "model.pt").read_bytes()

    def full(handle):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(files.os, "fsync", full)
        logger.setup_pytorch_saver(torch.ones(1))
        logger.save_state({"n": 2})
    assert "could not save" in capsys.readouterr().out
    assert json.loads((tmp_path / "vars.json").read_text()) == {"n": 1}
    assert (tmp_path / "pyt_save" / "model.pt").read_bytes() == before
    assert sorted(os.listdir(tmp_path)) == ["pyt_save", "vars.json"]
    assert os.listdir(tmp_path / "pyt_save") == ["model.pt"]


def test_continuation_is_byte_identical(tmp_path):
    def feed(logger, epoch):
        logger.store(EpRet=epoch + 0.1, EpLen=epoch)
        logger.store(EpRet=[epoch / 3, 1.0], EpLen=[2, 3])

    reference = make(tmp_path / "reference")
    for epoch in range(4):
        feed(reference, epoch)
        write_row(reference, epoch)

    logger = make(tmp_path / "resumed")
    for epoch in range(2):
        feed(logger, epoch)
        write_row(logger, epoch)
    logger.store(EpRet=2.1, EpLen=2)
    state = json.loads(json.dumps(logger.state_dict()))
    write_row(logger, 77)  # after the checkpoint, so resuming must remove it
    resumed = make(tmp_path / "resumed", resume=True)
    resumed.load_state_dict(state)
    resumed.store(EpRet=[2 / 3, 1.0], EpLen=[2, 3])
    write_row(resumed, 2)
    feed(resumed, 3)
    write_row(resumed, 3)
    assert (tmp_path / "resumed/progress.txt").read_bytes() == (
        tmp_path / "reference/progress.txt"
    ).read_bytes()


def test_resume_without_state_drops_only_an_incomplete_row(tmp_path):
    write_row(make(tmp_path), 0)
    with (tmp_path / "progress.txt").open("a") as file:
        file.write("1\t0.")
    write_row(make(tmp_path, resume=True), 1)
    assert [row[0] for row in rows(tmp_path)] == ["Epoch", "0", "1"]


def test_config_is_json(tmp_path):
    logger = make(tmp_path, exp_name="hc")
    logger.save_config({"act": torch.nn.ReLU, "hid": (1, 2), "x": math.nan, "a": np.arange(2), "f": len})
    config = json.loads((tmp_path / "config.json").read_text())
    assert list(config) == ["exp_name", "act", "hid", "x", "a", "f"]
    assert config["act"].startswith("torch.nn.")
    assert config["act"].endswith("ReLU")
    assert (config["hid"], config["x"], config["a"], config["f"]) == ([1, 2], "nan", [0, 1], "builtins.len")


def test_to_json_of_numpy_values_and_classes():
    assert files.to_json([np.longdouble(0.5), np.clongdouble(1j)]) == [0.5, "1j"]
    assert files.to_json(np.ones(2, np.longdouble)) == [1.0, 1.0]
    assert files.to_json([np.float32, torch.Tensor]) == ["numpy.float32", "torch.Tensor"]
    with pytest.raises(TypeError, match="is not data"):
        files.to_json(np.float32, strict=True)


def test_save_state_reports_skipped_entries(tmp_path, capsys):
    logger = make(tmp_path, quiet=False)
    logger.save_state({"n": 1, "net": torch.nn.Linear(1, 1), "t": torch.ones(2)}, 5)
    assert json.loads((tmp_path / "vars5.json").read_text()) == {"n": 1, "t": [1.0, 1.0]}
    assert "net" in capsys.readouterr().out


def test_pytorch_saver_file_names(tmp_path):
    logger = make(tmp_path)
    logger.setup_pytorch_saver({"w": torch.arange(3)})
    for itr in (None, 7, "best"):
        logger.save_state({}, itr)
    assert sorted(os.listdir(tmp_path / "pyt_save")) == ["model.pt", "model7.pt", "model_best.pt"]
    loaded = torch.load(tmp_path / "pyt_save" / "model_best.pt", weights_only=True)
    assert loaded["w"].tolist() == [0, 1, 2]
    contents = {path.read_bytes() for path in (tmp_path / "pyt_save").iterdir()}
    assert len(contents) == 1, "the bytes must not depend on the file name"


def read_events(path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(path))
    events.Reload()
    return {tag: [(e.step, e.value) for e in events.Scalars(tag)] for tag in events.Tags()["scalars"]}


def test_events_across_a_resume(tmp_path):
    def row(logger, steps, value):
        logger.log_tabular("TotalEnvInteracts", steps)
        logger.log_tabular("Loss", value)
        logger.dump_tabular()

    logger = make(tmp_path, tensorboard=True)
    row(logger, 10, 1.0)
    state = logger.state_dict()
    row(logger, 20, 99.0)
    resumed = make(tmp_path, resume=True, tensorboard=True)
    resumed.load_state_dict(state)
    row(resumed, 20, 2.0)
    row(resumed, 30, 3.0)
    assert read_events(tmp_path)["Loss"] == [(10, 1.0), (20, 2.0), (30, 3.0)]


def test_event_steps_are_rows_without_interactions(tmp_path):
    logger = make(tmp_path, tensorboard=True)
    write_row(logger, 0)
    write_row(logger, 1)
    assert [step for step, _ in read_events(tmp_path)["time/Epoch"]] == [1, 2]


def test_tags_are_columns_behind_their_group():
    names = {
        "AverageTestEpRet": "test/", "TestEpLen": "test/", "MaxEpRet": "train/", "EpLen": "train/",
        "LossQ": "critic/", "StdQ2Vals": "critic/", "LossPi": "policy/", "MinLogPi": "policy/",
        "TargetEntropy": "policy/", "Time": "time/", "Mine": "", "AverageMine": "",
        "MaxTime": "time/", "train/x": "",
    }  # fmt: skip
    assert {name: tag_of(name) for name in names} == {name: group + name for name, group in names.items()}


def test_settings_are_tensorboards_hyperparameters(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

    logger = make(tmp_path, tensorboard=True)
    logger.save_config({"lr": 0.5, "n": 3, "resume": True, "act": "relu", "sizes": [8, 8], "none": None})
    write_row(logger, 0)
    write_row(logger, 1)
    events = EventAccumulator(str(tmp_path))
    events.Reload()
    (content,) = events.PluginTagToContent("hparams").values()
    found = HParamsPluginData.FromString(content).session_start_info.hparams
    assert found["lr"].number_value == 0.5
    assert found["n"].number_value == 3
    assert found["resume"].bool_value is True
    assert found["act"].string_value == "relu"
    assert found["sizes"].string_value == "[8, 8]"
    assert "none" not in found
    assert "time/Epoch" in events.Tags()["scalars"]


def test_a_preview_of_the_row_changes_nothing(tmp_path):
    logger = make(tmp_path)
    logger.store(Loss=1.0)
    logger.store(Loss=3.0)
    logger.log_tabular("Epoch", 1)
    assert logger.preview(lambda: logger.log_tabular("Loss", average_only=True)) == {"Loss": 2.0}
    logger.store(Loss=5.0)
    logger.log_tabular("Loss", average_only=True)
    assert logger.dump_tabular() == {"Epoch": 1, "Loss": 3.0}
    assert math.isnan(logger.preview(lambda: logger.log_tabular("Loss", average_only=True))["Loss"])


def test_imports_are_light(tmp_path):
    script = (
        "import sys\n"
        "from spinup.loggers.epoch_logger import EpochLogger\n"
        "early = {'tensorboard', 'rich', 'matplotlib', 'tensorflow'} & set(sys.modules)\n"
        "logger = EpochLogger(sys.argv[1])\n"
        "logger.log_tabular('Loss', 1.0)\n"
        "logger.dump_tabular()\n"
        "logger.close()\n"
        "late = {'rich', 'matplotlib', 'tensorflow'} & set(sys.modules)\n"
        "assert 'tensorboard' in sys.modules\n"
        "print('LOADED', sorted(early), sorted(late))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "run")], capture_output=True, text=True, check=True
    )
    assert "LOADED [] []" in done.stdout
    assert list((tmp_path / "run").glob("events.out.tfevents.*"))
