"""What the files of run folders tell, intact and damaged."""

import json
import os

import numpy as np
import pytest
from report_runs import HOSTILE, write_run

from spinup.errors import RunError
from spinup.reports.run_summary import MAX_SETTINGS, find_folders, flatten, read_run, text_of


def test_the_settings_the_table_and_the_plan(tmp_path):
    run = read_run(
        write_run(tmp_path / "hc_s3", [1.0, 3.0, 2.0], seed=3, lr=0.5, ac_kwargs={"hidden_sizes": [8, 8]})
    )
    assert (run.name, run.env, run.seed, run.total, run.problems) == ("hc", "Pendulum-v1", "3", 4000, ())
    assert run.settings["lr"] == "0.5"
    assert run.settings["ac_kwargs.hidden_sizes"] == "[8, 8]"
    assert run.settings["gamma"] == "0.99"  # the default, which the file does not give
    assert not {"seed", "exp_name", "machine.cores", "env.id"} & set(run.settings)
    assert run.machine == {"processor": "Processor 9000", "cores": "2"}
    np.testing.assert_array_equal(run.column("Performance"), [1, 3, 2])
    assert run.last("Performance") == 2
    assert run.column("Nothing").size == 0


def test_a_label_replaces_the_name(tmp_path):
    assert read_run(write_run(tmp_path / "hc_s3"), label="mine").name == "mine"


def test_performance_is_the_training_return_without_tests(tmp_path):
    run = read_run(write_run(tmp_path / "a_s0", [float("nan")] * 2))
    assert np.isnan(run.last("Performance"))
    folder = write_run(tmp_path / "b_s0", [1.0])
    table = (folder / "progress.txt").read_text().replace("AverageTestEpRet", "Other")
    (folder / "progress.txt").write_text(table)
    assert read_run(folder).last("Performance") == 0.0


def test_folders_are_found_once_and_links_are_not_followed(tmp_path):
    inner = write_run(tmp_path / "data/a/a_s0")
    write_run(tmp_path / "data/b/b_s0")
    (inner / "pyt_save").mkdir()
    (inner / "pyt_save" / "config.json").write_text("{}")
    os.symlink(tmp_path / "data", tmp_path / "data" / "a" / "loop")
    data = tmp_path / "data"
    assert [f.name for f, _ in find_folders([data, data / "a"])] == ["a_s0", "b_s0"]
    assert [f.name for f, _ in find_folders([data], select=["b_s"])] == ["b_s0"]
    assert [f.name for f, _ in find_folders([data], exclude=["b_s"])] == ["a_s0"]
    assert [label for _, label in find_folders([data / "a", data / "b"], ["A", "B"])] == ["A", "B"]
    with pytest.raises(RunError, match="does not exist"):
        find_folders([tmp_path / "nothing"])


def test_a_folder_of_another_program_is_no_run(tmp_path):
    (tmp_path / "config.json").write_text('{"model": "x"}')
    assert read_run(tmp_path) is None


@pytest.mark.parametrize(
    ("file", "content", "problem"),
    [
        ("config.json", b"{", "cannot be read as JSON"),
        ("config.json", b"[]", "is not a JSON object"),
        ("config.json", b"\xff\x00", "cannot be read as JSON"),
        ("progress.txt", b"a\t" * 20_000 + b"\n", "has 20001 columns"),
        ("progress.txt", None, "is not a regular file"),
    ],
)
def test_a_damaged_file_is_a_problem_of_its_run(tmp_path, file, content, problem):
    folder = write_run(tmp_path / "a_s0", [1.0])
    (folder / file).unlink()
    if content is None:
        os.mkfifo(folder / file)
    else:
        (folder / file).write_bytes(content)
    run = read_run(folder)
    assert run.status == "damaged"
    assert len(run.problems) == 1
    assert problem in run.problems[0]


@pytest.mark.parametrize("name", ["env", "seed", "epochs", "steps_per_epoch", "machine", "logger_kwargs"])
@pytest.mark.parametrize("value", [None, [], {"id": []}, HOSTILE, True, -1, 1.5, 10**30])
def test_settings_of_a_wrong_type_do_no_harm(tmp_path, name, value):
    folder = write_run(
        tmp_path / "a_s0", [1.0], **({name: value} if name not in ("env", "seed", "epochs") else {})
    )
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, name: value}))
    run = read_run(folder)
    assert run.last("Performance") == 1.0
    assert all(text.isprintable() for text in (run.env, run.seed, *run.settings.values()))


def test_flatten_bounds_what_a_file_can_ask_for():
    assert flatten({"a": {"b": 1, "c": {}}, "d": [1]}) == {"a.b": "1", "a.c": "{}", "d": "[1]"}
    deep = value = {}
    for _ in range(500):
        value["x"] = {}
        value = value["x"]
    assert len(flatten({"deep": deep, **{str(i): i for i in range(5000)}})) == MAX_SETTINGS
    assert len(text_of("x" * 100_000)) < 300
