"""Trains in child processes that are killed at random moments, and resumes, until a run is done.

Run as a script, so that each child is forked from a process that has imported everything:

    python killing.py '{"folder": ..., "kills": 20, "seed": 0, "settings": {...}}'

There are three kinds of kills: in a random environment step, including steps of tests; just before or after
a random system call that writes (fsync, replace, unlink, ftruncate), so within a save; and from outside after
a random time. The last line printed is the number of kills of each kind.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import sys
import time
from pathlib import Path
from typing import Any

from goals import PointReach
from helpers import train
from resuming import StepHook, normalized, point

ENVS = {"point": point, "normalized": normalized, "reach": lambda: StepHook(PointReach(20))}
WRITES = ("fsync", "replace", "unlink", "ftruncate", "truncate", "write")


def die() -> None:
    """Kill this process without cleanup, as a machine that fails would."""
    os.kill(os.getpid(), signal.SIGKILL)


class KillingCall:
    """A function of `os` that kills the process before or after the k-th call of any of them."""

    left = 0

    def __init__(self, real: Any, before: bool) -> None:
        self.real, self.before = real, before

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        KillingCall.left -= 1
        if KillingCall.left == 0 and self.before:
            die()
        result = self.real(*args, **kwargs)
        if KillingCall.left == 0:
            die()
        return result


def schedule_kill(kind: str, rng: random.Random) -> None:
    """Let this process kill itself at a random moment."""
    if kind == "step":
        StepHook.at, StepHook.call = rng.randint(1, 80), die
    elif kind == "write":
        KillingCall.left = rng.randint(1, 50)
        before = rng.random() < 0.5
        for name in WRITES:
            setattr(os, name, KillingCall(getattr(os, name), before))


def attempt(kind: str, rng: random.Random, folder: Path, settings: dict[str, Any]) -> bool:
    """Train in one process; returns whether it was killed."""
    wait = rng.uniform(0.02, 0.6)
    child = os.fork()
    if child == 0:
        try:
            schedule_kill(kind, rng)
            train(folder, resume=True, **settings)
            os._exit(0)
        finally:
            sys.stderr.flush()
            os._exit(3)
    if kind == "time":
        time.sleep(wait)
        os.kill(child, signal.SIGKILL)
    status = os.waitpid(child, 0)[1]
    if os.WIFSIGNALED(status):
        assert os.WTERMSIG(status) == signal.SIGKILL
        return True
    assert os.WEXITSTATUS(status) == 0, "the training failed"
    return False


def main(order: dict[str, Any]) -> None:
    """Kill and resume until there have been `kills` kills and the run is done."""
    rng, folder = random.Random(order["seed"]), Path(order["folder"])
    settings = {**order["settings"], "env_fn": ENVS[order["settings"]["env_fn"]]}
    count = {"step": 0, "write": 0, "time": 0}
    while sum(count.values()) < order["kills"]:
        kind = rng.choice(list(count))
        if attempt(kind, rng, folder, settings):
            count[kind] += 1
        else:  # done before it was killed, as on a fast machine: another run goes on
            shutil.rmtree(folder)
            count = dict.fromkeys(count, 0)
    attempt("none", rng, folder, settings)
    print(json.dumps(count))


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
