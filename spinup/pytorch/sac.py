"""sac_pytorch: the documented call. Signature, docstring, wiring."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

from torch import nn

from spinup.collect.collector import EnvCollector
from spinup.config import SACConfig, check_choice, field_defaults
from spinup.envs.make import EnvFn
from spinup.playback.recorder import Recorder
from spinup.playback.viewer import use_offscreen_gl
from spinup.pytorch.agent import Agent
from spinup.pytorch.device_storage import make_storage
from spinup.pytorch.engines.registry import ENGINES, choose_engine
from spinup.pytorch.model_file import load_warnings, qualified_name, save_as
from spinup.pytorch.networks.actor_critic import MLPActorCritic
from spinup.pytorch.torch_settings import (
    choose_device,
    preserved_generators,
    threads_note,
    torch_settings,
)
from spinup.pytorch.validation import check_actor_critic
from spinup.pytorch.variants.registry import (
    VARIANTS,
    build_actor_critic,
    choose_variant,
    make_objective,
    update_options,
)
from spinup.replay.buffer import ReplayBuffer
from spinup.replay.samplers import make_sampler
from spinup.runs.cores import thread_count
from spinup.runs.launch import Backend, Request, launch, training_function
from spinup.runs.resuming import keep_choices, previous_choices


def check_choices(config: SACConfig) -> None:
    """Check the fields whose values the registries of engines and variants define.

    Raises:
        ConfigError: naming the field and its possible values.
    """
    check_choice("engine", config.engine, ("auto", *ENGINES))
    check_choice("variant", config.variant, tuple(dict.fromkeys(v.selected_by for v in VARIANTS)))


@training_function
def sac_pytorch(
    env_fn: EnvFn | str,
    actor_critic: Callable[..., Any] = MLPActorCritic,
    ac_kwargs: dict[str, Any] = dict(),
    seed: int = 0,
    steps_per_epoch: int = 4000,
    epochs: int = 100,
    replay_size: int = 1_000_000,
    gamma: float = 0.99,
    polyak: float = 0.995,
    lr: float = 1e-3,
    alpha: float | str = 0.2,
    batch_size: int = 100,
    start_steps: int = 10000,
    update_after: int = 1000,
    update_every: int = 50,
    num_test_episodes: int = 10,
    max_ep_len: int = 1000,
    logger_kwargs: dict[str, Any] = dict(),
    save_freq: int = 1,
    *,
    target_entropy: float | str = "auto",
    engine: str = "auto",
    device: str = "auto",
    num_envs: int = 1,
    env_workers: str = "sync",
    env_timeout: float = 60.0,
    updates_per_step: float = 1.0,
    threads: int | str = "auto",
    variant: str = "sac",
    n_step: int = 1,
    critics: int = 2,
    target_critics: int = 2,
    callback: Callable[[dict[str, Any], nn.Module], Any] | None = None,
    callback_every: int = 0,
    test_every: int | str = "epoch",
    keep_checkpoints: int | str = 0,
    video_every: int = 0,
    checkpoint_every: int | str = "epoch",
    checkpoint_minutes: float = 10.0,
    resume: bool | str = False,
) -> nn.Module:
    """Soft Actor-Critic (Haarnoja et al. 2018), as Spinning Up documents it.

    Args:
        env_fn: a function that returns a new environment (Gymnasium >= 1.0), or an environment id.
        actor_critic: constructor `actor_critic(observation_space, action_space, **ac_kwargs)` of a
            torch.nn.Module with

            ======================  =====================  ==========================================
            call                    returns                what
            ======================  =====================  ==========================================
            act(obs,                numpy (batch,          actions for a batch of observations
            deterministic=False)    act_dim)
            pi(obs)                 (batch, act_dim),      actions and log pi of them, through both of
                                    (batch,)               which gradients flow
            q1(obs, a), q2(obs, a)  (batch,)               values; flat, never (batch, 1)
            ======================  =====================  ==========================================

            where pi, q1 and q2 are Modules themselves. It receives flat float32 spaces. A `pi` that
            takes the keyword `noise`, (batch, act_dim) standard normal, receives the run's own noise;
            any other draws from torch's global generator, which is seeded for the run. Parameters
            that pi shares with the critics are trained by the critics' loss. Where the action space is
            Discrete, the protocol and the default are those of `DiscreteMLPActorCritic`.
        ac_kwargs: keyword arguments for `actor_critic`.
        seed: seed of every random generator of the run.
        steps_per_epoch: env interactions per epoch.
        epochs: epochs to train.
        replay_size: transitions that the replay buffer holds.
        gamma: discount factor, in [0, 1].
        polyak: targets <- polyak * targets + (1 - polyak) * online, in [0, 1].
        lr: Adam's learning rate, for policy, critics and alpha.
        alpha: entropy coefficient; or "auto", or "auto_0.1" with that start, to learn it such that the
            policy's entropy meets `target_entropy` (Haarnoja et al. 2018b, section 5).
        batch_size: transitions per gradient step.
        start_steps: first actions, drawn uniformly from the action space.
        update_after: env interactions before the first gradient step.
        update_every: env interactions between blocks of as many gradient steps.
        num_test_episodes: episodes of the deterministic policy at the end of each epoch.
        max_ep_len: longest episode; one cut there is not terminal.
        logger_kwargs: keyword arguments for EpochLogger, see `setup_logger_kwargs`.
        save_freq: epochs between saves of the model.
        target_entropy: nats, in tanh space; "auto" is -act_dim, or 0.3 log n for n discrete actions.
        engine: how an update is computed, never what: "eager" is plain autograd for any actor-critic;
            "native" is machine code for the default networks; "auto" is "native" where it supports the
            run and a C++ compiler is installed, else "eager". See docs/engines.md.
        device: "cpu", "cuda", "cuda:<index>"; "auto" is cuda where there is one.
        num_envs: environments stepped together; must divide `steps_per_epoch`.
        env_workers: "sync", all in this process, or "async", a process per environment.
        env_timeout: seconds that an async environment may take for a step or a reset.
        updates_per_step: gradient steps per env interaction, whatever `num_envs` is.
        threads: threads of the run. "auto" is one for torch, and two for the native engine where this
            process may use two cores; a number holds for both.
        variant: "sac", or "sac_v1", the older one with a value network (Haarnoja et al. 2018a), for which
            an actor-critic has the Module `v` besides: `v(obs)` returns (batch,). See docs/variants.md.
        n_step: longest window of rewards that a target sums before it bootstraps; see docs/variants.md.
        critics: number of critics. An `actor_critic` of your own takes it as the keyword `critics` if it
            is not 2, and offers q1, q2, q3, ...
        target_critics: number of critics, drawn at random for each batch, whose minimum forms the target.
            If it is less than `critics`, the policy maximizes the mean of all (Chen et al. 2021).
        callback: called as `callback(row, ac)` after each epoch; returning False ends the run.
        callback_every: env steps between further calls within an epoch, whose row has the same columns, of
            the epoch so far; 0 is never.
        test_every: "epoch", at the end of each, or env steps between two tests. A row then holds the
            statistics of the tests in its epoch.
        keep_checkpoints: whenever model.pt is saved, also write model<epoch>.pt, and keep as many of these
            as this says, the newest, or "all".
        video_every: epochs between videos of a test episode, written to the folder `videos`; 0 is never.
        checkpoint_every: "epoch", or env steps between two checkpoints of everything; 0 is never.
        checkpoint_minutes: minutes between two checkpoints, whatever the steps; 0 is never.
        resume: continue the run that the folder in `logger_kwargs` holds, exactly where its last
            checkpoint was taken; a folder that holds none gets a new run. "again" also continues a run that
            its callback has ended before the planned end. See docs/reliability.md.

    Returns:
        The trained actor-critic.

    Raises:
        ConfigError: for a value, combination or actor-critic that cannot work.
        EnvError: for an environment that SAC cannot work with, or that returns what it must not.
        RunError: if the output folder holds a run already, is in use, or cannot be resumed.
        TrainingDiverged: if a loss or a parameter becomes NaN or infinite.
        KeyboardInterrupt, SystemExit: after SIGINT, or SIGTERM and SIGUSR1, with a checkpoint.
    """
    given = dict(locals())
    config = SACConfig(**{name: given[name] for name in field_defaults() if name in given})
    previous = previous_choices(logger_kwargs) if resume else {}
    config = keep_choices(config, previous)
    check_choices(config)
    ac_kwargs = copy.deepcopy(ac_kwargs)
    request = Request(
        "sac_pytorch", env_fn, ac_kwargs, dict(logger_kwargs), callback, qualified_name(actor_critic), resume
    )
    threads = thread_count(config)
    if config.video_every:
        use_offscreen_gl()
    torch_threads = config.threads if isinstance(config.threads, int) else 1

    def build(collector: EnvCollector) -> Backend:
        spaces = collector.observation_space, collector.actions.space
        device = choose_device(config.device)
        variant = choose_variant(config, spaces[1])
        ac, constructor, kwargs = build_actor_critic(variant, actor_critic, spaces, ac_kwargs, config.critics)
        with preserved_generators():
            check_actor_critic(ac, *spaces, critics=config.critics, has_value=variant.has_value)
        agent = Agent(
            ac.to(device),
            update_options(variant, config, spaces[1]),
            critics=config.critics,
            has_value=variant.has_value,
            make_policy=variant.make_policy,
            seed=config.seed,
            save=save_as(constructor, spaces, kwargs),
        )
        objective, sampler = make_objective(variant, config), make_sampler(config)
        fields = (*sampler.batch_fields, *objective.noise_fields())
        engine, note = choose_engine(
            config.engine,
            agent,
            objective,
            fields,
            config.batch_size,
            required=config.engine != previous.get("engine"),
            threads=threads,
        )
        capacity = min(config.replay_size, config.total_steps)
        storage = make_storage([collector.fields[name] for name in sampler.stored_fields], capacity, device)
        choices = {"engine": engine.name, "device": str(device)}
        notes, warnings = (note, threads_note(torch_threads, threads)), load_warnings(constructor, kwargs)
        replay = ReplayBuffer(storage, sampler)
        record = (
            Recorder(collector.vector.spec, config.seed, config.max_ep_len) if config.video_every else None
        )
        return Backend(agent, engine, replay, ac, choices, notes, warnings, record)

    with torch_settings(torch_threads, config.seed):
        model: nn.Module = launch(config, request, build, preserved_generators).model
        return model
