"""`spinup diagnose`: finds problems of a run in its table and settings, with evidence and remedy."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from spinup.errors import RunError
from spinup.files import enclosing_run, existing_dir
from spinup.loggers.run_folder import NAN_BATCH
from spinup.plotting.curves import performance_column
from spinup.reports.run_summary import RunSummary, read_run

# The last rows, which show the current state of the run, are averaged, since a single row is noisy.
WINDOW = 1 / 3  # share of the rows, at the end, that is judged
LEAST_ROWS = 6  # minimum number of rows for a trend: two in each third
ALPHA_GROWTH = 10.0  # alpha decreases or converges in runs that learn; a tenfold increase is not noise
ALPHA_LEAST = 1.0  # below this, the entropy bonus is smaller than common rewards, and growth is harmless
ALPHA_GAP = 0.1  # of the entropy below its target: nats, and share of |target|; a mean over rows is closer
BIAS = 0.5  # share of the return; above it, value errors exceed the differences between actions
BIAS_FALLS = 0.8  # of the bias of the rows before; with negative rewards, values begin too high and fall
SATURATED = 0.8  # share of actions; some tasks are solved at the bounds, but tanh has no gradient there
UPDATES = 0.5  # per step; SAC's published results use 1
DEAD = 0.5  # share of the hidden units
ENTROPY_GAP = 0.5  # share of |target|, but at least ENTROPY_GAP_LEAST
ENTROPY_GAP_LEAST = 1.0  # nats; a batch's mean entropy varies by some tenths
LOSS_GROWTH = 100.0  # of LossQ over its median; it grows with the square of returns, which grow tenfold
NOISE = 1.0  # improvement from first to last third, in standard errors of the difference
RANGE = 0.9  # share of value_bound; the probability of a value near the bound is put on the bound

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Finding:
    """A problem of a run.

    Attributes:
        name: the problem, in one line.
        evidence: columns, epochs and values that show it, in one line.
        remedy: what to change, in one line.
        consequences: other findings that are probably caused by this one; their remedies are not shown.
    """

    name: str
    evidence: str
    remedy: str
    consequences: tuple[Finding, ...] = ()


def diagnose(folder: str | Path) -> str:
    """The problems found in a run, as text.

    Raises:
        RunError: if the folder does not exist, or holds no run with a row.
    """
    path = existing_dir(folder)
    run = read_run(path)
    if run is None:
        inside = [child for child in sorted(path.iterdir()) if child.is_dir() and read_run(child)]
        meant = inside[0] if inside else enclosing_run(path)
        hint = f"did you mean {meant}?" if meant else "give the folder with its progress.txt"
        raise RunError(f"{folder} holds no run: {hint}")
    if not run.columns:
        why = run.problems[0] if run.problems else "wait for the end of its first epoch"
        raise RunError(f"{folder} has no row yet: {why}")
    rows, steps = len(next(iter(run.columns.values()))), run.last("TotalEnvInteracts")
    where = f" on {run.env}" if run.env else ""
    lines = [f"{path.resolve().name}{where}: {rows} epochs, {steps:,.0f} steps, {run.status}"]
    lines += [f"  {problem}" for problem in run.problems]
    found = findings(run)
    for i, finding in enumerate(found, 1):
        lines += ["", f"{i}. {finding.name}", f"   evidence: {finding.evidence}"]
        lines += [f"   remedy:   {finding.remedy}"]
        lines += [f"   probably follows from it: {c.name} ({c.evidence})" for c in finding.consequences]
    if not found:
        lines += ["", "Nothing looks wrong."]
    if unknown := unjudged(run):
        lines += ["", f"not judged, since the log has no values of: {', '.join(unknown)}"]
    return "\n".join(lines)


def unjudged(run: RunSummary) -> list[str]:
    """The columns of diagnostics that are needed for a check and have no values in this run."""
    needed: tuple[str, ...] = ("TestQBias", "SaturatedActions", "DeadUnitsPi", "UpdatesPerStep")
    if "GradNormPi" in run.columns:  # the run has diagnostics; missing ones are not defined for it
        needed = tuple(name for name in needed if name in run.columns)
    return [name for name in needed if not np.isfinite(run.column(name)).any()]


def findings(run: RunSummary) -> list[Finding]:
    """The problems found, causes first; each probable consequence is listed with its first cause."""
    found = {check: finding for check in _CONSEQUENCES if (finding := check(run)) is not None}
    explained: dict[Check, list[Finding]] = {check: [] for check in found}
    for check, finding in list(found.items()):
        cause = next((c for c in found if check in _CONSEQUENCES[c]), None)
        if cause is not None:
            explained[cause].append(finding)
            del found[check]
    return [replace(f, consequences=tuple(explained[check])) for check, f in found.items()]


def _no_updates(run: RunSummary) -> Finding | None:
    loss = run.column("LossQ")
    if not loss.size or np.isfinite(loss).any():
        return None
    evidence = f"LossQ has no value in {_epochs(run, np.arange(loss.size))}"
    steps = f"the first is due after update_after={run.settings.get('update_after', '?')} steps"
    return Finding("No gradient step was made", evidence, f"{steps}: run longer, or lower --update_after")


def _critics_diverge(run: RunSummary) -> Finding | None:
    loss = run.column("LossQ")
    remedy = "lower --lr, or scale the rewards: --reward_scale 0.1 or --normalize_rewards True"
    started = np.flatnonzero(np.isfinite(loss))
    if (run.path / NAN_BATCH).exists():
        last = f"; the last LossQ is {loss[started[-1]]:.3g}" if started.size else ""
        return Finding(
            "The critics diverge",
            f"{NAN_BATCH} exists: a loss or parameter became NaN or infinite{last}",
            remedy,
        )
    if started.size < LEAST_ROWS:
        return None
    now, usual = _late(loss), float(np.median(loss[started[: 2 * started.size // 3]]))
    if not now > LOSS_GROWTH * usual:
        return None
    evidence = f"LossQ is {now:.3g} in {_window(run, loss)}, after a median of {usual:.3g} before"
    q = _late(np.abs(run.column("AverageQ1Vals")))
    return Finding("The critics diverge", f"{evidence}; |AverageQ1Vals| is {q:.3g}", remedy)


def _alpha_rises(run: RunSummary) -> Finding | None:
    alpha = run.column("Alpha")
    finite = np.flatnonzero(np.isfinite(alpha))
    if finite.size < 2 or not np.isfinite(run.column("TargetEntropy")).any():
        return None
    low, last = float(alpha[finite].min()), float(alpha[finite[-1]])
    if last < ALPHA_LEAST or last < ALPHA_GROWTH * low:
        return None
    entropy, wanted = _late(run.column("Entropy")), _late(run.column("TargetEntropy"))
    if not entropy < wanted - ALPHA_GAP * max(1.0, abs(wanted)):
        return None
    at = finite[int(alpha[finite].argmin())]
    evidence = f"Alpha rises from {low:.3g} in epoch {at + 1} to {last:.3g} in epoch {finite[-1] + 1}"
    target = run.last("TargetEntropy")
    evidence += f"; Entropy is {run.last('Entropy'):.3g} and its target {target:.3g}"
    return Finding(
        "Alpha keeps rising: the target entropy is out of reach",
        evidence,
        f"lower --target_entropy ({target:.3g} now), or fix alpha: --alpha 0.2",
    )


def _q_overestimates(run: RunSummary) -> Finding | None:
    bias, q = run.column("TestQBias"), run.column("TestQVals")
    if not (np.isfinite(bias).any() and np.isfinite(q).any()):
        return None
    by, value = _late(bias), _late(q)
    spread = _late(run.column("StdQ1Vals"))
    scale = max(abs(value - by), spread if math.isfinite(spread) else 0.0)
    if not by > BIAS * scale:
        return None
    known = bias[np.isfinite(bias)]
    third = known.size // 3
    if known.size < LEAST_ROWS or by < BIAS_FALLS * known[-2 * third : -third].mean():
        return None
    return Finding(
        "The critics overestimate",
        f"TestQBias is {by:.3g} in {_window(run, bias)}: TestQVals is {value:.3g}, the discounted returns "
        f"with entropy bonus {value - by:.3g}",
        f"{_smaller_targets(run)}, normalize the critics (--ac_kwargs:critic_norm layer), or lower --lr or "
        "--updates_per_step",
    )


def _smaller_targets(run: RunSummary) -> str:
    """How to make targets smaller."""
    if run.settings.get("critic") == "quantile":
        return f"drop more quantiles (--drop_quantiles {_count(run, 'drop_quantiles', 2) + 1})"
    more = _count(run, "target_critics", 2) + 1
    critics = max(_count(run, "critics", 2), more)
    return f"take the minimum of more critics (--critics {critics} --target_critics {more})"


def _count(run: RunSummary, name: str, default: int) -> int:
    text = run.settings.get(name, "")
    return int(text) if text.isdigit() else default


def _out_of_range(run: RunSummary) -> Finding | None:
    if run.settings.get("critic") != "categorical":
        return None
    try:
        bound = float(run.settings.get("value_bound", "nan"))
    except ValueError:
        return None
    value = _late(run.column("TestQVals"))
    known = value - _late(run.column("TestQBias"))
    if not max(abs(value), abs(known)) > RANGE * bound:
        return None
    return Finding(
        "Returns are out of the range of the critics",
        f"TestQVals is {value:.3g} in {_window(run, run.column('TestQVals'))}, the discounted returns with "
        f"entropy bonus {known:.3g}, and value_bound={bound:g}",
        "give --normalize_rewards True, a smaller --reward_scale, or a larger --value_bound",
    )


def _too_few_updates(run: RunSummary) -> Finding | None:
    made, source = run.last("UpdatesPerStep"), "UpdatesPerStep"
    if not math.isfinite(made):
        source = "config.json: updates_per_step"
        try:
            made = float(run.settings.get("updates_per_step", "nan"))
        except ValueError:
            return None
    if not made < UPDATES:
        return None
    return Finding(
        "Too few updates per step",
        f"{source} is {made:.3g}; published results use 1",
        "--updates_per_step 1, unless steps are much cheaper than updates",
    )


def _saturated(run: RunSummary) -> Finding | None:
    share = run.column("SaturatedActions")
    if not _late(share) > SATURATED:
        return None
    gradient = f"; GradNormPi is {_late(run.column('GradNormPi')):.3g}" if "GradNormPi" in run.columns else ""
    return Finding(
        "The policy is saturated: nearly all actions are at a bound",
        f"SaturatedActions is {_late(share):.0%} in {_window(run, share)}{gradient}",
        "if observations are large numbers, --normalize_observations True; else keep the entropy up "
        "(--alpha auto), lower --lr, or scale the rewards: --reward_scale 0.1",
    )


def _dead_units(run: RunSummary) -> Finding | None:
    names = [n for n in run.columns if n.startswith("DeadUnits") and _late(run.columns[n]) > DEAD]
    if not names:
        return None
    shares = ", ".join(f"{n} is {_late(run.columns[n]):.0%}" for n in names)
    return Finding(
        "Units are dead",
        f"{shares} in {_window(run, run.columns[names[0]])}",
        "lower --lr, normalize inputs (--normalize_observations True), or use LayerNorm "
        "(--ac_kwargs:critic_norm layer --ac_kwargs:actor_norm layer)",
    )


def _entropy_off(run: RunSummary) -> Finding | None:
    entropy, target = run.column("Entropy"), run.column("TargetEntropy")
    if not (np.isfinite(entropy).any() and np.isfinite(target).any()):
        return None
    now, wanted = _late(entropy), _late(target)
    if abs(now - wanted) <= max(ENTROPY_GAP * abs(wanted), ENTROPY_GAP_LEAST):
        return None
    alpha = run.column("Alpha")[np.isfinite(run.column("Alpha"))]
    by = f"; Alpha went from {alpha[0]:.3g} to {alpha[-1]:.3g}" if alpha.size else ""
    if now > wanted:
        side, remedy = "above", "train longer, or start with a smaller alpha: --alpha auto_0.1"
    elif alpha.size and alpha[-1] > alpha[0]:  # alpha grows already, so a larger alpha is no remedy
        side, remedy = (
            "below",
            f"train longer; if alpha goes on rising, lower --target_entropy ({wanted:.3g})",
        )
    else:
        side, remedy = "below", "start with a larger alpha, such as --alpha auto_1, or raise --lr"
    return Finding(
        f"The entropy is {side} its target",
        f"Entropy is {now:.3g} and TargetEntropy {wanted:.3g} in {_window(run, entropy)}{by}",
        remedy,
    )


def _no_improvement(run: RunSummary) -> Finding | None:
    returns = run.column("Performance")
    finite = np.flatnonzero(np.isfinite(returns))
    if finite.size < LEAST_ROWS:
        return None
    third = finite.size // 3
    first, last = returns[finite[:third]], returns[finite[-third:]]
    error = math.sqrt((first.var(ddof=1) + last.var(ddof=1)) / third)
    if last.mean() > first.mean() + NOISE * error:
        return None
    column = performance_column(run.columns)
    return Finding(
        "The return does not improve",
        f"{column} is {first.mean():.4g} in {_epochs(run, finite[:third])} and {last.mean():.4g} in "
        f"{_epochs(run, finite[-third:])}",
        "train longer, tune (spinup tune), or try --recipe laptop; a task that was solved in the first "
        "epochs needs nothing",
    )


Check = Callable[[RunSummary], Finding | None]
# The checks in the order in which findings are shown, each with those that its finding probably causes.
_CONSEQUENCES: dict[Check, tuple[Check, ...]] = {
    _no_updates: (
        _too_few_updates, _alpha_rises, _critics_diverge, _out_of_range, _q_overestimates, _saturated,
        _dead_units, _entropy_off, _no_improvement,
    ),
    _too_few_updates: (_q_overestimates, _entropy_off, _no_improvement),
    _alpha_rises: (
        _critics_diverge, _q_overestimates, _saturated, _dead_units, _entropy_off, _no_improvement,
    ),
    _critics_diverge: (_q_overestimates, _saturated, _dead_units, _entropy_off, _no_improvement),
    _out_of_range: (_q_overestimates, _entropy_off, _no_improvement),
    _saturated: (_q_overestimates, _dead_units, _entropy_off, _no_improvement),
    _q_overestimates: (_no_improvement,),
    _dead_units: (_no_improvement,),
    _entropy_off: (_no_improvement,),
    _no_improvement: (),
}  # fmt: skip


def _late(values: Array) -> float:
    """The mean of the finite values in the last third of the rows that have any; nan if there are none."""
    finite = values[np.isfinite(values)]
    return float(finite[-max(int(len(finite) * WINDOW), 1) :].mean()) if finite.size else math.nan


def _window(run: RunSummary, values: Array) -> str:
    """The epochs that `_late` averages."""
    finite = np.flatnonzero(np.isfinite(values))
    return _epochs(run, finite[-max(int(len(finite) * WINDOW), 1) :])


def _epochs(run: RunSummary, rows: Sequence[int] | NDArray[np.int64]) -> str:
    numbers = run.column("Epoch")
    first, last = (numbers[r] if numbers.size else r + 1 for r in (rows[0], rows[-1]))
    return f"epoch {last:g}" if len(rows) == 1 else f"epochs {first:g} to {last:g}"
