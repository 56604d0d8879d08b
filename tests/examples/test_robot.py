"""The robot goes on with the old policy while the learner is stopped, and nothing is lost."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
from pathlib import Path

SCRIPT = Path(__file__).parent.parent.parent / "examples" / "robot.py"


def steps_and_policy(process: subprocess.Popen[str]) -> tuple[int, int]:
    """Steps and policy in the robot's next report."""
    assert process.stdout is not None
    for line in process.stdout:
        if match := re.match(r"robot: (\d+) steps, \d+ late, policy of update (\d+)$", line):
            return int(match[1]), int(match[2])
    raise AssertionError("the robot has ended")


def test_the_robot_goes_on_while_the_learner_is_stopped(tmp_path: Path) -> None:
    flags = ["--hz=100", "--push-every=0.2", "--steps=1000", "--epoch=250", "--start-steps=100"]
    process = subprocess.Popen(
        [sys.executable, str(SCRIPT), *flags], stdout=subprocess.PIPE, text=True, cwd=tmp_path
    )
    limit = threading.Timer(300.0, process.kill)  # so that a fault ends the test
    limit.start()
    try:
        while steps_and_policy(process)[1] < 50:  # until it acts by a policy that has learned
            pass
        os.kill(process.pid, signal.SIGSTOP)
        steps_and_policy(process)  # which may have been on its way
        steps, policy = steps_and_policy(process)
        for _ in range(3):
            later, same = steps_and_policy(process)
            assert same == policy
        assert later == steps + 300
        os.kill(process.pid, signal.SIGCONT)
        assert process.stdout is not None
        rest = process.stdout.read()
        assert process.wait() == 0
    finally:
        limit.cancel()
        process.send_signal(signal.SIGCONT)
        process.kill()
        process.communicate()
    assert re.search(r"^learner: 1000 steps, 1 gradient steps per step, ", rest, re.MULTILINE)
    assert "robot: the learner has ended" in rest
