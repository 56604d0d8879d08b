"""One contestant of the speed benchmark, in a process of its own; prints one line of JSON.

    python benchmarks/peers.py sb3 --batch 100 --threads 2

All train SAC on one HalfCheetah-v5 with two hidden layers of 256 units, alpha = 0.2 and one gradient step
per env step. The clock is in the environment: it starts before step `warm` + 1 and stops before step
`warm` + `steps` + 1, so that start-up and compilation are left out. A contestant returns how many bytes
a transition takes in its replay buffer, None where that cannot be seen.
"""

from __future__ import annotations

import argparse
import json
import os
import runpy
import sys
import tempfile
import time
from importlib.metadata import version
from typing import Any

import gymnasium as gym
import numpy as np

ENV = "HalfCheetah-v5"
WIDTH, LEARNING_RATE, ALPHA, LEARN_AFTER, BLOCK = 256, 1e-3, 0.2, 1000, 50


class Clock(gym.Wrapper[Any, Any, Any, Any]):
    """Notes the time at two of the environment's steps."""

    def __init__(self, env: gym.Env[Any, Any], warm: int, steps: int) -> None:
        super().__init__(env)
        self.count, self.marks = 0, {warm: 0.0, warm + steps: 0.0}

    def step(self, action: Any) -> Any:
        """Step the environment, noting the time first."""
        if self.count in self.marks:
            self.marks[self.count] = time.perf_counter()
        self.count += 1
        return self.env.step(action)

    @property
    def seconds(self) -> float:
        """Time between the two marks."""
        first, last = self.marks.values()
        return last - first


def spinup_sac(clock: Clock, args: argparse.Namespace) -> float | None:
    """This library, on its default engine."""
    import spinup
    from spinup.config import SACConfig
    from spinup.replay.registry import make_sampler
    from spinup.replay.storage import HostStorage
    from spinup.replay.transition import transition_fields

    made: list[int] = []

    def env_fn() -> gym.Env[Any, Any]:
        made.append(1)  # the first is a probe, the second trains, the third would test
        return clock if len(made) == 2 else gym.make(ENV)

    total = args.warm + args.steps + BLOCK
    with tempfile.TemporaryDirectory() as folder:
        spinup.sac_pytorch(
            env_fn,
            steps_per_epoch=total,
            epochs=1,
            batch_size=args.batch,
            start_steps=LEARN_AFTER,
            update_after=LEARN_AFTER,
            replay_size=100_000,
            num_test_episodes=0,
            threads=args.threads or "auto",
            logger_kwargs={"output_dir": folder + "/run"},
            **json.loads(args.options),
        )
    fields = transition_fields(clock.observation_space.shape[0], clock.action_space.shape[0])
    stored = [fields[name] for name in make_sampler(SACConfig()).stored_fields]
    return HostStorage(stored, 100_000).nbytes / 100_000


def spinup_tf1(clock: Clock, args: argparse.Namespace) -> float | None:
    """This library's TensorFlow version."""
    import spinup

    spinup.sac_pytorch = spinup.sac_tf1
    return spinup_sac(clock, args)


def sb3(clock: Clock, args: argparse.Namespace) -> float | None:
    """Stable-Baselines3."""
    import torch
    from stable_baselines3 import SAC

    torch.set_num_threads(args.threads)
    model = SAC("MlpPolicy", clock, device="cpu", **baselines_arguments(args))
    model.learn(args.warm + args.steps + BLOCK)
    return baselines_bytes(model)


def sbx(clock: Clock, args: argparse.Namespace) -> float | None:
    """Stable-Baselines in JAX; the gradient steps of a block run in one compiled scan."""
    from sbx import SAC

    model = SAC("MlpPolicy", clock, **baselines_arguments(args))
    model.learn(args.warm + args.steps + BLOCK)
    return baselines_bytes(model)


def baselines_arguments(args: argparse.Namespace) -> dict[str, Any]:
    """What SB3 and SBX are given, gradient steps in blocks as we run them."""
    return {
        "policy_kwargs": {"net_arch": [WIDTH, WIDTH]},
        "learning_rate": LEARNING_RATE,
        "batch_size": args.batch,
        "buffer_size": 100_000,
        "learning_starts": LEARN_AFTER,
        "train_freq": BLOCK,
        "gradient_steps": BLOCK,
        "ent_coef": ALPHA,
    }


def baselines_bytes(model: Any) -> float:
    """Bytes of a transition in the replay buffer of SB3 and SBX."""
    arrays = [value for value in vars(model.replay_buffer).values() if isinstance(value, np.ndarray)]
    return sum(array.nbytes for array in arrays) / model.replay_buffer.buffer_size


def rltools(clock: Clock, args: argparse.Namespace) -> float | None:
    """RLtools through its Python interface, compiled for these sizes before the clock starts."""
    os.environ["MKL_NUM_THREADS"] = str(args.threads)
    from rltools import SAC

    total = args.warm + args.steps + BLOCK
    sac = SAC(
        lambda **_: clock,
        interface_name=f"speed_{args.batch}",
        enable_evaluation=False,
        ACTOR_BATCH_SIZE=args.batch,
        CRITIC_BATCH_SIZE=args.batch,
        ACTOR_HIDDEN_DIM=WIDTH,
        CRITIC_HIDDEN_DIM=WIDTH,
        N_WARMUP_STEPS=LEARN_AFTER,
        STEP_LIMIT=total,
        REPLAY_BUFFER_CAP=100_000,
        ALPHA=ALPHA,
        ADAPTIVE_ALPHA=False,
        OPTIMIZER_ALPHA=LEARNING_RATE,
    )
    state = sac.State(0)
    while not state.step():
        pass
    return None  # its buffer lies in C++


def torchrl(clock: Clock, args: argparse.Namespace) -> float | None:
    """TorchRL: its loss, target update, collector and replay buffer, in the loop of its SAC example."""
    import torch
    from tensordict.nn import NormalParamExtractor, TensorDictModule
    from torch import nn
    from torchrl.collectors import Collector
    from torchrl.data import LazyTensorStorage, TensorDictReplayBuffer
    from torchrl.envs import DoubleToFloat, GymWrapper, TransformedEnv
    from torchrl.modules import MLP, ProbabilisticActor, TanhNormal, ValueOperator
    from torchrl.objectives import SACLoss, SoftUpdate

    torch.set_num_threads(args.threads)
    env = TransformedEnv(GymWrapper(clock), DoubleToFloat())
    obs, act = env.observation_spec["observation"].shape[-1], env.action_spec.shape[-1]
    shape: dict[str, Any] = {"num_cells": [WIDTH, WIDTH], "activation_class": nn.ReLU}
    actor = ProbabilisticActor(
        TensorDictModule(
            nn.Sequential(MLP(in_features=obs, out_features=2 * act, **shape), NormalParamExtractor()),
            in_keys=["observation"],
            out_keys=["loc", "scale"],
        ),
        in_keys=["loc", "scale"],
        spec=env.action_spec,
        distribution_class=TanhNormal,
        distribution_kwargs={"low": -1.0, "high": 1.0},
        return_log_prob=True,
    )
    q = ValueOperator(MLP(in_features=obs + act, out_features=1, **shape), in_keys=["observation", "action"])
    loss = SACLoss(actor, q, num_qvalue_nets=2, loss_function="l2", alpha_init=ALPHA, fixed_alpha=True)
    loss.make_value_estimator(gamma=0.99)
    targets = SoftUpdate(loss, eps=0.995)
    actor_adam = torch.optim.Adam(loss.actor_network_params.flatten_keys().values(), lr=LEARNING_RATE)
    critic_adam = torch.optim.Adam(loss.qvalue_network_params.flatten_keys().values(), lr=LEARNING_RATE)
    replay = TensorDictReplayBuffer(storage=LazyTensorStorage(100_000), batch_size=args.batch)
    collector = Collector(
        env,
        actor,
        frames_per_batch=BLOCK,
        init_random_frames=LEARN_AFTER,
        total_frames=args.warm + args.steps + BLOCK,
    )
    collected = 0
    for data in collector:
        replay.extend(data.reshape(-1))
        collected += data.numel()
        for _ in range(data.numel() if collected >= LEARN_AFTER else 0):
            batch = replay.sample()
            losses = loss(batch)
            (losses["loss_actor"] + losses["loss_qvalue"]).backward()
            for adam in (actor_adam, critic_adam):
                adam.step()
                adam.zero_grad()
            targets.step()
    collector.shutdown()
    stored = replay[:]
    return float(stored.bytes() / len(stored))


def cleanrl(clock: Clock, args: argparse.Namespace) -> float | None:
    """CleanRL's sac_continuous_action.py from the checkout that CLEANRL names, with our environment.

    It updates at every env step. Episodes have no time limit, which it handles as Gymnasium 0.29 does.
    """
    import torch

    checkout = os.environ["CLEANRL"]
    torch.set_num_threads(args.threads)
    clock.env = gym.make(ENV, max_episode_steps=1_000_000)
    gym.make = lambda *_, **__: clock  # type: ignore[assignment]
    sys.path.insert(0, checkout)
    options = {
        "env-id": ENV,
        "total-timesteps": args.warm + args.steps + BLOCK,
        "buffer-size": 100_000,
        "batch-size": args.batch,
        "learning-starts": LEARN_AFTER,
        "policy-lr": LEARNING_RATE,
        "q-lr": LEARNING_RATE,
        "alpha": ALPHA,
    }
    arguments = [text for name, value in options.items() for text in (f"--{name}", str(value))]
    sys.argv = ["sac", *arguments, "--no-autotune", "--no-cuda"]
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)  # it writes runs/ into the current folder
        runpy.run_path(checkout + "/cleanrl/sac_continuous_action.py", run_name="__main__")
    return None


CONTESTANTS = {
    "spinup": spinup_sac,
    "spinup_tf1": spinup_tf1,
    "sb3": sb3,
    "sbx": sbx,
    "rltools": rltools,
    "torchrl": torchrl,
    "cleanrl": cleanrl,
}
PACKAGES = {
    "spinup": "torch",
    "spinup_tf1": "tensorflow-cpu",
    "sb3": "stable-baselines3",
    "sbx": "sbx-rl",
    "cleanrl": "torch",
}


def main() -> None:
    """Run one contestant."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("name", choices=CONTESTANTS)
    parser.add_argument("--batch", type=int, default=100)
    parser.add_argument("--threads", type=int, default=2, help="0: what spinup takes by itself")
    parser.add_argument("--warm", type=int, default=1200)
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--options", default="{}", help="JSON of more arguments for spinup")
    args = parser.parse_args()
    clock = Clock(gym.make(ENV), args.warm, args.steps)
    out, sys.stdout = sys.stdout, sys.stderr
    size = CONTESTANTS[args.name](clock, args)
    package = PACKAGES.get(args.name, args.name)
    record = {
        "seconds": clock.seconds,
        "steps_per_second": args.steps / clock.seconds,
        "bytes_per_transition": size,
        "package": f"{package} {version(package)}",
    }
    print(json.dumps(record), file=out)


if __name__ == "__main__":
    main()
