"""SACConfig: every hyperparameter of a run, validated once."""

from __future__ import annotations

import contextlib
import dataclasses
import difflib
import math
import operator
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from spinup.errors import ConfigError

ENV_WORKERS = ("sync", "async")


@dataclass(frozen=True)
class SACConfig:
    """Hyperparameters of one run; field names are the documented parameter names.

    Raises:
        ConfigError: naming the first invalid field, and what is valid.
    """

    seed: int = 0  # seed of every random generator of the run, below 2**63
    steps_per_epoch: int = 4000  # env interactions per epoch, over all envs
    epochs: int = 100  # epochs to train
    replay_size: int = 1_000_000  # transitions the replay buffer holds
    gamma: float = 0.99  # discount factor, in [0, 1]
    polyak: float = 0.995  # target <- polyak * target + (1 - polyak) * online, in [0, 1]
    lr: float = 1e-3  # Adam's learning rate, for policy, critics and alpha
    alpha: float | str = 0.2  # entropy coefficient; "auto" or "auto_<start>" learns it
    batch_size: int = 100  # transitions per gradient step
    start_steps: int = 10_000  # first actions, drawn uniformly
    update_after: int = 1000  # env interactions before the first gradient step
    update_every: int = 50  # env interactions between blocks of gradient steps
    num_test_episodes: int = 10  # deterministic test episodes per epoch
    max_ep_len: int = 1000  # longest episode; a longer one is cut there and bootstraps
    save_freq: int = 1  # epochs between two saves of the model
    target_entropy: float | str = "auto"  # for a learned alpha; "auto" is -act_dim, or 0.3 log n (discrete)
    engine: str = "auto"  # eager, native, compile, cuda_graph; auto: native where supported, else eager
    device: str = "auto"  # "cpu", "cuda" or "cuda:<i>"; "auto" is cuda where there is one
    num_envs: int = 1  # environments stepped together
    env_workers: str = "sync"  # "sync": in this process; "async": a process per environment
    env_timeout: float = 60.0  # seconds an async environment may take for one step or reset
    updates_per_step: float = 1.0  # gradient steps per env interaction
    threads: int | str = "auto"  # torch threads during the run
    variant: str = "sac"  # "sac", or "sac_v1" with a value network (Haarnoja 2018a)
    n_step: int = 1  # longest window of rewards that a target sums
    critics: int = 2  # number of critics
    target_critics: int = 2  # critics, drawn at random for each batch, whose minimum forms the target
    test_every: int | str = "epoch"  # env steps between tests, or "epoch": at the end of each
    callback_every: int = 0  # env steps between calls of the callback within an epoch; 0 is never
    keep_checkpoints: int | str = 0  # newest numbered models kept beside model.pt, model<epoch>.pt; or "all"
    video_every: int = 0  # epochs between videos of a test episode; 0 is never
    checkpoint_every: int | str = "epoch"  # "epoch", or env steps between checkpoints; 0 is never
    checkpoint_minutes: float = 10.0  # minutes between checkpoints; 0 is never

    def __post_init__(self) -> None:
        numbers: dict[str, float] = {name: _whole(name, getattr(self, name), 1) for name in _POSITIVE_INTS}
        numbers |= {name: _whole(name, getattr(self, name), 0) for name in _COUNTS}
        numbers["seed"] = _whole("seed", self.seed, 0, below=63)
        for name in ("gamma", "polyak"):
            numbers[name] = _real(name, getattr(self, name), 0.0, 1.0)
        for name in ("lr", "updates_per_step", "env_timeout"):
            numbers[name] = _real(name, getattr(self, name), 0.0, math.inf, open_low=True)
        numbers["checkpoint_minutes"] = _real("checkpoint_minutes", self.checkpoint_minutes, 0.0, math.inf)
        check_choice("env_workers", self.env_workers, ENV_WORKERS)
        for name, value in {**numbers, **self._checked_alpha(), **self._checked_words()}.items():
            object.__setattr__(self, name, value)  # NumPy scalars become Python's
        self._check_counts()

    @property
    def learns_alpha(self) -> bool:
        """Whether alpha is adjusted during the run."""
        return isinstance(self.alpha, str)

    @property
    def initial_alpha(self) -> float:
        """Alpha at the first update: its value, the number in "auto_<start>", or 1."""
        if isinstance(self.alpha, str):
            return float(self.alpha[5:] or 1.0)
        return self.alpha

    @property
    def total_steps(self) -> int:
        """Env interactions of the whole run."""
        return self.epochs * self.steps_per_epoch

    @property
    def total_updates(self) -> int:
        """Gradient steps of the whole run."""
        before = self._first_block - self.update_every
        last = max(self.total_steps // self.update_every * self.update_every, before)
        return math.floor(last * self.updates_per_step) - math.floor(before * self.updates_per_step)

    @property
    def _first_block(self) -> int:
        """The env interaction at which the first block of gradient steps is due."""
        return max(math.ceil(self.update_after / self.update_every), 1) * self.update_every

    def warnings(self) -> list[str]:
        """A line about each combination of values that is valid but hardly meant."""
        lines = []
        if not self.total_updates:
            remedy = f"raise updates_per_step={self.updates_per_step:g}"
            if self.total_steps < self._first_block:
                remedy = f"lower update_after={self.update_after} or update_every={self.update_every}"
            lines.append(
                f"this run makes no update in its {self.total_steps} env interactions: {remedy}, or give "
                "more epochs"
            )
        if self.replay_size < self.batch_size:
            lines.append(
                f"replay_size={self.replay_size} is below batch_size={self.batch_size}: every batch repeats "
                "transitions; raise replay_size"
            )
        return lines

    def updates_due(self, n: int) -> int:
        """Gradient steps due at env interaction n, from 1.

        With `updates_per_step` = 1 this is `update_every` at each multiple of it from
        `update_after` on. Fractions of a step carry over to the next block without state.
        """
        if n % self.update_every or n < self.update_after:
            return 0
        ratio = self.updates_per_step
        return math.floor(n * ratio) - math.floor((n - self.update_every) * ratio)

    def _checked_alpha(self) -> dict[str, float]:
        numbers = {}
        if isinstance(self.alpha, str):
            if not re.fullmatch(r"auto(_\d+(\.\d*)?(e-?\d+)?)?", self.alpha) or not (
                0 < self.initial_alpha < math.inf
            ):
                raise ConfigError(f"alpha={self.alpha!r}: give a number >= 0, 'auto', or 'auto_0.1'")
        else:
            numbers["alpha"] = _real("alpha", self.alpha, 0.0, math.inf)
        if not _is_word(self.target_entropy, "auto"):
            numbers["target_entropy"] = _real(
                "target_entropy", self.target_entropy, -math.inf, math.inf, words="'auto' or "
            )
            if not self.learns_alpha:
                raise ConfigError(
                    f"target_entropy={self.target_entropy} has no effect with a fixed alpha={self.alpha}: "
                    "give alpha='auto', or leave target_entropy out"
                )
        return numbers

    def _checked_words(self) -> dict[str, int | str]:
        # A bound, since the system ends a process that asks for too many threads.
        numbers = {"threads": count_or_auto("threads", self.threads, below=10)}
        if not _is_word(self.checkpoint_every, "epoch"):
            every = _whole("checkpoint_every", self.checkpoint_every, 0, words="'epoch' or ")
            numbers["checkpoint_every"] = every
        for name, word, low in (("test_every", "epoch", 1), ("keep_checkpoints", "all", 0)):
            if not _is_word(getattr(self, name), word):
                numbers[name] = _whole(name, getattr(self, name), low, words=f"{word!r} or ")
        if not isinstance(self.device, str) or not re.fullmatch(r"auto|cpu|cuda(:\d+)?", self.device):
            raise ConfigError(f"device={self.device!r}: give 'auto', 'cpu', 'cuda' or 'cuda:<index>'")
        return numbers

    def _check_counts(self) -> None:
        if self.steps_per_epoch % self.num_envs:
            fits = self.steps_per_epoch // self.num_envs * self.num_envs or self.num_envs
            raise ConfigError(
                f"num_envs={self.num_envs} must divide steps_per_epoch={self.steps_per_epoch}: "
                f"steps_per_epoch={fits} would do"
            )
        if self.target_critics > self.critics:
            raise ConfigError(
                f"target_critics={self.target_critics} of critics={self.critics}: give at most as many as "
                "there are critics"
            )


_POSITIVE_INTS = (
    "steps_per_epoch", "epochs", "replay_size", "batch_size", "update_every", "max_ep_len", "save_freq",
    "num_envs", "n_step", "critics", "target_critics",
)  # fmt: skip
_COUNTS = ("start_steps", "update_after", "num_test_episodes", "callback_every", "video_every")


def nearest(word: str, known: tuple[str, ...] | list[str]) -> str:
    """The hint ", did you mean 'x'?" for the known word closest to `word`, or an empty string."""
    # Cut, since the time grows with the square of the length.
    close = difflib.get_close_matches(word[:100], known, n=1)
    return f", did you mean {close[0]!r}?" if close else ""


def count_or_auto(name: str, value: Any, below: int | None = None) -> int | str:
    """A whole number >= 1, and < 2**below if given, as Python's own int, or the word "auto".

    Raises:
        ConfigError: if the value is neither.
    """
    return "auto" if _is_word(value, "auto") else _whole(name, value, 1, "'auto' or ", below)


# Parameters of Stable-Baselines3 and of Spinning Up's scripts, in terms of ours.
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
        name: of the parameter.
        value: a value given for it, also as text, which the hint converts where that takes arithmetic.
    """
    if name not in _OTHER_NAMES:
        return ""
    hint = f": {name} is {_OTHER_NAMES[name]} here"
    if name == "tau":
        with contextlib.suppress(TypeError, ValueError, OverflowError):
            hint += f", tau={float(value):g} is polyak={1 - float(value):g}"
    return hint


def field_defaults() -> dict[str, Any]:
    """Each field of SACConfig with its default."""
    return {field.name: field.default for field in dataclasses.fields(SACConfig)}


def check_ac_kwargs(ac_kwargs: Any) -> None:
    """Check the arguments of the default networks of both backends.

    Raises:
        ConfigError: if `ac_kwargs` is not a dict, or its hidden_sizes are not a list of whole numbers.
    """
    if not isinstance(ac_kwargs, dict):
        raise ConfigError(f"ac_kwargs={ac_kwargs!r}: give a dict, such as dict(hidden_sizes=[256, 256])")
    sizes = ac_kwargs.get("hidden_sizes", ())
    is_list = isinstance(sizes, Sequence) and not isinstance(sizes, (str, bytes))
    if not is_list or any(_index(size) is None or size < 1 for size in sizes):
        raise ConfigError(
            f"hidden_sizes={sizes!r}: give a list of whole numbers >= 1, one per layer, such as [64, 64]"
        )


def _is_word(value: Any, word: str) -> bool:
    return isinstance(value, str) and value == word


def _index(value: Any) -> int | None:
    """A whole number as Python's own int, None for anything else."""
    if isinstance(value, bool):
        return None
    try:
        return operator.index(value)
    except TypeError:
        return None


def _whole(name: str, value: Any, low: int, words: str = "", below: int | None = None) -> int:
    number = _index(value)
    if number is None or number < low or (below is not None and number >= 2**below):
        bound = "" if below is None else f" and < 2**{below}"
        raise ConfigError(f"{name}={value!r}: give {words}a whole number >= {low}{bound}")
    return number


def _real(
    name: str, value: Any, low: float, high: float, *, open_low: bool = False, words: str = ""
) -> float:
    if _is_finite(value) and low <= value <= high and not (open_low and value == low):
        return float(value)
    if high < math.inf:
        wanted = f"a number from {low:g} to {high:g}"
    elif low == -math.inf:
        wanted = "a number"
    else:
        wanted = f"a number {'>' if open_low else '>='} {low:g}"
    raise ConfigError(f"{name}={value!r}: give {words}{wanted}")


def _is_finite(value: Any) -> bool:
    if isinstance(value, (bool, str, bytes)) or not hasattr(value, "__float__"):
        return False
    try:
        return math.isfinite(value)
    except (OverflowError, TypeError, ValueError):  # an int beyond float64's range, an array of several
        return False


def check_choice(name: str, value: Any, choices: tuple[str, ...]) -> None:
    """Check a field whose value is one of some words.

    Raises:
        ConfigError: naming the field, the words and the nearest one.
    """
    if value not in choices:
        hint = nearest(str(value), choices)
        raise ConfigError(f"{name}={value!r}: give one of {', '.join(choices)}{hint}")
