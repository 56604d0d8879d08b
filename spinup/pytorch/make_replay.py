"""Builds the replay buffer of a run from its configuration: storage, sampler, prior data and normalizer."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any, NamedTuple

import gymnasium as gym
import torch

from spinup.collect.collector import EnvCollector
from spinup.config import SACConfig, field_defaults
from spinup.envs.goals import goals_of
from spinup.envs.make import EnvFn, env_function
from spinup.errors import ConfigError, EnvError
from spinup.pytorch.device_storage import make_storage
from spinup.replay.buffer import ReplayBuffer
from spinup.replay.frames import FrameStorage
from spinup.replay.hindsight import Goals
from spinup.replay.normalizer import Normalizer
from spinup.replay.prior import MixedSampler
from spinup.replay.random_shift import RandomShift
from spinup.replay.registry import make_sampler
from spinup.replay.samplers import Sampler
from spinup.runs.prior_data import read_prior_data


class Replay(NamedTuple):
    """A replay buffer, entries about its data for config.json, and notes and warnings for the log."""

    buffer: ReplayBuffer
    choices: dict[str, Any]
    notes: tuple[str, ...]
    warnings: tuple[str, ...]


def make_normalizer(config: SACConfig, collector: EnvCollector) -> Normalizer | None:
    """The normalizer for this configuration, or None.

    Raises:
        ConfigError: if observations with images are to be normalized.
    """
    if not (config.normalize_observations or config.normalize_rewards):
        return None
    if config.normalize_observations and collector.layout is not None:
        raise ConfigError(
            "normalize_observations=True applies to vectors, and the observations have images, whose pixels "
            "are scaled already: leave it out"
        )
    return Normalizer(
        collector.observation_space.shape[0],
        config.total_envs,
        config.gamma,
        observations=config.normalize_observations,
        rewards=config.normalize_rewards,
        bound=config.value_bound if config.critic == "categorical" else None,
    )


def make_replay(
    config: SACConfig,
    collector: EnvCollector,
    env_fn: EnvFn | str,
    device: torch.device,
    normalizer: Normalizer | None,
    stack: ExitStack,
) -> Replay:
    """Make an empty replay buffer, load prior data and add it to the normalizer's statistics.

    Args:
        config: the hyperparameters.
        collector: makes the transitions that will be stored.
        env_fn: for hindsight, makes an environment whose reward function is called.
        device: the agent's device, which stores the rows unless observations have images.
        normalizer: the run's normalizer, or None.
        stack: closes the environment of `env_fn` at its exit.

    Raises:
        ConfigError: for prior data that cannot be used, a buffer that does not fit in memory, or
            `random_shift` without images.
        EnvError: for hindsight in an environment without goals.
    """
    layout, shift = collector.layout, config.random_shift
    if layout is None and shift != field_defaults()["random_shift"]:
        raise ConfigError(
            f"random_shift={shift} applies to images, and the observations have none: leave it out"
        )
    if layout is not None and shift >= min(min(part.pixels) for part in layout.parts if part.is_image):
        raise ConfigError(
            f"random_shift={shift} moves an image out of its frame: give a few pixels, such as 4"
        )
    goals = _goals(env_fn, stack) if config.sampler == "her" else None
    sampler: Sampler = make_sampler(config, goals)
    fields = [collector.fields[name] for name in sampler.stored_fields]
    choices: dict[str, Any] = {}
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    if config.prior_data is not None:
        prior = read_prior_data(config.prior_data, collector)
        rows = prior.transitions
        data = ReplayBuffer(make_storage(fields, len(rows["reward"]), device), make_sampler(config))
        data.append(rows)
        if normalizer is not None:
            normalizer.update_with_data(rows)
        fraction = 1.0 if config.offline else config.prior_fraction
        mixed = MixedSampler(sampler, data, fraction)
        notes = (
            f"prior data: {len(rows['reward']):,} transitions of {config.prior_data}, "
            f"{mixed.prior_count(config.batch_size)} of the {config.batch_size} in each batch",
        )
        sampler, choices, warnings = mixed, {"prior_data_checksum": prior.checksum}, prior.warnings
    scale = config.reward_scale
    # A vector environment that uses steps for resets may take more than total_steps.
    most = config.total_steps + config.total_envs - 1
    capacity = 1 if config.offline else min(config.replay_size, most)
    if layout is None:
        buffer = ReplayBuffer(make_storage(fields, capacity, device), sampler, normalizer, None, scale)
    else:
        augmentation = RandomShift(layout, shift) if shift else None
        buffer = ReplayBuffer(
            FrameStorage(fields, capacity, layout), sampler, normalizer, augmentation, scale
        )
    return Replay(buffer, choices, notes, warnings)


def _goals(env_fn: EnvFn | str, stack: ExitStack) -> Goals:
    """The goals of a new environment, which `stack` closes."""
    env = env_function(env_fn)()
    stack.callback(env.close)
    if not isinstance(env, gym.Env):
        raise EnvError(
            f"sampler='her' calls the reward function of a single environment, and env_fn returns a "
            f"{type(env).__name__}: let it return one environment and give num_envs, or leave sampler out"
        )
    return goals_of(env)
