"""Figures of a search: the results of its trials in order, and the importance of each parameter."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

_MIN_TRIALS = 4  # minimum number of complete trials for meaningful importances


def draw_study(optuna: Any, study: Any, folder: Path) -> list[Path]:
    """Write history.png and importances.png into a folder; returns the files that could be drawn.

    Importances are computed by PED-ANOVA (Watanabe et al. 2023): how much each parameter determines whether a
    trial is among the best.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    states = optuna.trial.TrialState
    trials = study.get_trials(deepcopy=False)
    complete = [trial for trial in trials if trial.state == states.COMPLETE]
    drawn = []
    if complete:
        figure = Figure(figsize=(8, 5), layout="tight")
        FigureCanvasAgg(figure)
        pruned = [t for t in trials if t.state == states.PRUNED and t.intermediate_values]
        _draw_history(figure.add_subplot(), complete, pruned)
        drawn.append(_save(figure, folder / "history.png"))
    if len(complete) >= _MIN_TRIALS and (importances := _importances(optuna, study)):
        figure = Figure(figsize=(8, 1 + 0.5 * len(importances)), layout="tight")
        FigureCanvasAgg(figure)
        axes = figure.add_subplot()
        names = list(importances)[::-1]
        axes.barh(names, [importances[name] for name in names])
        axes.set_xlabel("importance (PED-ANOVA)")
        axes.grid(alpha=0.3, axis="x")
        drawn.append(_save(figure, folder / "importances.png"))
    return [path for path in drawn if path is not None]


def _draw_history(axes: Any, complete: list[Any], pruned: list[Any]) -> None:
    numbers, values = [trial.number for trial in complete], [trial.value for trial in complete]
    axes.plot(numbers, values, "o", label="complete")
    if pruned:
        last = [trial.intermediate_values[max(trial.intermediate_values)] for trial in pruned]
        axes.plot([trial.number for trial in pruned], last, "x", color="gray", label="pruned, last return")
    best = [max(values[: i + 1]) for i in range(len(values))]
    axes.step(numbers, best, where="post", color="tab:red", label="best so far")
    axes.set_xlabel("trial")
    axes.set_ylabel("return")
    axes.grid(alpha=0.3)
    axes.legend(loc="best")


def _importances(optuna: Any, study: Any) -> dict[str, float]:
    """Importances by parameter, largest first; empty if they are not defined, as for equal results."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about few or equal results
            found: dict[str, float] = optuna.importance.get_param_importances(study)
    except (RuntimeError, ValueError):
        return {}
    return found if len(found) > 1 else {}


def _save(figure: Any, path: Path) -> Path | None:
    try:
        figure.savefig(path, dpi=150)
    except OSError as error:
        print(f"could not write {path} ({error})")
        return None
    return path
