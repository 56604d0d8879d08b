"""Hints for messages about unknown names: the closest known name, or the name used here for a parameter."""

from __future__ import annotations

import contextlib
import difflib
from typing import Any


def nearest(word: str, known: tuple[str, ...] | list[str]) -> str:
    """The hint ", did you mean 'x'?" for the known word closest to `word`, or an empty string."""
    # Truncated, since the matching time is quadratic in the length.
    close = difflib.get_close_matches(word[:100], known, n=1)
    return f", did you mean {close[0]!r}?" if close else ""


# Parameters of other libraries and their equivalents here. Stable-Baselines3, and Spinning Up's scripts:
_OTHER_NAMES = {
    "learning_rate": "lr", "buffer_size": "replay_size", "learning_starts": "start_steps and update_after",
    "tau": "1 - polyak", "ent_coef": "alpha", "train_freq": "update_every",
    "gradient_steps": "updates_per_step * update_every", "total_timesteps": "epochs * steps_per_epoch",
    "eval_freq": "test_every", "n_eval_episodes": "num_test_episodes", "n_envs": "num_envs",
    "max_episode_steps": "max_ep_len", "policy_kwargs": "ac_kwargs", "net_arch": "hidden_sizes in ac_kwargs",
    "activation_fn": "activation in ac_kwargs", "n_critics": "critics", "policy": "actor_critic",
    "env": "env_fn", "env_id": "env_fn", "tensorboard_log": "output_dir in logger_kwargs",
    "verbose": "quiet in logger_kwargs", "l": "the number of sizes in hidden_sizes",
    # CleanRL
    "policy_lr": "lr", "q_lr": "lr", "policy_frequency": "policy_delay", "autotune": "alpha='auto'",
    "capture_video": "video_every", "cuda": "device",
    # RLlib
    "actor_lr": "lr", "critic_lr": "lr", "alpha_lr": "lr", "initial_alpha": "alpha='auto_<initial alpha>'",
    "train_batch_size_per_learner": "batch_size", "train_batch_size": "batch_size",
    "num_steps_sampled_before_learning_starts": "update_after", "num_env_runners": "collectors",
    "training_intensity": "updates_per_step * batch_size", "num_envs_per_env_runner": "num_envs",
    "fcnet_hiddens": "hidden_sizes in ac_kwargs",
}  # fmt: skip


def renamed_argument(name: str, value: Any = None) -> str:
    """The hint ": tau is 1 - polyak here" for a name that other libraries use, or an empty string.

    Args:
        name: the parameter's name.
        value: the value given for it, as a number or text; the hint for tau also shows it converted.
    """
    here = _OTHER_NAMES.get(name.replace("-", "_"))
    if here is None:
        return ""
    hint = f": {name} is {here} here"
    if name == "tau":
        with contextlib.suppress(TypeError, ValueError, OverflowError):
            hint += f", tau={float(value):g} is polyak={1 - float(value):g}"
    return hint
