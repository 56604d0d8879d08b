"""Short runs with the real trackers, which write to the disk.

Needs the extras `wandb`, `trackio`, `mlflow` and `video`.
"""

import json
import os
import struct
import subprocess
import sys

import pytest
from helpers import read_rows

SCRIPT = """
import sys
from pathlib import Path
from helpers import train
log = {"output_dir": "run", "exp_name": "tracked", "quiet": True, "trackers": [sys.argv[1]]}
for resume in (False, True):
    train(Path("run"), "Pendulum-v1", epochs=1 + resume, resume=resume, logger_kwargs=log, video_every=2)
"""


def track(name, folder, **environment):
    """Run a training of two parts with a tracker; returns its rows."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path)), **environment}
    command = [sys.executable, "-W", "error::DeprecationWarning:spinup", "-c", SCRIPT, name]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert "failed" not in done.stdout + done.stderr
    assert (folder / "run" / "videos" / "epoch2.mp4").exists()
    return read_rows(folder / "run")


def log_records(data):
    """The records in a file of LevelDB's log format, blocks of 32 KiB with parts of records."""
    at, record = 7, b""
    while at + 7 <= len(data):
        room = 32768 - at % 32768
        if room < 7:
            at += room
            continue
        length, kind = struct.unpack("<HB", data[at + 4 : at + 7])
        record += data[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (1, 4):  # a whole record, or the last part of one
            yield record
            record = b""


@pytest.mark.slow
def test_wandb_offline(tmp_path):
    from wandb.proto.wandb_internal_pb2 import Record

    rows = track("wandb", tmp_path, WANDB_MODE="offline", WANDB_SILENT="true")
    history, ids = [], set()
    for file in sorted((tmp_path / "run" / "wandb").glob("offline-run-*/run-*.wandb")):
        for record in map(Record.FromString, log_records(file.read_bytes())):
            if record.HasField("run"):
                ids.add((record.run.run_id, record.run.project, record.run.display_name))
            if record.HasField("history"):
                items = {"/".join(i.nested_key) or i.key: i.value_json for i in record.history.item}
                history.append(items)
    assert len(ids) == 1
    assert next(iter(ids))[1:] == ("tracked", "run")
    returns = [item["AverageTestEpRet"] for item in history if "AverageTestEpRet" in item]
    assert [float(r) for r in returns] == [float(row["AverageTestEpRet"]) for row in rows]
    assert any("video" in name for item in history for name in item)


@pytest.mark.slow
def test_trackio(tmp_path):
    rows = track("trackio", tmp_path, TRACKIO_DIR=str(tmp_path / "records"), HF_HUB_OFFLINE="1")
    name = json.loads((tmp_path / "run" / "trackers.json").read_text())["trackio"]
    code = f"""import json
from trackio.sqlite_storage import SQLiteStorage
print(json.dumps([log.get("AverageTestEpRet") for log in SQLiteStorage.get_logs("tracked", {name!r})]))"""
    found = read_back(code, tmp_path, TRACKIO_DIR=str(tmp_path / "records"))
    found = [value for value in found if value is not None]
    assert found == [float(row["AverageTestEpRet"]) for row in rows]
    assert list((tmp_path / "records" / "media").rglob("*.mp4"))


@pytest.mark.slow
def test_mlflow(tmp_path):
    environment = {"MLFLOW_TRACKING_URI": f"sqlite:///{tmp_path}/mlflow.db"}
    rows = track("mlflow", tmp_path, **environment)
    code = """import json
from mlflow import MlflowClient
client = MlflowClient()
(run,) = client.search_runs([client.get_experiment_by_name("tracked").experiment_id])
history = client.get_metric_history(run.info.run_id, "AverageTestEpRet")
files = [file.path for file in client.list_artifacts(run.info.run_id, "videos")]
steps, values = [m.step for m in history], [m.value for m in history]
print(json.dumps([steps, values, run.data.params["lr"], run.info.status, files]))"""
    returns = [float(row["AverageTestEpRet"]) for row in rows]
    wanted = [[100, 200], returns, "0.001", "FINISHED", ["videos/epoch2.mp4"]]
    assert read_back(code, tmp_path, **environment) == wanted


def read_back(code, folder, **environment):
    """The value that a program prints as JSON in its last line."""
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=folder, env={**os.environ, **environment}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    return json.loads(done.stdout.splitlines()[-1])
