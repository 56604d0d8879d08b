"""The examples for clusters (extra `ray`): the file for `ray up`, and the script for Slurm."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import jsonschema
import pytest
import ray
import yaml

from spinup.cli.flags import parse_flags
from spinup.pytorch.sac import sac_pytorch

FOLDER = Path(__file__).parents[2] / "examples" / "cluster"


def test_the_cluster_file_is_one_of_ray() -> None:
    config = yaml.safe_load((FOLDER / "cluster.yaml").read_text())
    schema = Path(ray.__file__).parent / "autoscaler" / "ray-schema.json"
    jsonschema.validate(config, json.loads(schema.read_text()))


@pytest.mark.parametrize("name", ["cluster.yaml", "slurm.sh"])
def test_commands_have_valid_flags_and_the_warning_is_there(name: str) -> None:
    text = (FOLDER / name).read_text()
    assert "Ray has no authentication by default" in text
    (command,) = re.findall(r"spinup sac ((?:.*\\\n)*.*)", text)
    words = command.replace("\\\n", " ").rstrip(" &\n").split()
    flags = parse_flags(words, sac_pytorch)
    assert flags.env
    assert {"data_dir", "ray"} <= set(flags.output)


def test_the_script_is_valid() -> None:
    subprocess.run(["bash", "-n", str(FOLDER / "slurm.sh")], check=True)
