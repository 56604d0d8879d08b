"""A robot in real time as a remote collector, with a learner in another process.

    python examples/robot.py --hz 50 --push-every 2 --steps 6000

The robot's process steps the environment at a fixed rate and never waits for the learner: it acts by the
last policy that it was sent. The learner trains on what the robot has collected, one gradient step per
environment step, and pushes its policy at most every `--push-every` seconds. When the learner stalls, in a
checkpoint, a long update, or because it was stopped (try `kill -STOP` and `kill -CONT`), the robot goes on
with the old policy and keeps its transitions until the learner asks for them. When the learner ends, so does
the robot.

Pendulum-v1 stands for the robot. For yours, let `make_env` return an environment whose `step` sends the
action and reads the sensors; it is made in the robot's process, and once in the learner's for its spaces.
"""

from __future__ import annotations

import argparse
import multiprocessing
import queue
import threading
import time
from multiprocessing.connection import Connection
from typing import Any

import cloudpickle
import gymnasium as gym

from spinup import sac_pytorch
from spinup.collect.messages import unpack
from spinup.collect.transport import Message


def make_env() -> gym.Env[Any, Any]:
    """The robot's environment."""
    return gym.make("Pendulum-v1")


def robot(connection: Connection, program: bytes, epoch: int, hz: float) -> None:
    """The robot's process: acts at `hz` steps per second until the learner has ended."""
    worker = cloudpickle.loads(program)(0, epoch)
    answers: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    threading.Thread(target=send_all, args=(connection, answers), daemon=True).start()
    tickets: list[dict[str, Any]] = []
    steps = late = 0
    due = time.monotonic()
    try:
        while True:
            while connection.poll(None if worker.policy is None else 0.0):
                request, policy = connection.recv_bytes(), connection.recv_bytes()
                if unpack(request)["kind"] == "hello":
                    answers.put(worker.run(request, policy))
                else:
                    worker.load(policy)
                    tickets.append(unpack(request))
            worker.step(at_random=tickets[0]["random"] - worker.rows if tickets else 0)
            if tickets and worker.rows >= tickets[0]["rows"]:
                answers.put(worker.take(tickets.pop(0)))
            steps += 1
            if steps % round(hz) == 0:
                print(f"robot: {steps} steps, {late} late, policy of update {worker.version}", flush=True)
            due += 1.0 / hz
            if (pause := due - time.monotonic()) > 0:
                time.sleep(pause)
            else:
                due, late = time.monotonic(), late + 1
    except (EOFError, OSError):
        print(f"robot: the learner has ended, after {steps} steps", flush=True)


def send_all(connection: Connection, answers: queue.SimpleQueue[bytes]) -> None:
    """Send in a thread of its own, since a pipe whose reader has stalled blocks once it is full."""
    try:
        while True:
            connection.send_bytes(answers.get())
    except OSError:
        return


class RobotTransport:
    """A pipe to the robot's process (see `spinup.collect.transport.Transport`).

    Args:
        hz: steps of the robot per second.
        push_every: least seconds between two policies that are sent to it.
    """

    def __init__(self, hz: float, push_every: float) -> None:
        self.hz, self.push_every = hz, push_every
        self.process: Any = None

    def open(self, program: bytes, collectors: int) -> None:
        """Keep the program; there is one robot."""
        assert collectors == 1
        self.program = program

    def start(self, collector: int, epoch: int) -> None:
        """Start the robot's process."""
        self.close()
        context = multiprocessing.get_context("spawn")
        self.connection, theirs = context.Pipe()
        self.process = context.Process(target=robot, args=(theirs, self.program, epoch, self.hz), daemon=True)
        self.process.start()
        theirs.close()
        self.epoch, self.push_at = epoch, 0.0

    def send(self, collector: int, request: bytes, policy: bytes = b"") -> None:
        """Send a request, and the policy if it is time."""
        push = bool(policy) and time.monotonic() >= self.push_at
        if push:
            self.push_at = time.monotonic() + self.push_every
        self.connection.send_bytes(request)
        self.connection.send_bytes(policy if push else b"")

    def receive(self, timeout: float) -> list[Message]:
        """What the robot has sent."""
        found = []
        try:
            while self.connection.poll(0.0 if found else timeout):
                found.append(Message(0, self.epoch, self.connection.recv_bytes()))
        except (EOFError, OSError):
            found.append(Message(0, self.epoch, None, "its process ended"))
        return found

    def close(self) -> None:
        """End the robot's process."""
        if self.process is not None:
            self.connection.close()
            self.process.join(timeout=5.0)
            self.process.kill()


def main() -> None:
    """Train on the robot."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--hz", type=float, default=50.0, help="steps per second")
    parser.add_argument("--push-every", type=float, default=2.0, help="seconds between two policies")
    parser.add_argument("--steps", type=int, default=6000, help="environment steps to train on")
    parser.add_argument("--epoch", type=int, default=500, help="environment steps per row of the log")
    parser.add_argument("--start-steps", type=int, default=500, help="random steps at the beginning")
    args = parser.parse_args()
    rows: list[dict[str, Any]] = []
    sac_pytorch(
        make_env,
        collectors=1,
        transport=RobotTransport(args.hz, args.push_every),
        max_staleness=100_000,  # transitions of the old policy are used, however long the learner stalled
        ac_kwargs={"hidden_sizes": (64, 64)},
        alpha="auto",
        steps_per_epoch=args.epoch,
        epochs=args.steps // args.epoch,
        start_steps=args.start_steps,
        update_after=args.start_steps,
        num_test_episodes=0,
        threads=1,
        callback=lambda row, ac: rows.append(row),
    )
    last = rows[-1]
    print(
        f"learner: {last['TotalEnvInteracts']} steps, {last['UpdatesPerStep']:g} gradient steps per step, "
        f"return {last['AverageEpRet']:.0f}, policies at most {last['MaxStaleness']:.0f} gradient steps old",
        flush=True,
    )


if __name__ == "__main__":
    main()
