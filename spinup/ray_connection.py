"""Connects this process to Ray, which is an optional dependency and imported on first use."""

from __future__ import annotations

import contextlib
import importlib
import logging
import os
import signal
import warnings
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from spinup.errors import MissingExtraError, RunError, first_line

LOCAL = "local"
_NO_USAGE_REPORT = {"RAY_USAGE_STATS_ENABLED": "0"}


def import_ray() -> Any:
    """The module `ray`.

    Raises:
        MissingExtraError: if it is not installed.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return importlib.import_module("ray")
    except ImportError:
        raise MissingExtraError("Ray is not installed: pip install 'spinup[ray]'") from None


def connect(
    address: str | None, settings: Mapping[str, Any], environment: Mapping[str, str] | None = None
) -> Callable[[], None] | None:
    """Connect this process to Ray, without output. An existing connection is kept, whatever its address.

    Args:
        address: address of the cluster; "auto" is the one on this machine; None or "local" starts one.
        settings: arguments of `ray.init`, such as `num_cpus`, if a cluster is started.
        environment: environment variables of Ray and its workers; variables that are already set are kept.

    Returns:
        A function that ends the connection, and the cluster if it was started here; None if there was a
        connection before.

    Raises:
        RunError: if there is no cluster at the address, or Ray cannot be started.
    """
    ray = import_ray()
    if ray.is_initialized():
        return None
    address = address or LOCAL
    own = {"include_dashboard": False, **settings} if address == LOCAL else {}
    with _environment({**_NO_USAGE_REPORT, **(environment or {})}), _same_signal_handlers():
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR, **own)
        except Exception as error:  # of many kinds
            ray.shutdown()
            if address == LOCAL:
                raise RunError(
                    f"Ray cannot be started on this machine ({first_line(error)}): run again when it is less "
                    "busy, or give the address of a running cluster, such as 10.0.0.1:6379"
                ) from error
            raise RunError(
                f"cannot connect to a Ray cluster at {address} ({first_line(error)}): start one with "
                "'ray start --head' on its first node and 'ray start --address=ADDRESS' on the others"
            ) from error
    return ray.shutdown  # type: ignore[no-any-return]


@contextlib.contextmanager
def _environment(variables: Mapping[str, str]) -> Iterator[None]:
    """Set environment variables that are not set; they are removed afterwards."""
    added = [name for name in variables if name not in os.environ]
    os.environ.update({name: variables[name] for name in added})
    try:
        yield
    finally:
        for name in added:
            os.environ.pop(name, None)


@contextlib.contextmanager
def _same_signal_handlers() -> Iterator[None]:
    """Restore the signal handlers, which `ray.init` replaces by handlers that raise SystemExit at once."""
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = {number: signal.getsignal(number) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            with contextlib.suppress(ValueError):  # not the main thread
                if handler is not None:
                    signal.signal(number, handler)
