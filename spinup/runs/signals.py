"""Signals that stop a run: recorded when they arrive, handled between two steps."""

from __future__ import annotations

import os
import signal
import threading
from types import FrameType, TracebackType
from typing import Any

_NAMES = ("SIGINT", "SIGTERM", "SIGUSR1")  # Ctrl-C; kill and batch systems; Slurm's early warning
EXIT_CODES = tuple(128 + getattr(signal, name) for name in _NAMES if hasattr(signal, name))


class Interrupted(Exception):
    """A signal stopped the run.

    Attributes:
        signum: number of the signal.
    """

    def __init__(self, signum: int) -> None:
        super().__init__(f"stopped by {signal.Signals(signum).name}")
        self.signum = signum

    def exit_exception(self) -> BaseException:
        """The exception for the caller: KeyboardInterrupt for SIGINT, else SystemExit(128 + signum)."""
        return KeyboardInterrupt() if self.signum == signal.SIGINT else SystemExit(128 + self.signum)


class SignalHandler:
    """Context manager that records SIGINT, SIGTERM and SIGUSR1; outside the main thread it does nothing.

    At the end, a signal that no exception has followed raises KeyboardInterrupt or SystemExit. A SIGINT after
    any of these signals raises KeyboardInterrupt at once. Signals that were ignored before, as by
    nohup, stay ignored. The previous handlers are restored at the end.

    Attributes:
        received: number of the first signal received; None if there was none.
    """

    def __init__(self) -> None:
        self.received: int | None = None
        self._previous: dict[int, Any] = {}
        self._pid = os.getpid()

    def check(self) -> None:
        """Raise if a signal was received.

        Raises:
            Interrupted: if a signal was received.
        """
        if self.received is not None:
            raise Interrupted(self.received)

    def __enter__(self) -> SignalHandler:
        if threading.current_thread() is threading.main_thread():
            for signum in (getattr(signal, name) for name in _NAMES if hasattr(signal, name)):
                if signal.getsignal(signum) not in (signal.SIG_IGN, None):
                    self._previous[signum] = signal.signal(signum, self._handle)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for signum, handler in self._previous.items():
            signal.signal(signum, handler)
        if self.received is not None and kind is None:  # it arrived after the last check
            raise Interrupted(self.received).exit_exception()

    def _handle(self, signum: int, frame: FrameType | None) -> None:
        if os.getpid() != self._pid:  # a forked child process inherited this handler
            signal.signal(signum, signal.SIG_DFL)
            os.kill(os.getpid(), signum)
        elif self.received is not None and signum == signal.SIGINT:
            raise KeyboardInterrupt
        else:
            self.received = self.received or signum
