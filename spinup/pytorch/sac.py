"""`sac_pytorch`: the documented training function, which builds the parts of a run."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from functools import partial
from typing import Any

import torch
from torch import nn

from spinup.checks import check_choice, check_logger_kwargs
from spinup.collect.collector import EnvCollector
from spinup.collect.transport import Transport
from spinup.config import BUILT_IN_VARIANTS, SACConfig
from spinup.envs.make import EnvFn
from spinup.playback.recorder import Recorder
from spinup.playback.viewer import use_offscreen_gl
from spinup.pytorch.agent import Agent
from spinup.pytorch.diagnostics import NetworkDiagnostics, preserved_buffers
from spinup.pytorch.engines.registry import ENGINES, choose_engine
from spinup.pytorch.make_networks import BuiltNetworks, make_networks
from spinup.pytorch.make_replay import make_normalizer, make_replay
from spinup.pytorch.model_file import load_warnings, qualified_name, save_model
from spinup.pytorch.networks.actor_critic import MLPActorCritic
from spinup.pytorch.networks.normalized import NormalizedActorCritic
from spinup.pytorch.objective_check import check_objective
from spinup.pytorch.remote_policy import policy_source
from spinup.pytorch.torch_settings import (
    choose_device,
    preserved_generators,
    threads_note,
    torch_settings,
)
from spinup.pytorch.variants.register import check_variant
from spinup.pytorch.variants.registry import (
    Variant,
    choose_variant,
    held_noise_arguments,
    make_objective,
    own_options,
    update_options,
)
from spinup.recipes import recipe_warnings
from spinup.replay.normalizer import Normalizer
from spinup.runs.cores import thread_count
from spinup.runs.launch import RunParts, TrainingCall, launch, training_function
from spinup.runs.resuming import keep_choices, previous_choices


def check_choices(settings: Mapping[str, Any]) -> None:
    """Check the arguments whose values the registries of engines and variants define.

    The module in variant="module:name" is imported.

    Raises:
        ConfigError: naming the argument and its possible values.
    """
    check_choice("engine", settings.get("engine", "auto"), ("auto", *ENGINES))
    check_variant(settings.get("variant", "sac"))


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
    alpha_loss: str = "alpha",
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
    policy_q: str = "auto",
    critic: str = "scalar",
    atoms: int = 101,
    value_bound: float = 5.0,
    quantiles: int = 25,
    drop_quantiles: int = 2,
    target_networks: bool = True,
    reward_scale: float = 1.0,
    policy_delay: int = 1,
    actor_first: bool = False,
    betas: tuple[float, float] = (0.9, 0.999),
    weight_decay: float = 0.0,
    lr_schedule: str = "constant",
    lr_end: float = 0.0,
    normalize_weights: bool = False,
    hold_noise: int = 1,
    recipe: str | None = None,
    critic_keys: tuple[str, ...] = (),
    random_shift: int = 4,
    normalize_observations: bool = False,
    normalize_rewards: bool = False,
    sampler: str = "uniform",
    priority_exponent: float = 0.6,
    priority_beta: float = 0.4,
    priority_beta_updates: int = 100_000,
    her_k: int = 4,
    prior_data: str | None = None,
    prior_fraction: float = 0.5,
    offline: bool = False,
    collectors: int | None = None,
    collect: str = "async",
    max_staleness: int = 1000,
    ray: str | None = None,
    transport: Transport | None = None,
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

            | call                            | returns                    | what                            |
            |---------------------------------|----------------------------|---------------------------------|
            | `act(obs, deterministic=False)` | array (batch, act_dim)     | actions for observations        |
            | `pi(obs)`                       | (batch, act_dim), (batch,) | actions and their log pi        |
            | `q1(obs, a)`, `q2(obs, a)`      | (batch,)                   | values; flat, never (batch, 1)  |

            where pi, q1 and q2 are Modules themselves, and gradients flow through both results of pi. The
            constructor receives flat float32 spaces. A `pi` that takes the keyword `noise`, (batch, act_dim)
            standard normal, receives noise from the run's generator; any other draws from torch's global
            generator, which is seeded for the run. Parameters that pi shares with the critics are trained by
            the critics' loss.
            For Discrete action spaces, see `DiscreteMLPActorCritic` for the protocol; it is the default.
        ac_kwargs: keyword arguments for `actor_critic`.
        seed: seed of every random generator of the run.
        steps_per_epoch: env steps per epoch.
        epochs: epochs to train.
        replay_size: transitions that the replay buffer holds.
        gamma: discount factor, in [0, 1].
        polyak: targets <- polyak * targets + (1 - polyak) * online, in [0, 1].
        lr: Adam's learning rate, for policy, critics and alpha.
        alpha: entropy coefficient; or "auto", or "auto_0.1" with that start, to learn it such that the
            policy's entropy meets `target_entropy` (Haarnoja et al. 2018b, section 5).
        batch_size: transitions per gradient step.
        start_steps: number of initial actions, sampled uniformly from the action space.
        update_after: env steps before the first gradient step.
        update_every: env steps between blocks of gradient steps; a block has `update_every` *
            `updates_per_step` gradient steps.
        num_test_episodes: episodes of the deterministic policy in each test.
        max_ep_len: maximum episode length in steps; an episode truncated there is not terminal.
        logger_kwargs: keyword arguments for EpochLogger, see `setup_logger_kwargs`.
        save_freq: epochs between saves of the model.
        target_entropy: nats, in tanh space; "auto" is -act_dim, or 0.3 log n for n discrete actions, and
            "auto_0.5" half of that.
        alpha_loss: factor in the loss of a learned alpha: "alpha", as in Haarnoja et al. (2018b), or
            "log_alpha", as in many implementations; see docs/recipes.md.
        engine: implementation of the update; every engine computes the same update. "eager" is plain autograd
            for any actor-critic; "native" is machine code for the default networks; "auto" is "native" if it
            supports the run and a C++ compiler is installed, else "eager". See docs/engines.md.
        device: "cpu", "cuda", `"cuda:<index>"`; "auto" is cuda if it is available.
        num_envs: environments stepped together; must divide `steps_per_epoch`. With `collectors`, the
            number in each.
        env_workers: "sync" steps all environments in this process, "async" each one in its own process.
        env_timeout: seconds that an async environment may take for a step or a reset.
        updates_per_step: gradient steps per env step, independent of `num_envs`.
        threads: number of threads, for torch and for the native engine. "auto" is 1 for torch, and 2 for the
            native engine if this process may use two cores.
        variant: "sac", or "sac_v1", the older one with a value network (Haarnoja et al. 2018a), for which
            an actor-critic must also have a Module `v`: `v(obs)` returns (batch,). See docs/variants.md. Or a
            name given to `spinup.register_variant`; "module:name" imports the module first.
        n_step: maximum number of rewards that a target sums before it bootstraps; see docs/variants.md.
        critics: number of critics. If it is not 2, a custom `actor_critic` must accept it as the keyword
            `critics`, and have q1, q2, q3, ...
        target_critics: number of critics whose minimum forms the target. If it is less than `critics`, they
            are drawn at random for each batch (Chen et al. 2021).
        policy_q: the value that the policy maximizes: the "min" or the "mean" of all critics. "auto" is
            "mean" if `target_critics` is less than `critics` or critics have quantiles, else "min".
        critic: output of a critic: "scalar", a value; "categorical", a distribution over equally spaced atoms
            (C51); "quantile", quantiles of the return (TQC). See docs/recipes.md.
        atoms: number of atoms of a categorical critic.
        value_bound: the atoms of a categorical critic span [-value_bound, value_bound].
        quantiles: number of quantiles of a quantile critic. The target pools those of `target_critics`
            critics.
        drop_quantiles: number of quantiles to drop per critic, the largest of the pooled target.
        target_networks: False lets the critics compute their own targets, in one joint pass (CrossQ).
        reward_scale: multiplies the rewards of every batch. With categorical critics, choose it such that
            returns are within `value_bound`.
        policy_delay: gradient steps per update of the policy and alpha.
        actor_first: whether to update the policy and alpha before the critics instead of after them.
        betas: Adam's decay rates of its first and second moment.
        weight_decay: decoupled weight decay of policy and critics (AdamW).
        lr_schedule: "constant", or "linear" or "cosine" from `lr` to `lr_end` over the planned updates.
        lr_end: the final learning rate of a schedule.
        normalize_weights: scale each row of the weights of linear layers to norm 1 after each gradient step.
        hold_noise: maximum number of steps that exploration noise is held. The number is random: k steps with
            probability proportional to k^-2.
        recipe: a named set of these and other settings, see `spinup recipes` and docs/recipes.md. Other
            arguments, including entries of `ac_kwargs`, override those of the recipe.
        critic_keys: keys of a Dict observation that only the critics receive; the saved policy does not
            need them.
        random_shift: maximum number of pixels by which each image of a batch is shifted at random (DrQ,
            Kostrikov et al. 2021); 0 switches it off. See docs/images.md.
        normalize_observations: scale observations to mean 0 and variance 1 by running statistics. The
            returned and saved actor-critics contain the statistics and take raw observations. See
            docs/data.md.
        normalize_rewards: divide rewards by the running standard deviation of the discounted return. Returns
            in the log are raw, losses and values are scaled.
        sampler: which transitions form a batch: "uniform"; "per", prioritized by TD error (Schaul et al.
            2016); or "her", with goals replaced by what was achieved later (Andrychowicz et al. 2017), for
            environments with the keys observation, achieved_goal and desired_goal, and `compute_reward`.
        priority_exponent: for "per": a in P(i) ~ |TD error|^a, in [0, 1]; 0 is uniform.
        priority_beta: for "per": exponent of the importance weights at the first gradient step, in [0, 1].
        priority_beta_updates: for "per": gradient steps until that exponent is 1.
        her_k: for "her": relabeled transitions for each one that keeps its goal.
        prior_data: id or folder of a Minari dataset, or the folder of another run, whose transitions are
            learned from too (RLPD, Ball et al. 2023).
        prior_fraction: share of each batch that is prior data, in [0, 1).
        offline: learn only from `prior_data`. The environment is used only for tests; epochs count gradient
            steps.
        collectors: number of processes on a Ray cluster (extra `ray`) that step environments; None steps
            them in this process. See docs/scale.md.
        collect: "async": collectors act with snapshots of the policy while the learner updates. "lockstep":
            all collectors step together, with the same result as collectors * num_envs local environments.
        max_staleness: with "async", maximum number of gradient steps between the policy that collected a
            transition and the transition's admission to the replay buffer.
        ray: address of the cluster of the collectors; None or "local" starts one on this machine.
        transport: a `spinup.collect.transport.Transport` to the collectors, used instead of Ray.
        callback: called as `callback(row, ac)` after each epoch; returning False ends the run.
        callback_every: env steps between additional calls of `callback` within an epoch; their row has the
            same columns and covers the epoch so far. 0 disables these calls.
        test_every: "epoch" tests at the end of each epoch; a number is the env steps between two tests, and a
            row then holds the statistics of all tests in its epoch.
        keep_checkpoints: whenever model.pt is saved, also write `model<epoch>.pt`, and keep this many of the
            newest ones; "all" keeps all, 0 writes none.
        video_every: epochs between videos of a test episode, written to the folder `videos`; 0 records none.
        checkpoint_every: "epoch", or env steps between two checkpoints of the whole state; 0 disables them.
        checkpoint_minutes: minutes after which a further checkpoint is written if `checkpoint_every` has not
            caused one; 0 disables this.
        resume: continue the run in the folder given by `logger_kwargs` exactly where its last checkpoint was
            taken, or start a new one if the folder holds none. "again" also continues a run that its
            callback ended before the planned end. See docs/reliability.md.

    Returns:
        The trained actor-critic.

    Raises:
        ConfigError: for an invalid value, combination of values or actor-critic.
        EnvError: for an environment that SAC does not support, or that violates its declared spaces, returns
            NaN, crashes or hangs.
        RunError: if the output folder holds a run already, is in use, or cannot be resumed.
        TrainingDiverged: if a loss or a parameter becomes NaN or infinite.
        KeyboardInterrupt, SystemExit: after SIGINT, and after SIGTERM or SIGUSR1; a checkpoint is written
            first.
    """
    given = dict(locals())
    check_choices(given)
    check_logger_kwargs(logger_kwargs)
    config = SACConfig.from_settings(given)
    previous = previous_choices(logger_kwargs) if resume else {}
    config = keep_choices(config, previous)
    check_choices(vars(config))
    ac_kwargs = copy.deepcopy(ac_kwargs)
    call = TrainingCall(
        "sac_pytorch", env_fn, ac_kwargs, dict(logger_kwargs), callback, qualified_name(actor_critic), resume,
        transport,
    )  # fmt: skip
    threads = thread_count(config)
    if config.video_every:
        use_offscreen_gl()
    torch_threads = config.threads if isinstance(config.threads, int) else 1

    def build(config: SACConfig, test_collector: EnvCollector) -> RunParts:
        spaces = test_collector.observation_space, test_collector.actions.space
        device, variant = choose_device(config.device), choose_variant(config, spaces[1])
        networks = make_networks(config, variant, actor_critic, ac_kwargs, test_collector)
        normalizer = make_normalizer(config, test_collector)
        agent = _make_agent(config, variant, networks, spaces, device, normalizer)
        replay = make_replay(config, test_collector, env_fn, device, normalizer, stack)
        objective = make_objective(variant, config)
        fields = (*replay.buffer.sampler.batch_fields, *objective.noise_fields())
        engine, note = choose_engine(
            config.engine,
            agent,
            objective,
            fields,
            required=config.engine != previous.get("engine"),
            threads=threads,
        )
        choices = {"engine": engine.name, "device": str(device), **replay.choices}
        if config.variant not in BUILT_IN_VARIANTS:
            with preserved_generators(), preserved_buffers(agent):
                check_objective(objective, agent, test_collector.fields, fields)
            choices["objective"] = {"class": type(objective).__name__, **own_options(objective)}
        constructor, kwargs = networks.constructor, networks.kwargs
        env_spec = test_collector.vector.spec
        return RunParts(
            agent,
            engine,
            replay.buffer,
            agent.model,
            choices,
            notes=(note, threads_note(torch_threads, threads), *replay.notes),
            warnings=(
                *load_warnings(constructor, kwargs), *recipe_warnings(vars(config)), *replay.warnings,
            ),
            record=Recorder(env_spec, config.seed, config.max_ep_len) if config.video_every else None,
            policy=policy_source(agent, variant.make_policy, constructor, spaces, kwargs),
            diagnostics=NetworkDiagnostics(agent, objective, replay.buffer, config, spaces[1]),
        )  # fmt: skip

    with torch_settings(torch_threads, config.seed), ExitStack() as stack:
        model: nn.Module = launch(config, call, build, preserved_generators).model
        return model


def _make_agent(
    config: SACConfig,
    variant: Variant,
    networks: BuiltNetworks,
    spaces: tuple[Any, Any],
    device: torch.device,
    normalizer: Normalizer | None,
) -> Agent:
    """The agent of a run; saved models normalize observations themselves, if the run does."""
    constructor, kwargs = networks.constructor, networks.kwargs
    if config.normalize_observations:
        constructor, kwargs = NormalizedActorCritic, {"actor_critic": constructor, "ac_kwargs": kwargs}
    return Agent(
        networks.ac.to(device),
        update_options(variant, config, spaces[1]),
        critics=config.critics,
        has_value=variant.has_value,
        make_policy=variant.make_policy,
        seed=config.seed,
        target_networks=config.target_networks,
        hold_noise=held_noise_arguments(variant, config, networks.ac, spaces[1]),
        save=partial(save_model, constructor=constructor, spaces=spaces, kwargs=kwargs),
        normalizer=normalizer,
    )
