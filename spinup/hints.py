"""Hints in messages about unknown names: the closest known name, or the equivalent of another library's."""

from __future__ import annotations

import contextlib
import difflib
from typing import Any


def nearest(word: str, known: tuple[str, ...] | list[str]) -> str:
    """The hint ", did you mean 'x'?" for the known word closest to `word`, or an empty string."""
    # Truncated, since the matching time is quadratic in the length.
    close = difflib.get_close_matches(word[:100], known, n=1)
    return f", did you mean {close[0]!r}?" if close else ""


# Parameters of Stable-Baselines3 and of Spinning Up's scripts, and their equivalents here.
_OTHER_NAMES = {
    "learning_rate": "lr", "buffer_size": "replay_size", "learning_starts": "start_steps and update_after",
    "tau": "1 - polyak", "ent_coef": "alpha", "reward_scale": "1 / alpha", "train_freq": "update_every",
    "gradient_steps": "updates_per_step * update_every", "total_timesteps": "epochs * steps_per_epoch",
    "eval_freq": "steps_per_epoch", "n_eval_episodes": "num_test_episodes", "n_envs": "num_envs",
    "max_episode_steps": "max_ep_len", "policy_kwargs": "ac_kwargs", "net_arch": "hidden_sizes in ac_kwargs",
    "activation_fn": "activation in ac_kwargs", "n_critics": "critics", "policy": "actor_critic",
    "env": "env_fn", "env_id": "env_fn", "tensorboard_log": "output_dir in logger_kwargs",
    "verbose": "quiet in logger_kwargs", "l": "the number of sizes in hidden_sizes",
}  # fmt: skip


def other_name(name: str, value: Any = None) -> str:
    """The hint ": tau is 1 - polyak here" for a name that other libraries use, or an empty string.

    Args:
        name: the parameter's name.
        value: the value given for it, as a number or text; the hint for tau also shows it converted.
    """
    if name not in _OTHER_NAMES:
        return ""
    hint = f": {name} is {_OTHER_NAMES[name]} here"
    if name == "tau":
        with contextlib.suppress(TypeError, ValueError, OverflowError):
            hint += f", tau={float(value):g} is polyak={1 - float(value):g}"
    return hint
