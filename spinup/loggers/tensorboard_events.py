"""Writes TensorBoard event files without TensorBoard's own writer.

TensorBoard's writer imports TensorFlow if it is installed, which takes seconds and hundreds of megabytes, and
writes from a separate thread. Neither is needed for scalars: an event is one protocol buffer in one record
with checksums.
"""

from __future__ import annotations

import io
import re
import time
from pathlib import Path
from typing import Any

from spinup.files import AppendedFile, to_json

_GROUPS = {
    "train": ("EpRet", "EpLen"), "test": ("TestEpRet", "TestEpLen"),
    "critic": (
        "Q1Vals", "Q2Vals", "LossQ", "TestQVals", "TestQBias", "CriticSpread", "GradNormQ", "DeadUnitsQ1",
        "DeadUnitsQ2", "DeadUnitsV", "DeadUnitsEncoder",
    ),
    "policy": (
        "LogPi", "LossPi", "Alpha", "Entropy", "TargetEntropy", "SaturatedActions", "GradNormPi",
        "DeadUnitsPi",
    ),
    "time": ("Epoch", "TotalEnvInteracts", "Time", "StepsPerSecond", "UpdatesPerStep"),
}  # fmt: skip
_GROUP_OF = {name: group for group, names in _GROUPS.items() for name in names}


def tag_of(column: str) -> str:
    """The tag of a column: "<group>/<name>" for columns of SAC, else its name."""
    group = _GROUP_OF.get(column) or _GROUP_OF.get(re.sub("^(Average|Std|Max|Min)", "", column))
    return f"{group}/{column}" if group else column


class EventFile:
    """One event file, created by its first record.

    Args:
        folder: the folder that TensorBoard reads.
        purge: make TensorBoard drop events of older files from the first new step on.

    Raises:
        ImportError: if TensorBoard is not installed.
    """

    def __init__(self, folder: Path, purge: bool = False) -> None:
        # Imported here so that a logger that writes no row does not import TensorBoard.
        from tensorboard.compat.proto.event_pb2 import Event, SessionLog
        from tensorboard.compat.proto.summary_pb2 import Summary, SummaryMetadata
        from tensorboard.compat.proto.tensor_pb2 import TensorProto
        from tensorboard.compat.proto.types_pb2 import DT_FLOAT
        from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData
        from tensorboard.summary.writer.record_writer import RecordWriter

        self._event, self._session_log, self._summary = Event, SessionLog, Summary
        self._metadata, self._hparams = SummaryMetadata, HParamsPluginData
        self._empty = TensorProto(dtype=DT_FLOAT)
        self._record_writer = RecordWriter
        self._purge = purge
        now = time.time()
        number = 0
        while (path := folder / f"events.out.tfevents.{int(now):010d}.{number}").exists():
            number += 1
        self._file = AppendedFile(path)
        self._file.pending.append(self._record(Event(wall_time=now, file_version="brain.Event:2")))

    def add(self, step: int, row: dict[str, float]) -> OSError | None:
        """Write one scalar per column at `step`; on failure, keep them in memory and return the error.

        See `tag_of` for the names.
        """
        now = time.time()
        data = b""
        if self._purge:
            start = self._session_log(status=self._session_log.START)
            data += self._record(self._event(wall_time=now, step=step, session_log=start))
            self._purge = False
        values = [self._summary.Value(tag=tag_of(name), simple_value=value) for name, value in row.items()]
        data += self._record(self._event(wall_time=now, step=step, summary=self._summary(value=values)))
        return self._file.append(data)

    def hyperparameters(self, config: dict[str, Any]) -> None:
        """Write these settings before the next record, for TensorBoard's table of hyperparameters."""
        data = self._hparams(version=0)
        start = data.session_start_info
        start.start_time_secs = time.time()
        for name, value in config.items():
            if isinstance(value, bool):
                start.hparams[name].bool_value = value
            elif isinstance(value, (int, float)):
                start.hparams[name].number_value = value
            elif value is not None:
                start.hparams[name].string_value = str(to_json(value))
        plugin = self._metadata.PluginData(plugin_name="hparams", content=data.SerializeToString())
        value = self._summary.Value(
            tag="_hparams_/session_start_info",
            metadata=self._metadata(plugin_data=plugin),
            tensor=self._empty,
        )
        event = self._event(wall_time=time.time(), summary=self._summary(value=[value]))
        self._file.pending.append(self._record(event))

    def _record(self, event: object) -> bytes:
        buffer = io.BytesIO()
        self._record_writer(buffer).write(event.SerializeToString())  # type: ignore[attr-defined]
        return buffer.getvalue()
