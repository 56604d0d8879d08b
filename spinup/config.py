"""SACConfig: every hyperparameter of a run, validated once."""

from __future__ import annotations

import dataclasses
import math
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

from spinup.checks import (
    as_whole,
    check_betas,
    check_choice,
    check_count_or_auto,
    check_real,
    check_switch,
    check_whole,
    is_word,
)
from spinup.errors import ConfigError

BUILT_IN_VARIANTS = ("sac", "sac_v1")  # values of `variant` besides those of `register_variant`
# Fields that accept a fixed set of strings.
CHOICES = {
    "env_workers": ("sync", "async"),
    "critic": ("scalar", "categorical", "quantile"),
    "policy_q": ("auto", "min", "mean"),
    "alpha_loss": ("alpha", "log_alpha"),
    "lr_schedule": ("constant", "linear", "cosine"),
    "sampler": ("uniform", "per", "her"),
    "collect": ("async", "lockstep"),
}
# Fields that have an effect only with one value of another field.
_ONLY_WITH = {
    "atoms": ("critic", "categorical"), "value_bound": ("critic", "categorical"),
    "quantiles": ("critic", "quantile"), "drop_quantiles": ("critic", "quantile"),
    "priority_exponent": ("sampler", "per"), "priority_beta": ("sampler", "per"),
    "priority_beta_updates": ("sampler", "per"), "her_k": ("sampler", "her"),
    "polyak": ("target_networks", True),
}  # fmt: skip
_OF_LEARNED_ALPHA = ("target_entropy", "alpha_loss")


@dataclass(frozen=True)
class SACConfig:
    """Hyperparameters of one run; field names are the documented parameter names.

    Raises:
        ConfigError: naming the first invalid field, and what is valid.
    """

    seed: int = 0  # seed of every random generator of the run, below 2**63
    steps_per_epoch: int = 4000  # env steps per epoch, over all envs
    epochs: int = 100  # epochs to train
    replay_size: int = 1_000_000  # transitions the replay buffer holds
    gamma: float = 0.99  # discount factor, in [0, 1]
    polyak: float = 0.995  # target <- polyak * target + (1 - polyak) * online, in [0, 1]
    lr: float = 1e-3  # Adam's learning rate, for policy, critics and alpha
    alpha: float | str = 0.2  # entropy coefficient; "auto" or "auto_<start>" learns it
    batch_size: int = 100  # transitions per gradient step
    start_steps: int = 10_000  # env steps with uniformly random actions at the start
    update_after: int = 1000  # env steps before the first gradient step
    update_every: int = 50  # env steps between blocks of gradient steps
    num_test_episodes: int = 10  # deterministic test episodes per test
    max_ep_len: int = 1000  # steps after which an episode is truncated
    save_freq: int = 1  # epochs between two saves of the model
    target_entropy: float | str = "auto"  # "auto": -act_dim, or 0.3 log n (discrete); "auto_0.5": half that
    alpha_loss: str = "alpha"  # factor in the loss of a learned alpha: "alpha" or "log_alpha"
    engine: str = "auto"  # eager, native, compile, cuda_graph; auto: native where supported, else eager
    device: str = "auto"  # "cpu", "cuda" or "cuda:<i>"; "auto" is cuda if available
    num_envs: int = 1  # environments stepped together (in each collector)
    env_workers: str = "sync"  # "sync": in this process; "async": a process per environment
    env_timeout: float = 60.0  # seconds an async environment may take for one step or reset
    updates_per_step: float = 1.0  # gradient steps per env step
    threads: int | str = "auto"  # CPU threads of an update; "auto": one for torch, up to two for native
    variant: str = "sac"  # "sac", "sac_v1" with a value network (Haarnoja 2018a), or your own, "module:name"
    n_step: int = 1  # rewards summed in a target (n-step returns)
    critics: int = 2  # number of critics
    target_critics: int = 2  # critics that form a target, drawn at random per batch if not all
    policy_q: str = "auto"  # what the policy maximizes: "min" or "mean" of all critics, or "auto"
    critic: str = "scalar"  # "scalar", "categorical" (C51) or "quantile" (TQC): output of a critic
    atoms: int = 101  # categorical: number of values of the distribution
    value_bound: float = 5.0  # categorical: the values range from -value_bound to value_bound
    quantiles: int = 25  # quantile: number of quantiles of each critic
    drop_quantiles: int = 2  # quantile: largest quantiles dropped from the target, per critic
    target_networks: bool = True  # False: no target networks; one joint pass of the critics (CrossQ)
    reward_scale: float = 1.0  # multiplies the rewards of every batch
    policy_delay: int = 1  # gradient steps per update of the policy and alpha
    actor_first: bool = False  # update the policy before the critics in each gradient step
    betas: tuple[float, float] = (0.9, 0.999)  # Adam's decay rates
    weight_decay: float = 0.0  # decoupled weight decay (AdamW) of policy and critics
    lr_schedule: str = "constant"  # "constant", "linear" or "cosine", from lr to lr_end over the run
    lr_end: float = 0.0  # final learning rate of a schedule
    normalize_weights: bool = False  # scale each row of the weights to norm 1 after each gradient step
    hold_noise: int = 1  # maximum steps for which a draw of exploration noise is kept; 1: new in each step
    recipe: str | None = None  # a named set of settings; see `spinup recipes`
    critic_keys: tuple[str, ...] = ()  # keys of a Dict observation that only the critics receive, as a,b
    random_shift: int = 4  # maximum random shift of images in a batch, in pixels (DrQ); 0 is off
    normalize_observations: bool = False  # scale observations by their running mean and variance
    normalize_rewards: bool = False  # divide rewards by the running std of the discounted return
    sampler: str = "uniform"  # "uniform", "per" (by TD error) or "her" (hindsight goals)
    priority_exponent: float = 0.6  # per: exponent of the priorities, from 0 (uniform) to 1
    priority_beta: float = 0.4  # per: exponent of the importance weights at the start, rising to 1
    priority_beta_updates: int = 100_000  # per: gradient steps until that exponent is 1
    her_k: int = 4  # her: relabeled transitions for each one that keeps its goal
    prior_data: str | None = None  # Minari dataset or run folder whose transitions join the batches
    prior_fraction: float = 0.5  # share of each batch that is prior data, in [0, 1)
    offline: bool = False  # learn only from prior_data, without environment steps
    test_every: int | str = "epoch"  # env steps between tests, or "epoch": at the end of each
    callback_every: int = 0  # env steps between calls of the callback within an epoch; 0 is never
    keep_checkpoints: int | str = 0  # newest model<epoch>.pt files to keep: a number, or "all"
    video_every: int = 0  # epochs between videos of a test episode; 0 is never
    collectors: int | None = None  # processes on Ray that step environments; None steps them in this one
    collect: str = "async"  # "lockstep": collectors step together, like local environments
    max_staleness: int = 1000  # async: maximum gradient steps between a policy and storing its transitions
    ray: str | None = None  # address of the Ray cluster of the collectors; None or "local" starts one here
    checkpoint_every: int | str = "epoch"  # "epoch", or env steps between checkpoints; 0 is never
    checkpoint_minutes: float = 10.0  # minutes between checkpoints; 0 is never

    def __post_init__(self) -> None:
        numbers: dict[str, float] = {
            name: check_whole(name, getattr(self, name), 1) for name in _POSITIVE_INTS
        }
        numbers |= {name: check_whole(name, getattr(self, name), 0) for name in _COUNTS}
        numbers["seed"] = check_whole("seed", self.seed, 0, below=63)
        for name in ("gamma", "polyak", "priority_exponent", "priority_beta"):
            numbers[name] = check_real(name, getattr(self, name), 0.0, 1.0)
        words = "offline=True to learn from prior data alone, or "
        numbers["prior_fraction"] = check_real(
            "prior_fraction", self.prior_fraction, 0.0, 1.0, open_high=True, words=words
        )
        for name in ("lr", "updates_per_step", "env_timeout", "value_bound", "reward_scale"):
            numbers[name] = check_real(name, getattr(self, name), 0.0, math.inf, open_low=True)
        for name in ("checkpoint_minutes", "weight_decay", "lr_end"):
            numbers[name] = check_real(name, getattr(self, name), 0.0, math.inf)
        if self.recipe is not None and not isinstance(self.recipe, str):
            raise ConfigError(
                f"recipe={self.recipe!r}: give the name of a recipe, as `spinup recipes` lists them"
            )
        for name, choices in CHOICES.items():
            check_choice(name, getattr(self, name), choices)
        for name in _SWITCHES:
            check_switch(name, getattr(self, name))
        object.__setattr__(self, "betas", check_betas(self.betas))
        for name, value in {**numbers, **self._checked_alpha(), **self._checked_words()}.items():
            object.__setattr__(self, name, value)  # NumPy scalars become Python's
        self._check_counts()
        self._check_unused()
        self._check_data()

    @classmethod
    def from_settings(cls, settings: Mapping[str, Any]) -> Self:
        """The configuration with those entries of `settings` that are fields, and defaults for the others."""
        return cls(**{name: settings[name] for name in field_defaults() if name in settings})

    @property
    def learns_alpha(self) -> bool:
        """Whether alpha is adjusted during the run."""
        return isinstance(self.alpha, str)

    @property
    def initial_alpha(self) -> float:
        """Alpha at the first update: the fixed value, the number in "auto_<start>", or 1 for "auto"."""
        if isinstance(self.alpha, str):
            return float(self.alpha[5:] or 1.0)
        return self.alpha

    @property
    def target_entropy_factor(self) -> float:
        """Factor of the automatic target entropy: the number in "auto_<factor>", or 1 for "auto"."""
        return float(str(self.target_entropy)[5:] or 1.0)

    @property
    def total_steps(self) -> int:
        """Env interactions of the whole run."""
        return self.epochs * self.steps_per_epoch

    @property
    def total_updates(self) -> int:
        """Gradient steps of the whole run."""
        return self.updates_by(self.total_steps)

    @property
    def total_envs(self) -> int:
        """Number of training environments, over all collectors."""
        return self.num_envs * (self.collectors or 1)

    def updates_by(self, n: int) -> int:
        """Gradient steps due up to env step n: the sum of `updates_due` over 1 to n."""
        before = self.first_block - self.update_every
        last = max(n // self.update_every * self.update_every, before)
        return math.floor(last * self.updates_per_step) - math.floor(before * self.updates_per_step)

    @property
    def first_block(self) -> int:
        """The env step at which the first block of gradient steps is due."""
        return max(math.ceil(self._updates_from / self.update_every), 1) * self.update_every

    @property
    def _updates_from(self) -> int:
        """`update_after`, or 0 for an offline run, whose data is complete from the start."""
        return 0 if self.offline else self.update_after

    def warnings(self) -> list[str]:
        """One line for each combination of values that is valid, but probably not intended."""
        lines = []
        if not self.total_updates:
            remedy = f"raise updates_per_step={self.updates_per_step:g}"
            if self.total_steps < self.first_block:
                remedy = f"lower update_after={self.update_after} or update_every={self.update_every}"
            lines.append(
                f"this run makes no update in its {self.total_steps} env steps: {remedy}, or give more epochs"
            )
        if self.replay_size < self.batch_size:
            lines.append(
                f"replay_size={self.replay_size} is below batch_size={self.batch_size}: every batch repeats "
                "transitions; raise replay_size"
            )
        if self.critic == "categorical" and self.reward_scale == 1.0 and not self.normalize_rewards:
            lines.append(
                f"critic='categorical' has values in [-{self.value_bound:g}, {self.value_bound:g}], and "
                "rewards are not scaled: give normalize_rewards=True, or a reward_scale or value_bound such "
                "that discounted returns are in this range"
            )
        return lines

    def updates_due(self, n: int) -> int:
        """Gradient steps due at env step n, counted from 1.

        With `updates_per_step` = 1, `update_every` steps are due at each multiple of `update_every` from
        `update_after` on. With a fraction, the remainder of a block is carried over to the next one.
        """
        return self.updates_by(n) - self.updates_by(n - 1)

    def _checked_alpha(self) -> dict[str, float]:
        numbers = {}
        if isinstance(self.alpha, str):
            if not re.fullmatch(r"auto(_\d+(\.\d*)?(e-?\d+)?)?", self.alpha) or not (
                0 < self.initial_alpha < math.inf
            ):
                raise ConfigError(f"alpha={self.alpha!r}: give a number >= 0, 'auto', or 'auto_0.1'")
        else:
            numbers["alpha"] = check_real("alpha", self.alpha, 0.0, math.inf)
        if isinstance(self.target_entropy, str):
            if not re.fullmatch(r"auto(_\d+(\.\d*)?(e-?\d+)?)?", self.target_entropy):
                raise ConfigError(
                    f"target_entropy={self.target_entropy!r}: give 'auto' or a number, or 'auto_0.5' for "
                    "half of the automatic one"
                )
        else:
            numbers["target_entropy"] = check_real(
                "target_entropy", self.target_entropy, -math.inf, math.inf, words="'auto' or "
            )
        for name in _OF_LEARNED_ALPHA:
            if getattr(self, name) != field_defaults()[name] and not self.learns_alpha:
                raise ConfigError(
                    f"{name}={getattr(self, name)} has no effect with a fixed alpha={self.alpha}: "
                    f"give alpha='auto', or leave {name} out"
                )
        return numbers

    def _checked_words(self) -> dict[str, int | str]:
        # Bounded, since the operating system kills a process that starts too many threads.
        numbers = {"threads": check_count_or_auto("threads", self.threads, below=10)}
        if isinstance(self.variant, str):  # without the module that registers it, see `register_variant`
            numbers["variant"] = self.variant.rpartition(":")[2]
        if self.collectors is not None:
            numbers["collectors"] = check_whole("collectors", self.collectors, 1, below=20)
        if self.ray is not None and not (isinstance(self.ray, str) and self.ray.isprintable() and self.ray):
            raise ConfigError(f"ray={self.ray!r}: give the address of a Ray cluster, 'auto', or 'local'")
        if not is_word(self.checkpoint_every, "epoch"):
            every = check_whole("checkpoint_every", self.checkpoint_every, 0, words="'epoch' or ")
            numbers["checkpoint_every"] = every
        for name, word, low in (("test_every", "epoch", 1), ("keep_checkpoints", "all", 0)):
            if not is_word(getattr(self, name), word):
                numbers[name] = check_whole(name, getattr(self, name), low, words=f"{word!r} or ")
        if not isinstance(self.device, str) or not re.fullmatch(r"auto|cpu|cuda(:\d+)?", self.device):
            raise ConfigError(f"device={self.device!r}: give 'auto', 'cpu', 'cuda' or 'cuda:<index>'")
        return numbers

    def _check_counts(self) -> None:
        together = self.num_envs if self.collectors is None else self.total_envs
        if self.steps_per_epoch % together and (self.collectors is None or self.collect == "lockstep"):
            fits = self.steps_per_epoch // together * together or together
            raise ConfigError(
                f"{self._envs_given()} must divide steps_per_epoch={self.steps_per_epoch}: "
                f"give steps_per_epoch={fits}"
            )
        self._check_collectors()
        if self.target_critics > self.critics:
            raise ConfigError(
                f"target_critics={self.target_critics} exceeds critics={self.critics}: give at most "
                f"{self.critics}"
            )
        if self.critic == "quantile" and self.policy_q == "min":
            raise ConfigError(
                "policy_q='min' with critic='quantile', whose policy maximizes the mean of all quantiles: "
                "leave policy_q out"
            )
        if self.critic == "quantile" and self.drop_quantiles >= self.quantiles:
            raise ConfigError(
                f"drop_quantiles={self.drop_quantiles} of quantiles={self.quantiles}: keep at least one"
            )
        if self.critic == "categorical" and self.atoms < 2:
            raise ConfigError(f"atoms={self.atoms}: give at least 2")

    def _check_unused(self) -> None:
        for name, (other, value) in _ONLY_WITH.items():
            if getattr(self, other) != value and getattr(self, name) != field_defaults()[name]:
                raise ConfigError(
                    f"{name}={getattr(self, name)} has no effect with {other}={getattr(self, other)!r}: give "
                    f"{other}={value!r}, or leave {name} out"
                )
        if self.lr_schedule == "constant" and self.lr_end:
            raise ConfigError(
                f"lr_end={self.lr_end} has no effect with lr_schedule='constant': give lr_schedule='linear' "
                "or 'cosine', or leave lr_end out"
            )

    def _check_data(self) -> None:
        keys = (self.critic_keys,) if isinstance(self.critic_keys, str) else self.critic_keys
        if not isinstance(keys, (tuple, list)) or not all(isinstance(key, str) for key in keys):
            raise ConfigError(f"critic_keys={keys!r}: give a tuple of keys, such as ('state',)")
        object.__setattr__(self, "critic_keys", tuple(keys))
        if self.prior_data is not None:
            if not isinstance(self.prior_data, (str, os.PathLike)):
                raise ConfigError(
                    f"prior_data={self.prior_data!r}: give the id or folder of a Minari dataset, or a run's "
                    "folder"
                )
            object.__setattr__(self, "prior_data", os.fspath(self.prior_data))
        if self.offline and self.prior_data is None:
            raise ConfigError("offline=True: give prior_data, the transitions to learn from")
        self._check_prior_fraction()
        if self.sampler != "uniform" and self.prior_data is not None:
            raise ConfigError(
                f"sampler={self.sampler!r} cannot be combined with prior_data, which is sampled uniformly: "
                "leave one of them out"
            )
        if self.sampler == "her" and self.n_step > 1:
            raise ConfigError(
                f"n_step={self.n_step} cannot be combined with sampler='her', whose goals hold for one step: "
                "leave n_step out"
            )

    def _check_prior_fraction(self) -> None:
        fraction = self.prior_fraction
        if fraction != field_defaults()["prior_fraction"] and (self.prior_data is None or self.offline):
            why = "without prior_data" if self.prior_data is None else "with offline=True, where it is 1"
            raise ConfigError(f"prior_fraction={fraction} has no effect {why}: leave it out")
        if not fraction or self.prior_data is None or self.offline:
            return
        rounded = round(fraction * self.batch_size)
        if rounded in (0, self.batch_size):
            found, remedy = ("no transition", "a larger") if not rounded else ("the whole batch", "a smaller")
            raise ConfigError(
                f"prior_fraction={fraction} of batch_size={self.batch_size} rounds to {found}: "
                f"give {remedy} fraction, or {'offline=True' if rounded else '0'}"
            )

    def _envs_given(self) -> str:
        product = "" if self.collectors is None else f"collectors={self.collectors} times "
        return f"{product}num_envs={self.num_envs}"

    def _check_collectors(self) -> None:
        if self.collectors is None:
            for name in ("collect", "max_staleness", "ray"):
                value = getattr(self, name)
                if value != field_defaults()[name]:
                    raise ConfigError(
                        f"{name}={value!r} has no effect without collectors: give their number, such as "
                        f"collectors=8, or leave {name} out"
                    )
            return
        if self.offline:
            raise ConfigError(
                f"collectors={self.collectors}: offline=True takes no steps; leave collectors out"
            )
        for name in ("normalize_observations", "hold_noise"):
            value = getattr(self, name)
            if self.collect == "async" and value != field_defaults()[name]:
                raise ConfigError(
                    f"{name}={value} is not supported with collect='async', whose collectors have only the "
                    f"policy's networks: give collect='lockstep', or leave {name} out"
                )
        least = math.ceil(self.updates_per_step * (self.total_envs + self.update_every))
        if self.collect == "async" and self.max_staleness < least:
            raise ConfigError(
                f"max_staleness={self.max_staleness} is less than the gradient steps for one step of "
                f"{self._envs_given()} plus a block of update_every={self.update_every}: give at least "
                f"max_staleness={least}"
            )


_POSITIVE_INTS = (
    "steps_per_epoch", "epochs", "replay_size", "batch_size", "update_every", "max_ep_len", "save_freq",
    "num_envs", "n_step", "critics", "target_critics", "atoms", "quantiles", "policy_delay", "hold_noise",
    "priority_beta_updates", "her_k", "max_staleness",
)  # fmt: skip
_SWITCHES = (
    "target_networks", "actor_first", "normalize_weights", "normalize_observations", "normalize_rewards",
    "offline",
)  # fmt: skip
_COUNTS = (
    "start_steps", "update_after", "num_test_episodes", "drop_quantiles", "callback_every", "video_every",
    "random_shift",
)  # fmt: skip


def field_defaults() -> dict[str, Any]:
    """Each field of SACConfig with its default."""
    return {field.name: field.default for field in dataclasses.fields(SACConfig)}


def has_no_effect(name: str, settings: Mapping[str, Any]) -> bool:
    """Whether the setting `name` has no effect with these settings, and defaults for those not given."""
    settings = {**field_defaults(), **settings}
    if name in _ONLY_WITH:
        other, value = _ONLY_WITH[name]
        return bool(settings[other] != value)
    if name in _OF_LEARNED_ALPHA:
        return not isinstance(settings["alpha"], str)
    return name == "lr_end" and settings["lr_schedule"] == "constant"


def check_ac_kwargs(ac_kwargs: Any) -> None:
    """Check those arguments of the default networks that both backends have.

    Raises:
        ConfigError: if `ac_kwargs` is not a dict, or hidden sizes are not lists of whole numbers >= 1.
    """
    if not isinstance(ac_kwargs, dict):
        raise ConfigError(f"ac_kwargs={ac_kwargs!r}: give a dict, such as dict(hidden_sizes=[256, 256])")
    for name in ("hidden_sizes", "critic_hidden_sizes"):
        sizes = ac_kwargs.get(name, ())
        if name == "critic_hidden_sizes" and sizes is None:
            continue
        is_list = isinstance(sizes, Sequence) and not isinstance(sizes, (str, bytes))
        if not is_list or any(as_whole(size) is None or size < 1 for size in sizes):
            raise ConfigError(
                f"{name}={sizes!r}: give a list of whole numbers >= 1, one per layer, such as [64, 64]"
            )
