"""Learning curves: aggregation, selection of runs, and figures."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spinup.errors import ConfigError, RunError
from spinup.plotting import figures
from spinup.plotting.curves import aggregate, column, find_runs, moving_average, read_table
from spinup.plotting.figures import make_plots


def write_run(folder, values, name="hc", col="AverageTestEpRet", step=10):
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps({"exp_name": name}))
    rows = [f"{(i + 1) * step}\t{v}\t{i}" for i, v in enumerate(values)]
    (folder / "progress.txt").write_text("\n".join([f"TotalEnvInteracts\t{col}\tLossQ", *rows, ""]))


@given(st.lists(st.floats(-100, 100), min_size=1, max_size=20), st.integers(1, 25))
def test_moving_average_is_the_mean_of_the_window(y, width):
    got = moving_average(np.array(y), width)
    for i in range(len(y)):
        window = [y[j] for j in range(len(y)) if i - (width - 1) // 2 <= j <= i + width // 2]
        assert got[i] == pytest.approx(np.mean(window))


def test_runs_of_equal_length():
    x = np.array([1.0, 2.0, 3.0])
    series = [(x, x), (x, 3 * x), (x, 5 * x)]
    curve = aggregate("a", series, "mean")
    np.testing.assert_allclose(curve.y, 3 * x)
    np.testing.assert_allclose(curve.spread, np.std([1, 3, 5]) * x)
    for name, factor in (("median", 3), ("max", 5), ("min", 1)):
        np.testing.assert_allclose(aggregate("a", series, name).y, factor * x)


def test_runs_of_different_lengths_and_steps():
    long = (np.array([0.0, 10.0, 20.0]), np.array([0.0, 10.0, 20.0]))
    short = (np.array([5.0, 10.0]), np.array([7.0, 12.0]))
    curve = aggregate("a", [long, short], "mean")
    np.testing.assert_allclose(curve.x, [0, 5, 10, 20])
    np.testing.assert_allclose(curve.y, [0, 6, 11, 20])
    np.testing.assert_allclose(curve.spread, [0, 1, 1, 0])


def test_one_run_has_no_spread():
    assert aggregate("a", [(np.arange(3.0), np.arange(3.0))], "mean").spread is None


def test_read_table_skips_an_incomplete_row(tmp_path):
    path = tmp_path / "progress.txt"
    path.write_text("a\tb\n1\t2.5\n3\tnan\n4\tword\n5\n6\t7")
    table = read_table(path)
    np.testing.assert_array_equal(table["a"], [1, 3, 4])
    np.testing.assert_array_equal(table["b"], [2.5, np.nan, np.nan])


def test_find_runs_selects_and_names(tmp_path):
    write_run(tmp_path / "hc" / "hc_s0", [1])
    write_run(tmp_path / "hc" / "hc_s1", [2])
    write_run(tmp_path / "hop" / "hop_s0", [3], name="hop")
    (tmp_path / "hop" / "hop_s0" / "config.json").unlink()
    assert [run.name for run in find_runs([tmp_path])] == ["hc", "hc", "hop"]
    assert [run.path.name for run in find_runs([tmp_path], select=["hc", "s1"])] == ["hc_s1"]
    assert [run.path.name for run in find_runs([tmp_path], exclude=["s0"])] == ["hc_s1"]
    assert [run.name for run in find_runs([tmp_path / "h"], legend=["A", "B"])] == ["A", "A", "B"]
    with pytest.raises(ConfigError, match="3 names for 1 folders"):
        find_runs([tmp_path], legend=["A", "B", "C"])


def test_a_run_below_two_folders_is_found_once_and_other_names_of_tables_are_found(tmp_path):
    write_run(tmp_path / "a" / "a_s0", [1.0, 2.0])
    folder = tmp_path / "a" / "a_s1"
    write_run(folder, [1.0, 2.0])
    (folder / "progress.txt").rename(folder / "rows.txt")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "logger_kwargs": {"output_fname": "rows.txt"}}))
    assert len(find_runs([tmp_path, tmp_path / "a", tmp_path / "a" / "a_s0"])) == 2


def test_performance(tmp_path):
    write_run(tmp_path / "test", [1.0])
    write_run(tmp_path / "train", [2.0], col="AverageEpRet")
    runs = find_runs([tmp_path])
    assert [column(run, "Performance")[0] for run in runs] == [1.0, 2.0]
    with pytest.raises(ConfigError, match="did you mean 'LossQ'"):
        column(runs[0], "LosQ")


def test_image_files(tmp_path, capsys):
    write_run(tmp_path / "r" / "a_s0", [1, float("nan"), 3])
    write_run(tmp_path / "r" / "a_s1", [2, 3, 4, 5])
    one = make_plots([tmp_path / "r"], save=tmp_path / "one.png", smooth=3, count=True)
    two = make_plots([tmp_path / "r"], values=["Performance", "LossQ"], save=tmp_path / "two.svg")
    assert [path.name for path in one + two] == ["one.png", "two_Performance.svg", "two_LossQ.svg"]
    assert one[0].read_bytes().startswith(b"\x89PNG")
    assert "<svg" in two[1].read_text()


def test_count_distinguishes_runs_of_the_same_name(tmp_path, monkeypatch):
    for parent, seed in (("old", 0), ("new", 0), ("new", 1)):
        write_run(tmp_path / parent / f"hc_s{seed}", [1, 2])
    drawn = []
    monkeypatch.setattr(
        figures,
        "aggregate",
        lambda name, series, est: drawn.append((name, len(series))) or aggregate(name, series, est),
    )
    make_plots([tmp_path], count=True, save=tmp_path / "x.png")
    paths = [f"hc {tmp_path / 'new' / 'hc_s0'}", "hc hc_s1", f"hc {tmp_path / 'old' / 'hc_s0'}"]
    assert drawn == [(name, 1) for name in paths]


def test_offline_runs_are_drawn_over_epochs(tmp_path, monkeypatch):
    folder = tmp_path / "off"
    folder.mkdir()
    (folder / "config.json").write_text('{"exp_name": "off"}')
    rows = ["Epoch\tTotalEnvInteracts\tAverageTestEpRet", "1\t0\t5", "2\t0\t6", ""]
    (folder / "progress.txt").write_text("\n".join(rows))
    drawn = []
    monkeypatch.setattr(figures, "_save", lambda curves, *rest: drawn.append((curves, *rest)))
    make_plots([folder], save=tmp_path / "a.png")
    write_run(tmp_path / "on", [1, 2, 3])
    make_plots([tmp_path / "on"], save=tmp_path / "a.png")
    assert [xaxis for _, _, xaxis, _ in drawn] == ["Epoch", "TotalEnvInteracts"]
    np.testing.assert_array_equal(drawn[0][0][0].x, [1, 2])


def test_a_folder_for_images_is_created(tmp_path, capsys):
    write_run(tmp_path / "a", [1, 2, 3])
    make_plots([tmp_path / "a"], legend=["_x"], save=tmp_path / "new" / "a.png")  # a leading _ hides labels
    assert (tmp_path / "new" / "a.png").exists()
    assert "_x: " in capsys.readouterr().out


def test_errors(tmp_path, monkeypatch):
    write_run(tmp_path / "run", [float("nan")])
    save = tmp_path / "x.png"
    with pytest.raises(RunError, match="no run has a row"):
        make_plots([tmp_path / "run"], save=save)
    with pytest.raises(RunError, match=r"did you mean '.*/run'"):
        make_plots([tmp_path / "rvn"], save=save)
    with pytest.raises(ConfigError, match=r"save=.*gibberish"):
        make_plots([tmp_path / "run"], values=["LossQ"], save=tmp_path / "x.gibberish")
    with pytest.raises(ConfigError, match="estimator=mode"):
        make_plots([tmp_path / "run"], estimator="mode", save=save)
    with pytest.raises(ConfigError, match="smooth=0"):
        make_plots([tmp_path / "run"], smooth=0, save=save)
    (tmp_path / "empty").mkdir()
    with pytest.raises(RunError, match="no run with a row"):
        make_plots([tmp_path / "empty"], save=save)
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("sys.platform", "linux")
    with pytest.raises(RunError, match=r"save='curve\.png'"):
        make_plots([tmp_path / "run"])


def test_labels_follow_the_folders_as_given(tmp_path, capsys):
    for name in ("hc_a", "hc_b", "hop", "ant"):
        write_run(tmp_path / name / f"{name}_s0", [1, 2], name=name)
    hop, hc, ant = tmp_path / "hop", tmp_path / "hc", tmp_path / "ant"

    def labels(logdirs, legend):
        return [(run.name, run.path.parent.name) for run in find_runs(logdirs, legend)]

    assert labels([hop, ant], ["H", "A"]) == [("H", "hop"), ("A", "ant")]
    # one name per given path, for all folders that a prefix matches
    assert labels([hop, hc, ant], ["H", "C", "A"]) == [
        ("H", "hop"), ("C", "hc_a"), ("C", "hc_b"), ("A", "ant"),
    ]  # fmt: skip
    # or one name per matching folder
    assert labels([hop, hc], ["H", "C", "D"]) == [("H", "hop"), ("C", "hc_a"), ("D", "hc_b")]
    with pytest.raises(ConfigError, match="2 names for 3 folders, given by 1 path"):
        labels([tmp_path / "h"], ["X", "Y"])

    make_plots([hop, hc, ant], legend=["H", "C", "A"], save=tmp_path / "x.png")
    assert capsys.readouterr().out.splitlines()[:4] == [
        f"{label}: {tmp_path / name}"
        for label, name in (("H", "hop"), ("C", "hc_a"), ("C", "hc_b"), ("A", "ant"))
    ]
