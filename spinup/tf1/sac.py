"""`sac_tf1`: the documented training function on TensorFlow graphs, which builds the parts of a run."""

from __future__ import annotations

import copy
import os
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

from gymnasium.spaces import Box

from spinup.checks import check_logger_kwargs
from spinup.collect.collector import EnvCollector
from spinup.config import SACConfig, check_ac_kwargs
from spinup.envs.make import EnvFn
from spinup.errors import EnvError
from spinup.loggers.tf_saver import import_tf
from spinup.replay.buffer import ReplayBuffer
from spinup.replay.registry import make_sampler
from spinup.replay.storage import HostStorage
from spinup.runs.cores import thread_count
from spinup.runs.launch import RunParts, TrainingCall, launch, training_function
from spinup.runs.resuming import keep_choices, previous_choices
from spinup.tf1.networks import mlp_actor_critic


@training_function
def sac_tf1(
    env_fn: EnvFn | str,
    actor_critic: Callable[..., Any] = mlp_actor_critic,
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
    num_envs: int = 1,
    env_workers: str = "sync",
    env_timeout: float = 60.0,
    updates_per_step: float = 1.0,
    threads: int | str = "auto",
    n_step: int = 1,
    callback: Callable[[dict[str, Any], Any], Any] | None = None,
    checkpoint_every: int | str = "epoch",
    checkpoint_minutes: float = 10.0,
    resume: bool = False,
) -> str | None:
    """Soft Actor-Critic (Haarnoja et al. 2018), as Spinning Up documents it, on a TensorFlow graph.

    It computes the same updates as `sac_pytorch`, on the CPU, and takes some of its arguments. Arguments that
    are not described here are described there.

    Args:
        actor_critic: a function `actor_critic(x, a, action_space=..., **ac_kwargs)` of tensors, x
            (batch, obs_dim) and a (batch, act_dim), that returns

            | tensor     | shape            | what                                      |
            |------------|------------------|-------------------------------------------|
            | `mu`       | (batch, act_dim) | deterministic actions for x               |
            | `pi`       | (batch, act_dim) | sampled actions for x, differentiable     |
            | `logp_pi`  | (batch,)         | log pi of them, differentiable            |
            | `q1`, `q2` | (batch,)         | values of x and a; flat, never (batch, 1) |

            It must create its variables by `tf.get_variable` in variable scopes named pi, q1 and q2, and is
            called several times with the same variables. A function with a parameter `noise` receives
            standard normal noise from the run's generator, (batch, act_dim), or None if it must draw noise
            itself. Any other function draws noise in the graph with the graph's seed; a resumed run then
            continues with different noise.
        threads: number of TensorFlow threads; "auto" is 2 if this process may use two cores, else 1.
            TensorFlow sets the size of its thread pool once per process, for the first session.
        callback: called as `callback(row, learner)` after each epoch, where `learner.act(obs,
            deterministic)` returns actions and `learner.session` is the session; returning False ends
            the run.

    Returns:
        The folder of the saved graph, for `restore_tf_graph`; None if it could not be written.

    Raises:
        MissingExtraError: if TensorFlow is not installed.
        ConfigError: for an invalid value, combination of values or graph function.
        EnvError: for an environment that SAC does not support, or that violates its declared spaces, returns
            NaN, crashes or hangs.
        RunError: if the output folder holds a run already, is in use, or cannot be resumed.
        TrainingDiverged: if a loss or a parameter becomes NaN or infinite.
        KeyboardInterrupt, SystemExit: after SIGINT, and after SIGTERM or SIGUSR1; a checkpoint is written
            first.
    """
    given = dict(locals())
    check_logger_kwargs(logger_kwargs)
    config = SACConfig.from_settings(given)
    if resume:
        config = keep_choices(config, previous_choices(logger_kwargs))
    if actor_critic is mlp_actor_critic:
        check_ac_kwargs(ac_kwargs)
    ac_kwargs = copy.deepcopy(ac_kwargs)
    name = "" if actor_critic is mlp_actor_critic else _name(actor_critic)
    call = TrainingCall("sac_tf1", env_fn, ac_kwargs, dict(logger_kwargs), callback, name, resume)
    import_tf()
    from spinup.tf1.agent import GraphAgent
    from spinup.tf1.engine import GraphEngine

    threads = thread_count(config)

    with ExitStack() as stack:

        def build(config: SACConfig, test_collector: EnvCollector) -> RunParts:
            spaces = test_collector.observation_space, test_collector.actions.space
            if test_collector.layout is not None:
                raise EnvError(
                    "the observations have images, and sac_tf1 takes vectors: sac_pytorch takes both"
                )
            if not isinstance(spaces[1], Box):
                raise EnvError(
                    f"action space {spaces[1]} is discrete, and sac_tf1 acts on a Box: sac_pytorch takes both"
                )
            obs_dim = spaces[0].shape[0]
            agent = GraphAgent(actor_critic, obs_dim, spaces[1], ac_kwargs, config, threads=threads)
            stack.callback(agent.close)
            engine = GraphEngine(agent, config.batch_size, config.polyak)
            sampler = make_sampler(config)
            capacity = min(config.replay_size, config.total_steps)
            storage = HostStorage([test_collector.fields[name] for name in sampler.stored_fields], capacity)
            choices = {"device": "cpu", "threads": threads}
            notes = ("engine: TensorFlow graph, a block of updates per run",)
            return RunParts(agent, engine, ReplayBuffer(storage, sampler), agent, choices, notes)

        return _saved(launch(config, call, build).model, logger_kwargs)


def _name(actor_critic: Any) -> str:
    named = actor_critic if hasattr(actor_critic, "__qualname__") else type(actor_critic)
    return f"{named.__module__}.{named.__qualname__}"


def _saved(agent: Any, logger_kwargs: dict[str, Any]) -> str | None:
    """The folder of the saved graph, also for a finished run that was resumed without more epochs."""
    if agent.saved is not None:
        return str(agent.saved)
    before = os.path.join(logger_kwargs.get("output_dir") or "", "tf1_save")
    return before if os.path.isdir(before) else None
