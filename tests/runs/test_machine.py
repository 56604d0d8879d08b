"""What config.json records of the machine."""

from __future__ import annotations

import json

import torch

import spinup
from spinup.runs.machine import describe_machine


def test_config_json_records_the_machine(run, tmp_path):
    run(epochs=1)
    (config,) = tmp_path.rglob("config.json")
    machine = json.loads(config.read_text())["machine"]
    assert machine == describe_machine("cpu")
    assert machine["torch"] == torch.__version__
    assert machine["spinup"] == spinup.__version__
    assert machine["processor"]
    assert machine["cores"] >= 1
    assert "gpu" not in machine


def test_the_gpu_is_recorded_if_it_is_used(monkeypatch):
    monkeypatch.setattr("torch.cuda.get_device_name", lambda device: f"name of {device}")
    assert describe_machine("cuda:1")["gpu"] == "name of cuda:1"
