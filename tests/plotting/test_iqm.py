"""Interquartile means, their bootstrap intervals, and the CSV file of runs."""

import csv
import itertools
import json

import numpy as np
import pytest

from spinup.cli.main import main
from spinup.errors import ConfigError, RunError
from spinup.plotting import figures, iqm
from spinup.plotting.figures import make_plots
from spinup.plotting.iqm import interquartile_mean, iqm_curve, iqm_interval, normalized
from spinup.reports.run_summary import find_folders


def write_run(folder, values, env="Hopper-v5", name="exp", column="AverageTestEpRet", **config):
    folder.mkdir(parents=True)
    settings = {"exp_name": name, "env": {"id": env, "kwargs": {}}, **config}
    (folder / "config.json").write_text(json.dumps(settings))
    rows = [f"{10 * (i + 1)}\t{v}\t{i}" for i, v in enumerate(values)]
    (folder / "progress.txt").write_text("\n".join([f"TotalEnvInteracts\t{column}\tLossQ", *rows, ""]))


def constant(*values):
    """Runs with that y at x = 0 and 10."""
    return [(np.array([0.0, 10.0]), np.array([v, v], float)) for v in values]


def test_the_middle_half_by_hand():
    # floor(n / 4) values are left out at either end.
    for values, wanted in (
        ([3.0], 3.0),
        ([9.0, 1.0, 2.0], 4.0),
        ([100.0, 1.0, 3.0, -50.0], 2.0),
        ([5.0, 1.0, 4.0, 100.0, 3.0], 4.0),
        ([8, 7, 6, 5, 4, 3, 2, 1000], (4 + 5 + 6 + 7) / 4),
    ):
        assert interquartile_mean(np.array(values, float)) == pytest.approx(wanted)
    rows = np.array([[100.0, 1.0, 3.0, -50.0], [0.0, 1.0, 2.0, 3.0]])
    np.testing.assert_allclose(interquartile_mean(rows), [2.0, 1.5])


def test_the_interval_is_that_of_all_resamples():
    # 3 values have 27 equally likely resamples, whose means give the exact percentiles of the bootstrap.
    values = np.array([0.0, 1.0, 5.0])
    means = sorted(np.mean(draw) for draw in itertools.product(values, repeat=3))
    low, high = iqm_interval([values[None]])
    # The smallest mean 0 and the largest 5 have probability 1/27 = 3.7% each, more than 2.5%.
    assert (low[0], high[0]) == (means[0], means[-1]) == (0.0, 5.0)
    two = np.array([0.0, 1.0, 2.0, 3.0])
    exact = np.percentile(
        [interquartile_mean(np.array(draw)) for draw in itertools.product(two, repeat=4)], (2.5, 97.5)
    )
    np.testing.assert_allclose(np.concatenate(iqm_interval([two[None]])), exact, atol=0.1)


def test_strata_are_resampled_within_themselves():
    # Each task's runs agree, so no resample differs; a bootstrap across tasks would give an interval.
    low, high = iqm_interval([np.full((1, 3), 0.0), np.full((1, 3), 1.0)])
    assert low == high == pytest.approx(0.5)
    across = iqm_interval([np.array([[0.0, 0, 0, 1, 1, 1]])])
    assert across[0] < 0.2 < 0.8 < across[1]


def test_chunks_of_points_give_the_same_interval(monkeypatch):
    values = np.random.default_rng(1).normal(size=(7, 5))
    whole = iqm_interval([values[:, :2], values[:, 2:]])
    monkeypatch.setattr(iqm, "_CHUNK", 1)
    np.testing.assert_array_equal(whole, iqm_interval([values[:, :2], values[:, 2:]]))


def test_curve_over_seeds():
    curve = iqm_curve("a", [constant(5, 1, 4, 100, 3)])
    np.testing.assert_allclose(curve.y, [4.0, 4.0])
    assert curve.spread is None
    low, high = curve.interval
    assert (low <= 4.0).all()
    assert (high >= 4.0).all()
    assert len(curve.runs) == 5
    assert iqm_curve("a", [constant(2)]).interval is None


def test_runs_count_within_their_own_steps():
    short = (np.array([0.0, 5.0]), np.array([0.0, 0.0]))
    curve = iqm_curve("a", [[short, *constant(3, 6)]])
    np.testing.assert_allclose(curve.x, [0, 5, 10])
    np.testing.assert_allclose(curve.y, [3.0, 3.0, 4.5])


def test_points_need_a_run_of_every_task():
    late = [(np.array([5.0, 20.0]), np.array([1.0, 1.0]))]
    curve = iqm_curve("a", [constant(3), late])
    np.testing.assert_allclose(curve.x, [5, 10])
    np.testing.assert_allclose(curve.y, [2.0, 2.0])
    with pytest.raises(RunError, match="no step in common"):
        iqm_curve("a", [constant(3), [(np.array([11.0]), np.array([1.0]))]])


def test_long_curves_have_fewer_points():
    x = np.arange(2001.0)
    curve = iqm_curve("a", [[(x, x), (x, x)]])
    assert len(curve.x) == iqm.MAX_POINTS
    assert (curve.x[0], curve.x[-1]) == (0, 2000)
    np.testing.assert_array_equal(curve.x, curve.y)


def test_scores_are_scaled_by_task_over_all_experiments():
    groups = {"a": {"E": constant(0, 5), "F": constant(7)}, "b": {"E": constant(20)}}
    scaled = normalized(groups)
    assert [y[0] for _, y in scaled["a"]["E"]] == [0.0, 0.25]
    assert scaled["b"]["E"][0][1][0] == 1.0
    assert scaled["a"]["F"][0][1].tolist() == [0.0, 0.0]


def test_figure_and_csv_of_the_command(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for seed in range(4):
        write_run(tmp_path / "r" / f"x_s{seed}", [1, 2 + seed], name="a $x$", seed=seed)
        write_run(tmp_path / "r" / f"y_s{seed}", [100], env="Ant-v5", name="a $x$", seed=seed)
    assert main(["plot", "r", "--iqm", "--save", "iqm.png", "--csv", "out/r.csv"]) == 0
    assert capsys.readouterr().out.splitlines() == ["saved out/r.csv", "saved iqm.png"]
    assert (tmp_path / "iqm.png").read_bytes().startswith(b"\x89PNG")
    with open(tmp_path / "out" / "r.csv", newline="") as file:
        rows = list(csv.reader(file))
    assert rows[0] == ["exp_name", "env_name", "seed", "metric", "env_step", "value"]
    assert len(rows) == 1 + 4 * 2 + 4
    assert rows[1] == ["a $x$", "Hopper-v5", "0", "AverageTestEpRet", "10", "1.0"]
    assert ["a $x$", "Ant-v5", "3", "AverageTestEpRet", "10", "100.0"] in rows


def test_csv_alone_needs_no_display(tmp_path, monkeypatch):
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    write_run(tmp_path / "r" / "a_s7", [1, float("nan")], column="AverageEpRet", env=None)
    paths = make_plots(
        [tmp_path / "r"], values=["Performance", "LossQ"], csv_file=tmp_path / "a.csv", legend=["A"]
    )
    assert paths == [tmp_path / "a.csv"]
    assert paths[0].read_text().splitlines()[1:] == [
        "A,,7,AverageEpRet,10,1.0", "A,,7,LossQ,10,0.0", "A,,7,LossQ,20,1.0",
    ]  # fmt: skip


def test_errors(tmp_path, capsys):
    write_run(tmp_path / "r" / "a_s0", [1, 2])
    run = str(tmp_path / "r")
    with pytest.raises(ConfigError, match="interquartile mean is over several"):
        make_plots([run], count=True, estimator="iqm", save=tmp_path / "x.png")
    with pytest.raises(ConfigError, match=r"csv_file=.*Not a directory|csv_file=.*File exists"):
        make_plots([run], csv_file=tmp_path / "r" / "a_s0" / "config.json" / "x.csv")
    assert main(["plot", run, "--iqm", "--est", "median"]) == 2
    assert main(["plot", run, "--csv", str(tmp_path)]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 2
    assert "--iqm and --est median cannot be combined" in lines[0]
    assert "--csv" in lines[1]


def drawn_curves(monkeypatch, paths, **kwargs):
    """The curves of the figure that these arguments of make_plots give."""
    found = []

    def draw(axes, curves, *_):
        found.extend(curves)
        axes.plot([0], [0])

    monkeypatch.setattr(figures, "_draw", draw)
    make_plots(paths, save="x.png", **kwargs)
    return found


def test_a_csv_file_is_drawn_like_the_runs_that_it_has(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for seed in range(3):
        write_run(tmp_path / "r" / f"a_s{seed}", [1.0 + seed, 2.0, 5.0], seed=seed)
    write_run(tmp_path / "r" / "b_s0", [4.0, 4.0], name="$b$", env="Ant-v5", seed=0)
    make_plots(["r"], values=["Performance", "LossQ"], csv_file="r.csv")
    for of_runs, of_csv in (
        ({}, {}),
        ({"estimator": "iqm"}, {"estimator": "iqm"}),
        (
            {"values": ["LossQ"], "count": True, "select": ["a_s1"]},
            {"values": ["LossQ"], "select": ["exp Hopper-v5 1"]},
        ),
        ({"exclude": ["b_s"]}, {"exclude": ["Ant"]}),
    ):
        wanted, got = (
            drawn_curves(monkeypatch, ["r"], **of_runs),
            drawn_curves(monkeypatch, ["r.csv"], **of_csv),
        )
        assert [curve.name.split()[0] for curve in got] == [curve.name.split()[0] for curve in wanted]
        for mine, theirs in zip(got, wanted, strict=True):
            np.testing.assert_array_equal(mine.x, theirs.x)
            np.testing.assert_allclose(mine.y, theirs.y)
    assert [curve.name for curve in drawn_curves(monkeypatch, ["r.csv"], legend=["all"])] == ["all"]
    # Any metric can be the x axis, such as minutes beside returns.
    (curve,) = drawn_curves(monkeypatch, ["r.csv"], xaxis="LossQ", exclude=["Ant"])
    assert curve.x.tolist() == [0.0, 1.0, 2.0]


def test_a_csv_file_of_another_form_is_refused(tmp_path):
    header = "exp_name,env_name,seed,metric,env_step,value"
    for text, line in (
        ("a,b\n1,2\n", rf"x.csv does not begin with the line {header}$"),
        ("", r"does not begin with the line"),
        (f"{header}\na,b,0,R,10,1.5\na,b\n", r"x.csv, line 3: 2 values, not 6$"),
        (f"{header}\n" + '"' + "a" * 200_000, r"x.csv, line 2: field larger"),
        (f"{header}\n", r"no run with a row"),
        (f"{header}\na,b,0,AverageTestEpRet,x,1\n", r"no run with a row"),
        (f"{header}\na,b,0,AverageTestEpRet,10,nan\n", r"no run has a row with both"),
    ):
        (tmp_path / "x.csv").write_text(text)
        with pytest.raises(RunError, match=line):
            make_plots([tmp_path / "x.csv"], save=tmp_path / "x.png")
    with pytest.raises(RunError, match="is not a folder"):  # of `spinup report`, which needs folders
        find_folders([tmp_path / "x.csv"])
