"""SACConfig: every hyperparameter of a run, validated once, at the door."""

from __future__ import annotations

import dataclasses
import difflib
import math
import re
from dataclasses import dataclass
from typing import Any

from spinup.errors import ConfigError

ENGINES = ("auto", "eager", "fused", "compile", "cuda_graph")
VARIANTS = ("sac", "sac_v1")
ENV_WORKERS = ("sync", "async")


@dataclass(frozen=True)
class SACConfig:
    """Hyperparameters of one run; field names are the documented parameter names.

    Raises:
        ConfigError: naming the first field whose value cannot work, and what would.
    """

    seed: int = 0  # seed of every random generator of the run
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
    max_ep_len: int = 1000  # longest episode; a longer one is cut, and bootstraps
    save_freq: int = 1  # epochs between two saves of the model
    target_entropy: float | str = "auto"  # for a learned alpha; "auto" is minus act_dim
    engine: str = "auto"  # how an update is computed; see docs/engines.md
    device: str = "auto"  # "cpu", "cuda" or "cuda:<i>"; "auto" is cuda where there is one
    num_envs: int = 1  # environments stepped side by side
    env_workers: str = "sync"  # "sync": in this process; "async": a process per environment
    env_timeout: float = 60.0  # seconds an async environment may take for one step or reset
    updates_per_step: float = 1.0  # gradient steps per env interaction
    threads: int | str = "auto"  # torch threads during the run
    variant: str = "sac"  # "sac", or "sac_v1" with a value network (Haarnoja 2018a)
    checkpoint_every: int | str = "epoch"  # "epoch", or env steps between checkpoints; 0 is never
    checkpoint_minutes: float = 10.0  # minutes between checkpoints; 0 is never

    def __post_init__(self) -> None:
        for name in _POSITIVE_INTS:
            _check_int(name, getattr(self, name), 1)
        for name in _COUNTS:
            _check_int(name, getattr(self, name), 0)
        for name in ("gamma", "polyak"):
            _check_real(name, getattr(self, name), 0.0, 1.0)
        for name in ("lr", "updates_per_step", "env_timeout"):
            _check_real(name, getattr(self, name), 0.0, math.inf, open_low=True)
        _check_real("checkpoint_minutes", self.checkpoint_minutes, 0.0, math.inf)
        _check_choice("engine", self.engine, ENGINES)
        _check_choice("variant", self.variant, VARIANTS)
        _check_choice("env_workers", self.env_workers, ENV_WORKERS)
        self._check_alpha()
        self._check_words()
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
        return float(self.alpha)

    @property
    def total_steps(self) -> int:
        """Env interactions of the whole run."""
        return self.epochs * self.steps_per_epoch

    def updates_due(self, n: int) -> int:
        """Gradient steps that fall due at env interaction n, from 1 (CONTRACT: the loop).

        With `updates_per_step` = 1 this is `update_every` at each multiple of it from
        `update_after` on. A fractional ratio is carried over exactly, without state.
        """
        if n % self.update_every or n < self.update_after:
            return 0
        ratio = self.updates_per_step
        return math.floor(n * ratio) - math.floor((n - self.update_every) * ratio)

    def _check_alpha(self) -> None:
        if isinstance(self.alpha, str):
            if not re.fullmatch(r"auto(_\d+(\.\d*)?(e-?\d+)?)?", self.alpha) or not (
                0 < self.initial_alpha < math.inf
            ):
                raise ConfigError(f"alpha={self.alpha!r}: give a number >= 0, 'auto', or 'auto_0.1'")
        else:
            _check_real("alpha", self.alpha, 0.0, math.inf)
        if self.target_entropy != "auto":
            _check_real("target_entropy", self.target_entropy, -math.inf, math.inf, words="'auto' or ")
            if not self.learns_alpha:
                raise ConfigError(
                    f"target_entropy={self.target_entropy} has no effect with a fixed alpha={self.alpha}: "
                    "give alpha='auto', or leave target_entropy out"
                )

    def _check_words(self) -> None:
        if self.threads != "auto":
            _check_int("threads", self.threads, 1, words="'auto' or ")
        if self.checkpoint_every != "epoch":
            _check_int("checkpoint_every", self.checkpoint_every, 0, words="'epoch' or ")
        if not isinstance(self.device, str) or not re.fullmatch(r"auto|cpu|cuda(:\d+)?", self.device):
            raise ConfigError(f"device={self.device!r}: give 'auto', 'cpu', 'cuda' or 'cuda:<index>'")

    def _check_counts(self) -> None:
        if self.steps_per_epoch % self.num_envs:
            fits = self.steps_per_epoch // self.num_envs * self.num_envs or self.num_envs
            raise ConfigError(
                f"num_envs={self.num_envs} must divide steps_per_epoch={self.steps_per_epoch}: "
                f"steps_per_epoch={fits} would do"
            )


_POSITIVE_INTS = (
    "steps_per_epoch", "epochs", "replay_size", "batch_size", "update_every", "max_ep_len", "save_freq",
    "num_envs",
)  # fmt: skip
_COUNTS = ("seed", "start_steps", "update_after", "num_test_episodes")


def nearest(word: str, known: tuple[str, ...] | list[str]) -> str:
    """The hint ", did you mean 'x'?" for the known word closest to `word`, or an empty string."""
    close = difflib.get_close_matches(word, known, n=1)
    return f", did you mean {close[0]!r}?" if close else ""


def field_defaults() -> dict[str, Any]:
    """Each field of SACConfig with its default."""
    return {field.name: field.default for field in dataclasses.fields(SACConfig)}


def _check_int(name: str, value: Any, low: int, words: str = "") -> None:
    if isinstance(value, bool) or not hasattr(value, "__index__") or value < low:
        raise ConfigError(f"{name}={value!r}: give {words}a whole number >= {low}")


def _check_real(
    name: str, value: Any, low: float, high: float, *, open_low: bool = False, words: str = ""
) -> None:
    if _is_finite(value) and low <= value <= high and not (open_low and value == low):
        return
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
    except OverflowError:  # an int beyond the floats
        return False


def _check_choice(name: str, value: Any, choices: tuple[str, ...]) -> None:
    if value not in choices:
        hint = nearest(str(value), choices)
        raise ConfigError(f"{name}={value!r}: give one of {', '.join(choices)}{hint}")
