"""Signals that ask a run to stop: noted at once, obeyed between two steps."""

from __future__ import annotations

import os
import signal
import threading
from types import FrameType, TracebackType
from typing import Any

_NAMES = ("SIGINT", "SIGTERM", "SIGUSR1")  # Ctrl-C; kill and batch systems; Slurm's early warning


class Interrupted(Exception):
    """A signal asked the run to stop.

    Attributes:
        signum: its number.
    """

    def __init__(self, signum: int) -> None:
        super().__init__(f"stopped by {signal.Signals(signum).name}")
        self.signum = signum

    def exit(self) -> BaseException:
        """What the caller gets: KeyboardInterrupt for SIGINT, else SystemExit with 128 + the signal."""
        return KeyboardInterrupt() if self.signum == signal.SIGINT else SystemExit(128 + self.signum)


class Signals:
    """Takes SIGINT, SIGTERM and SIGUSR1 for a block, in the main thread; elsewhere it does nothing.

    A second SIGINT raises KeyboardInterrupt at once. A signal that is ignored stays so (nohup).
    """

    def __init__(self) -> None:
        self.received: int | None = None
        self._before: dict[int, Any] = {}
        self._owner = os.getpid()

    def check(self) -> None:
        """Stop here if a signal asked for it.

        Raises:
            Interrupted: if so.
        """
        if self.received is not None:
            raise Interrupted(self.received)

    def __enter__(self) -> Signals:
        if threading.current_thread() is threading.main_thread():
            for signum in (getattr(signal, name) for name in _NAMES if hasattr(signal, name)):
                if signal.getsignal(signum) not in (signal.SIG_IGN, None):
                    self._before[signum] = signal.signal(signum, self._note)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for signum, handler in self._before.items():
            signal.signal(signum, handler)

    def _note(self, signum: int, frame: FrameType | None) -> None:
        if os.getpid() != self._owner:  # a child process that inherited this handler
            signal.signal(signum, signal.SIG_DFL)
            os.kill(os.getpid(), signum)
        elif self.received is not None and signum == signal.SIGINT:
            raise KeyboardInterrupt
        else:
            self.received = self.received or signum
