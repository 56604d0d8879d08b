"""Writes TensorBoard event files without TensorBoard's own writer.

That writer imports TensorFlow if it is installed, which takes seconds and hundreds of megabytes, and writes
from a separate thread. Scalars need neither: an event is one protocol buffer in one checksummed record.
"""

from __future__ import annotations

import io
import time
from pathlib import Path

from spinup.files import AppendedFile


class EventFile:
    """One event file, created by its first record.

    Args:
        folder: the folder that TensorBoard reads.
        purge: make TensorBoard drop events of older files from the first new step on.

    Raises:
        ImportError: if TensorBoard is not installed.
    """

    def __init__(self, folder: Path, purge: bool = False) -> None:
        # Imported here so that a logger that writes no row never loads it.
        from tensorboard.compat.proto.event_pb2 import Event, SessionLog
        from tensorboard.compat.proto.summary_pb2 import Summary
        from tensorboard.summary.writer.record_writer import RecordWriter

        self._event, self._session_log, self._summary = Event, SessionLog, Summary
        self._record_writer = RecordWriter
        self._purge = purge
        now = time.time()
        number = 0
        while (path := folder / f"events.out.tfevents.{int(now):010d}.{number}").exists():
            number += 1
        self._file = AppendedFile(path)
        self._file.pending.append(self._record(Event(wall_time=now, file_version="brain.Event:2")))

    def add(self, step: int, row: dict[str, float]) -> OSError | None:
        """Write one scalar per column at `step`; on failure, keep them in memory and return the error."""
        now = time.time()
        data = b""
        if self._purge:
            start = self._session_log(status=self._session_log.START)
            data += self._record(self._event(wall_time=now, step=step, session_log=start))
            self._purge = False
        values = [self._summary.Value(tag=tag, simple_value=value) for tag, value in row.items()]
        data += self._record(self._event(wall_time=now, step=step, summary=self._summary(value=values)))
        return self._file.append(data)

    def _record(self, event: object) -> bytes:
        buffer = io.BytesIO()
        self._record_writer(buffer).write(event.SerializeToString())  # type: ignore[attr-defined]
        return buffer.getvalue()
