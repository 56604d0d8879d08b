"""Small environments, users' modules, and short runs that many tests share."""

from __future__ import annotations

import csv
import importlib
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from gymnasium.spaces import Box
from torch import nn

from spinup import MLPActorCritic, sac_pytorch
from spinup.config import SACConfig
from spinup.pytorch.agent import Agent
from spinup.pytorch.engines.registry import choose_engine
from spinup.pytorch.variants.registry import (
    choose_variant,
    held_noise_arguments,
    make_objective,
    update_options,
)
from spinup.replay.buffer import ReplayBuffer
from spinup.replay.registry import make_sampler
from spinup.replay.storage import HostStorage
from spinup.replay.transition import transition_fields

SMALL = {
    "ac_kwargs": {"hidden_sizes": (8, 8)},
    "steps_per_epoch": 100,
    "epochs": 2,
    "start_steps": 30,
    "update_after": 40,
    "update_every": 10,
    "batch_size": 8,
    "num_test_episodes": 2,
    "max_ep_len": 20,
    "threads": 1,
}
ENGINES = ("eager", "native")
TIMING = ("Time", "StepsPerSecond")


class Point(gym.Env[Any, Any]):
    """A point that an action pushes, two numbers observed; it starts anywhere and may have an end."""

    def __init__(self, low: float = -1.0, high: float = 1.0, steps: int = 15, ends: bool = False) -> None:
        self.observation_space = Box(-np.inf, np.inf, (2,), np.float32)
        self.action_space = Box(low, high, (1,), np.float32)
        self.steps, self.ends = steps, ends

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        super().reset(seed=seed)
        self.x, self.t = self.np_random.uniform(-1, 1, 2), 0
        return self.x.astype(np.float32), {}

    def step(self, action: Any) -> Any:
        self.t += 1
        self.x[1] += 0.1 * float(action[0])
        self.x[0] += 0.1 * self.x[1]
        over = self.t >= self.steps
        return self.x.astype(np.float32), -float(self.x[0] ** 2), over and self.ends, over, {}


class Diary(gym.Env[Any, Any]):
    """Observes (episode, step) and rewards 100 * episode + step, so that every stored row can be checked.

    Episode k lasts `lengths[k % len(lengths)]` steps; it terminates if k is even and is truncated if odd.
    """

    observation_space = Box(-1.0, 1e6, (2,), np.float32)
    action_space = Box(-1.0, 1.0, (1,), np.float32)

    def __init__(self, lengths: tuple[int, ...] = (3, 5, 1, 4)) -> None:
        self.lengths, self.episode, self.t = lengths, -1, 0
        self.seeds: list[int | None] = []
        self.actions: list[float] = []

    def observe(self) -> Any:
        """The observation; subclasses pack the two numbers otherwise."""
        return np.array([self.episode, self.t], np.float32)

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        self.seeds.append(seed)
        self.episode, self.t = self.episode + 1, 0
        return self.observe(), {}

    def step(self, action: Any) -> Any:
        self.t += 1
        self.actions.append(float(action[0]))
        over = self.t >= self.lengths[self.episode % len(self.lengths)]
        terminates = self.episode % 2 == 0
        return self.observe(), 100.0 * self.episode + self.t, over and terminates, over and not terminates, {}


def check_diary(rows: Any, lengths: tuple[int, ...] = (3, 5, 1, 4), max_ep_len: int = 1000) -> None:
    """Assert that rows of one Diary, in order, are its transitions: none missing, none invented.

    `rows` holds the columns of one environment, by field.
    """
    episode, t = 0, 0
    for k in range(len(rows["reward"])):
        length = lengths[episode % len(lengths)]
        assert tuple(rows["obs"][k]) == (episode, t)
        assert tuple(rows["next_obs"][k]) == (episode, t + 1)
        assert rows["reward"][k] == 100 * episode + t + 1
        if "episode_start" in rows:
            assert rows["episode_start"][k] == (t == 0)
        t += 1
        assert rows["terminated"][k] == (t == length and episode % 2 == 0)
        if t in (length, max_ep_len):
            episode, t = episode + 1, 0


class FourCalls(nn.Module):
    """A user's actor-critic that offers the documented calls and nothing else."""

    engines = ("compile", "cuda_graph")  # which may trace it

    def __init__(self, observation_space: Any, action_space: Any, width: int = 8) -> None:
        super().__init__()
        obs_dim, act_dim = observation_space.shape[0], action_space.shape[0]
        self.pi = UserPolicy(nn.Linear(obs_dim, width), width, act_dim)
        self.q1 = UserQ(nn.Linear(obs_dim + act_dim, width), width)
        self.q2 = UserQ(nn.Linear(obs_dim + act_dim, width), width)

    def act(self, obs: Any, deterministic: bool = False) -> Any:
        """The protocol's act."""
        with torch.no_grad():
            return (torch.tanh(self.pi.mean(obs)) if deterministic else self.pi(obs)[0]).numpy()


class UserPolicy(nn.Module):
    """A policy that samples by torch.distributions, from the global generator."""

    def __init__(self, encoder: nn.Module, width: int, act_dim: int) -> None:
        super().__init__()
        self.encoder, self.head = encoder, nn.Linear(width, 2 * act_dim)

    def mean(self, obs: Any) -> Any:
        """The mean before squashing."""
        return self.head(torch.relu(self.encoder(obs))).chunk(2, -1)[0]

    def forward(self, obs: Any) -> Any:
        """Actions and their log-densities."""
        mu, log_std = self.head(torch.relu(self.encoder(obs))).chunk(2, -1)
        normal = torch.distributions.Normal(mu, log_std.clamp(-5, 1).exp())
        squashed = torch.distributions.TransformedDistribution(
            normal, torch.distributions.TanhTransform(cache_size=1)
        )
        a = squashed.rsample()
        return a, squashed.log_prob(a).sum(-1)


class UserQ(nn.Module):
    """A critic whose encoder may be shared; it takes observation and action, or the observation alone."""

    def __init__(self, encoder: nn.Module, width: int, act_dim: int = 0) -> None:
        super().__init__()
        self.encoder, self.head, self.act_dim = encoder, nn.Linear(width + act_dim, 1), act_dim

    def forward(self, obs: Any, act: Any) -> Any:
        """Values (B,)."""
        if self.act_dim:
            h = torch.cat([torch.relu(self.encoder(obs)), act], -1)
        else:
            h = torch.relu(self.encoder(torch.cat([obs, act], -1)))
        return self.head(h).squeeze(-1)


class SharedCritics(FourCalls):
    """q1 and q2 share their encoder."""

    def __init__(self, observation_space: Any, action_space: Any, width: int = 8) -> None:
        super().__init__(observation_space, action_space, width)
        self.q2.encoder = self.q1.encoder


class SharedByAll(FourCalls):
    """pi, q1 and q2 share the encoder of observations."""

    def __init__(self, observation_space: Any, action_space: Any, width: int = 8) -> None:
        super().__init__(observation_space, action_space, width)
        act_dim = action_space.shape[0]
        self.q1 = UserQ(self.pi.encoder, width, act_dim)
        self.q2 = UserQ(self.pi.encoder, width, act_dim)


def train(folder: Path, env_fn: Any = Point, **changes: Any) -> tuple[Any, list[dict[str, str]]]:
    """A short run, by sac_tf1 if the engine is "tf1"; returns the actor-critic and the rows."""
    if "actor_critic" in changes:
        changes.setdefault("ac_kwargs", {})
    logger_kwargs = {"output_dir": str(folder), "quiet": True, "tensorboard": False}
    settings = {**SMALL, "logger_kwargs": logger_kwargs, **changes}
    return sac(settings.get("engine", ""))(env_fn, **settings), read_rows(folder)


def sac(engine: str) -> Any:
    """The function that trains with this engine."""
    return importlib.import_module("graphs").sac_mirrored if engine == "tf1" else sac_pytorch


def read_rows(folder: Path) -> list[dict[str, str]]:
    """The rows of progress.txt, as text."""
    with open(folder / "progress.txt") as file:
        return list(csv.DictReader(file, delimiter="\t"))


def without_timing(rows: list[dict[str, str]]) -> list[dict[str, str]]:
    """Rows without the columns that no two runs share."""
    return [{k: v for k, v in row.items() if k not in TIMING} for row in rows]


def parameters(module: nn.Module) -> torch.Tensor:
    """All parameters as one vector, copied."""
    return torch.cat([p.detach().flatten() for p in module.parameters()]).clone()


def small_ac(
    obs_dim: int = 3, low: Any = -1.0, high: Any = 1.0, act_dim: int = 2, seed: int = 0, **kwargs: Any
) -> MLPActorCritic:
    """A default actor-critic with hidden layers (8, 8), built from `seed`."""
    torch.manual_seed(seed)
    low, high = (np.broadcast_to(bound, (act_dim,)).astype(np.float32) for bound in (low, high))
    spaces = Box(-np.inf, np.inf, (obs_dim,)), Box(low, high)
    return MLPActorCritic(*spaces, **{"hidden_sizes": (8, 8), **kwargs})


Batches = dict[str, Any]


def random_batches(
    obs_dim: int = 3,
    act_dim: int = 2,
    count: int = 1,
    batch: int = 5,
    seed: int = 0,
    dtype: Any = np.float32,
    reward_std: float = 1.0,
) -> Batches:
    """Batches of normal observations and rewards, actions in (-1, 1), some terminal."""
    rng = np.random.default_rng(seed)
    ongoing = rng.random((count, batch)) >= 0.3
    found = {
        "obs": rng.standard_normal((count, batch, obs_dim)),
        "action": np.tanh(rng.standard_normal((count, batch, act_dim))),
        "reward": reward_std * rng.standard_normal((count, batch)),
        "discount": 0.99 * ongoing,
        "next_obs": rng.standard_normal((count, batch, obs_dim)),
        "noise": rng.standard_normal((count, 2, batch, act_dim)),
    }
    return {name: values.astype(dtype) for name, values in found.items()}


def numbered(start: int, stop: int, obs_dim: int = 2, act_dim: int = 1) -> Batches:
    """Transitions numbered from `start` + 1, with the number in every field but `terminated`."""
    number = np.arange(start + 1, stop + 1)
    found: Batches = {"terminated": np.zeros(len(number), np.bool_)}
    for name, field in transition_fields(obs_dim, act_dim).items():
        if name not in found:
            shape = (len(number), *(1 for _ in field.shape))
            found[name] = np.broadcast_to(number.reshape(shape), (len(number), *field.shape)).astype(
                field.dtype
            )
    return found


def replay_buffer(capacity: int, obs_dim: int = 2, act_dim: int = 1, **config: Any) -> ReplayBuffer:
    """An empty replay buffer with the sampler of that configuration."""
    sampler, fields = make_sampler(SACConfig(**config)), transition_fields(obs_dim, act_dim)
    return ReplayBuffer(HostStorage([fields[name] for name in sampler.stored_fields], capacity), sampler)


def joined(parts: list[Batches]) -> Batches:
    """The columns of several steps, one after the other."""
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def rows_of(transitions: Batches, env: int) -> Batches:
    """The rows of one environment."""
    mine = transitions["env"] == env
    return {name: column[mine] for name, column in transitions.items()}


class Learner:
    """An agent with the engine that updates it, as a run has them."""

    def __init__(self, agent: Agent, engine: Any) -> None:
        self.agent, self.engine, self.ac = agent, engine, agent.ac
        self.act, self.state_dict, self.load_state_dict = agent.act, agent.state_dict, agent.load_state_dict

    def update(self, batches: Batches) -> dict[str, Any]:
        """One gradient step per batch."""
        return self.engine.update(self.agent, batches)


def make_agent(ac: nn.Module, config: SACConfig, action_space: Any) -> tuple[Agent, Any, tuple[str, ...]]:
    """An agent that saves nothing, its objective, and the fields of its batches."""
    variant = choose_variant(config, action_space)
    agent = Agent(
        ac,
        update_options(variant, config, action_space),
        critics=config.critics,
        has_value=variant.has_value,
        make_policy=variant.make_policy,
        seed=config.seed,
        save=lambda ac, path: None,
        target_networks=config.target_networks,
        hold_noise=held_noise_arguments(variant, config, ac, action_space),
    )
    objective = make_objective(variant, config)
    return agent, objective, (*make_sampler(config).batch_fields, *objective.noise_fields())


def make(
    ac: nn.Module,
    engine: str = "eager",
    act_dim: int = 2,
    action_space: Any = None,
    threads: int = 1,
    **changes: Any,
) -> Any:
    """A Learner over `ac` with that engine; "tf1" keeps `ac` equal to its graph."""
    if engine == "tf1":
        return importlib.import_module("graphs").Mirror(ac, act_dim, **changes)
    config = SACConfig(**{"batch_size": 5, **changes})
    space = Box(-1.0, 1.0, (act_dim,), np.float32) if action_space is None else action_space
    agent, objective, fields = make_agent(ac, config, space)
    return Learner(agent, choose_engine(engine, agent, objective, fields, threads=threads)[0])
