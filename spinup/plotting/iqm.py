"""Interquartile means over seeds and tasks, with stratified bootstrap intervals (Agarwal et al. 2021)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from spinup.errors import RunError
from spinup.plotting.curves import Curve, Series, interpolated

Array = NDArray[np.float64]
RESAMPLES = 2000  # 50 of them lie beyond each end of a 95% interval
CONFIDENCE = 0.95
MAX_POINTS = 500  # of a curve; more are not visible in a figure, and each takes RESAMPLES sorts
_CHUNK = 2**22  # numbers that are resampled at once


def interquartile_mean(values: Array) -> Array:
    """The mean over the last axis without the floor(n / 4) smallest and as many largest values, (..., n)."""
    n = values.shape[-1]
    middle: Array = np.sort(values, -1)[..., n // 4 : n - n // 4].mean(-1)
    return middle


def iqm_interval(strata: Sequence[Array], seed: int = 0) -> tuple[Array, Array]:
    """Percentile bootstrap interval of the interquartile mean over all values of all strata.

    Each stratum is resampled with replacement separately, so that it keeps its number of values (Agarwal et
    al. 2021, section 4.1).

    Args:
        strata: the values of the runs of each task, (points, runs of the task).
        seed: seed of the resampling, which is the same for each point.

    Returns:
        The lower and the upper ends, (points,).
    """
    rng = np.random.default_rng(seed)
    draws = [rng.integers(values.shape[1], size=(RESAMPLES, values.shape[1])) for values in strata]
    points, count = len(strata[0]), sum(values.shape[1] for values in strata)
    step = max(_CHUNK // (RESAMPLES * count), 1)
    tail = 50.0 * (1.0 - CONFIDENCE)
    ends = []
    for first in range(0, points, step):
        parts = [v[first : first + step][:, index] for v, index in zip(strata, draws, strict=True)]
        means = interquartile_mean(np.concatenate(parts, -1))  # (points, RESAMPLES)
        ends.append(np.percentile(means, (tail, 100.0 - tail), axis=1))
    low, high = np.concatenate(ends, 1)
    return low, high


def iqm_curve(name: str, tasks: Sequence[Series]) -> Curve:
    """The interquartile mean over all runs of an experiment, its interval, and the lines of the runs.

    A run is linearly interpolated between its first and last x, and excluded outside of this range. The curve
    has points where every task has a run. Each task is weighted by its number of runs.

    Args:
        name: name of the experiment.
        tasks: for each task, (x, y) of its runs; if there are several, y must be on a common scale.

    Raises:
        RunError: if there is no point at which every task has a run.
    """
    runs = [series for task in tasks for series in task]
    owner = np.repeat(np.arange(len(tasks)), [len(task) for task in tasks])
    grid, table = interpolated(runs)
    finite = np.isfinite(table)
    covered = np.all([finite[owner == task].any(0) for task in range(len(tasks))], 0)
    kept = np.flatnonzero(covered)
    if not kept.size:
        raise RunError(
            f"{name}: the runs of its environments have no step in common: train longer, or leave some out "
            "with --exclude"
        )
    if len(kept) > MAX_POINTS:
        kept = kept[np.linspace(0, len(kept) - 1, MAX_POINTS).astype(int)]
    table, finite = table[:, kept], finite[:, kept]
    y, low, high = (np.empty(len(kept)) for _ in range(3))
    # Points at which the same runs count are resampled together.
    patterns, which = np.unique(finite, axis=1, return_inverse=True)
    for i, present in enumerate(patterns.T):
        here = np.flatnonzero(which.reshape(-1) == i)
        values = table[present][:, here].T
        y[here] = interquartile_mean(values)
        strata = [values[:, owner[present] == task] for task in range(len(tasks))]
        low[here], high[here] = iqm_interval(strata)
    interval = (low, high) if len(runs) > len(tasks) else None
    return Curve(name, grid[kept], y, None, interval, tuple(runs))


def normalized(groups: dict[str, dict[str, Series]]) -> dict[str, dict[str, Series]]:
    """Scale y of each task to [0, 1]; `groups` maps experiments to tasks to runs.

    0 and 1 are the smallest and the largest value of the task over all experiments, so that scores are
    comparable only within one figure.
    """
    bounds: dict[str, tuple[float, float]] = {}
    for tasks in groups.values():
        for task, series in tasks.items():
            low, high = bounds.get(task, (np.inf, -np.inf))
            ys = np.concatenate([y for _, y in series])
            bounds[task] = min(low, float(ys.min())), max(high, float(ys.max()))
    return {
        name: {task: [(x, _scaled(y, *bounds[task])) for x, y in series] for task, series in tasks.items()}
        for name, tasks in groups.items()
    }


def _scaled(y: Array, low: float, high: float) -> Array:
    return (y - low) / (high - low) if high > low else np.zeros_like(y)
