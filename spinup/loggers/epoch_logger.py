"""EpochLogger: writes one row per epoch to progress.txt, TensorBoard and the console, and saves models."""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from spinup.checks import check_switch
from spinup.errors import ConfigError
from spinup.files import AppendedFile, atomic_write, jsonable_entries, write_json
from spinup.loggers.display import make_display
from spinup.loggers.progress import ProgressInfo
from spinup.loggers.run_folder import prepare_folder, relative
from spinup.loggers.statistics import RunningStats
from spinup.loggers.tensorboard_events import EventFile
from spinup.loggers.tf_restore import restore_tf_graph
from spinup.loggers.tf_saver import TFSaver
from spinup.loggers.trackers import Trackers, check_trackers

__all__ = ["EpochLogger", "restore_tf_graph"]


class EpochLogger:
    """Collects values over an epoch and writes one row per epoch.

    `store` adds values, `log_tabular` sets the columns of a row, and `dump_tabular` writes the row. The first
    row determines the columns. The class can be used without the rest of this package.

    Args:
        output_dir: the folder of the run, created if necessary; None creates a new one under data/.
        output_fname: the file name of the table.
        exp_name: the experiment's name, written to config.json; plots group seeds by it.
        overwrite: remove the files of a run that is in the folder, and no other files.
        resume: append to the run in the folder.
        tensorboard: also write TensorBoard events, if TensorBoard is installed.
        trackers: names of trackers that also receive the rows: "wandb", "trackio", "mlflow"; "tensorboard"
            has the same effect as the argument of that name.
        quiet: print nothing.

    Raises:
        RunError: if the folder holds a run and neither `overwrite` nor `resume` is set, or cannot be created.
        ConfigError: if both `overwrite` and `resume` are set, or for an unknown tracker.
        MissingExtraError: if the package of a tracker is not installed.
    """

    def __init__(
        self,
        output_dir: str | Path | None = None,
        output_fname: str = "progress.txt",
        exp_name: str | None = None,
        *,
        overwrite: bool = False,
        resume: bool = False,
        tensorboard: bool = True,
        trackers: Sequence[str] = (),
        quiet: bool = False,
    ) -> None:
        names = check_trackers(trackers)
        for name, value in (
            ("overwrite", overwrite), ("resume", resume), ("tensorboard", tensorboard), ("quiet", quiet),
        ):  # fmt: skip
            check_switch(name, value)
        self.output_dir = str(prepare_folder(output_dir, output_fname, overwrite, resume))
        self.exp_name = exp_name
        self._folder = Path(self.output_dir)
        self._display = make_display(quiet)
        self._file = AppendedFile(self._folder / output_fname)
        self._events: EventFile | None = None
        self._tensorboard, self._resumed = tensorboard or "tensorboard" in names, resume
        others = [name for name in names if name != "tensorboard"]
        self._trackers = Trackers(others, self._folder, exp_name, lambda line: self.log(line, color="red"))
        self._config: dict[str, Any] = {}
        self._header: list[str] = []
        self._rows = 0
        self._row: dict[str, Any] = {}
        self._stats: dict[str, RunningStats] = {}
        self._torch_model: Any = None
        self._tf_saver: TFSaver | None = None
        self._warned: set[str] = set()
        if resume:
            self._read_rows()
        self.log(f"Logging to {relative(self._file.path)}", color="green")

    def log(self, msg: str, color: str = "green") -> None:
        """Print a message."""
        self._display.line(msg, color)

    def progress(self, n: int, total: int, details: ProgressInfo | None = None) -> None:
        """Show that `n` of `total` steps are done; fast enough to be called at every step."""
        self._display.progress(n, total, details)

    def store(self, **values: Any) -> None:
        """Add numbers, arrays or tensors of any shape to the epoch's statistics under their keywords."""
        for key, value in values.items():
            if isinstance(value, torch.Tensor):
                value = value.detach().cpu().double().numpy()
            self._stats.setdefault(key, RunningStats()).add(value)

    def get_stats(self, key: str) -> list[float]:
        """[mean, std, min, max] of the values stored under `key` in this epoch; all nan if there are none."""
        return self._stats.get(key, RunningStats()).summary()

    def log_tabular(
        self, key: str, val: Any = None, with_min_and_max: bool = False, average_only: bool = False
    ) -> None:
        """Set columns of the row.

        Args:
            key: the column, or the name of stored values.
            val: the column's value; None takes the statistics of the stored values and resets them.
            with_min_and_max: also set the columns `Max<key>` and `Min<key>`.
            average_only: set one column `<key>` to the mean, instead of `Average<key>` and `Std<key>`.

        Raises:
            ConfigError: for a column that is already set, or that is not in the first row.
        """
        if val is not None:
            self._set(key, val)
            return
        mean, std, low, high = self._stats.pop(key, RunningStats()).summary()
        self._set(key if average_only else f"Average{key}", mean)
        if not average_only:
            self._set(f"Std{key}", std)
        if with_min_and_max:
            self._set(f"Max{key}", high)
            self._set(f"Min{key}", low)

    def accepts(self, key: str) -> bool:
        """Whether rows can have this column: the file has the column, or has no row yet."""
        return not self._header or key in self._header

    def dump_tabular(self) -> dict[str, Any]:
        """Write and print the row, and start the next one; columns that are not set are nan.

        A write error, such as a full disk, is reported but not raised: the row is kept in memory, and a later
        call writes it.

        Returns:
            The row.
        """
        first = not self._file.position and not self._file.pending
        self._header = self._header or list(self._row)
        row = {key: self._row.get(key, math.nan) for key in self._header}
        self._row = {}
        self._rows += 1
        lines = [self._header] if first else []
        lines.append([_cell(value) for value in row.values()])
        data = "".join("\t".join(line) + "\n" for line in lines).encode()
        self._check(self._file.append(data), str(self._file.path))
        self._write_events(row)
        self._trackers.row(self._step(row), row)
        self._display.table(row)
        return row

    def preview(self, set_columns: Callable[[], None]) -> dict[str, Any]:
        """The row that `set_columns` sets at this point; nothing is written, and no statistics are reset."""
        row, stats = self._row, dict(self._stats)
        self._row = {}
        try:
            set_columns()
            return self._row
        finally:
            self._row, self._stats = row, stats

    def save_config(self, config: Any) -> None:
        """Write a dict of settings to config.json, after `exp_name`; `files.to_json` converts its values."""
        named = {"exp_name": self.exp_name} if self.exp_name is not None else {}
        self._config = {**named, **config}
        write_json(self._folder / "config.json", self._config)
        self._trackers.config(self._config)

    def video(self, path: Path, step: int) -> None:
        """Pass a video, recorded at env step `step`, to the trackers."""
        self._trackers.video(step, path)

    def setup_pytorch_saver(self, what_to_save: Any) -> None:
        """Make `save_state` write this object to `pyt_save/model<itr>.pt` with `torch.save`."""
        self._torch_model = what_to_save

    def setup_tf_saver(self, sess: Any, inputs: dict[str, Any], outputs: dict[str, Any]) -> None:
        """Make `save_state` write the session's graph to `tf1_save<itr>/`, for `restore_tf_graph`.

        Raises:
            MissingExtraError: if TensorFlow is not installed.
        """
        self._tf_saver = TFSaver(sess, inputs, outputs)

    def save_state(self, state_dict: dict[str, Any], itr: int | str | None = None) -> None:
        """Write `vars<itr>.json`, and the model if a saver is set up; each is replaced atomically.

        Entries that JSON cannot represent are skipped, with a message. A write error, such as a full disk, is
        reported but not raised, and the previous files are kept.

        Args:
            state_dict: values to save in addition to the model.
            itr: None for the latest save, which later saves replace; a number or name ("best") keeps it.
        """
        kept, skipped = jsonable_entries(state_dict)
        if skipped:
            self.log(f"not saved, since JSON cannot represent it: {', '.join(skipped)}", color="yellow")
        suffix = "" if itr is None else f"_{itr}" if isinstance(itr, str) else str(itr)
        try:
            write_json(self._folder / f"vars{suffix}.json", kept)
            if self._torch_model is not None:
                buffer = io.BytesIO()
                torch.save(self._torch_model, buffer)
                atomic_write(self._folder / "pyt_save" / f"model{suffix}.pt", buffer.getvalue())
            if self._tf_saver is not None:
                self._tf_saver.save(self._folder / f"tf1_save{suffix}")
        except OSError as error:
            self.log(f"could not save ({error}): the previous files are kept", color="red")

    def state_dict(self) -> dict[str, Any]:
        """The state of the logger, as plain JSON: statistics, columns, position in the file, pending rows."""
        return {
            "stats": {key: stats.state() for key, stats in self._stats.items()},
            "header": list(self._header),
            "rows": self._rows,
            "position": self._file.position,
            "pending": [data.decode() for data in self._file.pending],
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from `state_dict()`; rows written after it are removed from the file."""
        self._stats = {key: RunningStats.from_state(stats) for key, stats in state["stats"].items()}
        self._header, self._rows, self._row = list(state["header"]), int(state["rows"]), {}
        self._file.truncate(state["position"])
        if self._file.position < state["position"]:
            self.log(f"{self._file.path} has lost rows: continuing at its end", color="red")
        self._file.pending = [text.encode() for text in state["pending"]]
        self._events, self._resumed = None, True

    def close(self) -> None:
        """Write the pending rows, end the trackers' records, stop the live display; safe to call twice."""
        self._check(self._file.flush(), str(self._file.path))
        self._trackers.close()
        self._display.close()

    def _set(self, key: str, value: Any) -> None:
        if self._header and key not in self._header:
            raise ConfigError(f"column {key!r} was not in the first row: log all columns in every row")
        if key in self._row:
            raise ConfigError(f"column {key!r} is already set in this row: call dump_tabular() between rows")
        self._row[key] = _to_number(value)

    def _write_events(self, row: dict[str, Any]) -> None:
        if not self._tensorboard:
            return
        try:
            if self._events is None:
                self._events = EventFile(self._folder, purge=self._resumed)
                if self._config:
                    self._events.hyperparameters(self._config)
        except ImportError:
            self._tensorboard = False
            self.log("TensorBoard is not installed: no event files", color="yellow")
            return
        scalars = {key: float(value) for key, value in row.items() if isinstance(value, (int, float))}
        self._check(self._events.add(self._step(row), scalars), "the TensorBoard events")

    def _step(self, row: dict[str, Any]) -> int:
        """The env step of a row, for trackers; the number of the row if it has none."""
        step = row.get("TotalEnvInteracts", self._rows)
        return int(step) if isinstance(step, (int, float)) and math.isfinite(step) else self._rows

    def _check(self, error: OSError | None, what: str) -> None:
        """Report the first of several write errors, and that writing works again."""
        if error is not None and what not in self._warned:
            self._warned.add(what)
            self.log(f"could not write {what} ({error}): kept in memory until the next attempt", color="red")
        elif error is None and what in self._warned:
            self._warned.remove(what)
            self.log(f"{what} could be written again: no row is missing", color="green")

    def _read_rows(self) -> None:
        """Continue after the last complete row of the file."""
        header, lines = self._file.complete_lines()
        self._header = header.split("\t") if lines else []
        self._rows = max(lines - 1, 0)


def _to_number(value: Any) -> Any:
    """An array or tensor of one element as a Python number; any other value unchanged."""
    single = (isinstance(value, (np.generic, np.ndarray)) and value.size == 1) or (
        isinstance(value, torch.Tensor) and value.numel() == 1
    )
    return value.item() if single else value


def _cell(value: Any) -> str:
    """A value as text without tabs and newlines, floats with full precision."""
    return repr(value) if isinstance(value, float) else " ".join(str(value).split())
