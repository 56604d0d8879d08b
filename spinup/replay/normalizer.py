"""Running statistics of observations and returns, and normalization by them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from spinup.replay.transition import Batches, Transitions

Float = NDArray[np.float32]
EPSILON = 1e-8  # added to variances, as in gymnasium.wrappers.NormalizeObservation


class RunningMoments:
    """Mean and variance of all rows so far, updated in place by the formula of Chan et al. (1979).

    Initial values are those of Gymnasium's `RunningMeanStd`: mean 0, variance 1, count 1e-4.

    Args:
        shape: shape of a row.
    """

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.mean, self.var = np.zeros(shape), np.ones(shape)
        self.count = np.array(1e-4)

    def update(self, rows: NDArray[Any]) -> None:
        """Update the statistics with rows (N, *shape), N >= 1."""
        new, before = len(rows), float(self.count)
        n = before + new
        mean = rows.sum(0, dtype=np.float64) / new
        delta = mean - self.mean
        squares = np.square(rows - mean).sum(0) + self.var * before + np.square(delta) * (before * new / n)
        self.mean += delta * (new / n)
        np.divide(squares, n, out=self.var)
        self.count[...] = n

    def state_dict(self) -> dict[str, Any]:
        """Copies of mean, variance and count, float64."""
        return {"mean": self.mean.copy(), "var": self.var.copy(), "count": self.count.copy()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore `state_dict()` in place."""
        self.mean[...], self.var[...], self.count[...] = state["mean"], state["var"], state["count"]


@final
class Normalizer:
    """Scales observations to mean 0 and variance 1, and rewards by the standard deviation of returns.

    The statistics include each observation of the run once: the first of each episode and every next
    observation, as in `gymnasium.wrappers.NormalizeObservation`. A reward is divided by sqrt(var(G) + 1e-8),
    where G_t = gamma (1 - terminated_t) G_{t-1} + r_t for each environment, as in
    `gymnasium.wrappers.NormalizeReward`; no mean is subtracted, and nothing is clipped. The replay buffer
    stores raw values, so every batch is normalized by the current statistics. With `bound`, rewards are
    divided by max |G| / bound if that is larger, so that returns stay within the bound, as in FlashSAC.

    Args:
        obs_dim: length of an observation.
        num_envs: number of environments; G is tracked for each.
        gamma: discount factor.
        observations: whether to normalize observations.
        rewards: whether to normalize rewards.
        bound: bound of normalized returns; None for no bound.
    """

    def __init__(
        self,
        obs_dim: int,
        num_envs: int,
        gamma: float,
        *,
        observations: bool,
        rewards: bool,
        bound: float | None = None,
    ) -> None:
        self.obs = RunningMoments((obs_dim,)) if observations else None
        self.returns = RunningMoments(()) if rewards else None
        self.gamma, self._return = gamma, np.zeros(num_envs)
        self.bound = bound if rewards else None
        self._largest = np.zeros(())  # largest |G| so far, if there is a bound

    def update(self, transitions: Transitions) -> None:
        """Update the statistics with new transitions, of which there may be none."""
        if not len(transitions["reward"]):  # a VectorEnv that uses a step to reset all its environments
            return
        if self.obs is not None:
            first = transitions["episode_start"]
            if first.any():
                self.obs.update(transitions["obs"][first])
            self.obs.update(transitions["next_obs"])
        if self.returns is not None:
            returns = self._returns(transitions)
            self.returns.update(returns)
            if self.bound is not None:
                np.maximum(self._largest, np.abs(returns).max(), out=self._largest)

    def update_with_data(self, transitions: Transitions) -> None:
        """Update the statistics with prior data, without changing the running returns of the run."""
        running, self._return = self._return, np.zeros(int(transitions["env"].max()) + 1)
        self.update(transitions)
        self._return = running

    def observations(self, obs: Float) -> Float:
        """Normalized observations (..., obs_dim)."""
        scaled: Float = self._scale(obs, lambda array: array)
        return scaled

    def reward_unit(self) -> float:
        """The current divisor of rewards; 1 if they are not normalized."""
        return 1.0 if self.returns is None else float(self._reward_unit(self.returns))

    def apply(self, batches: Batches, to_batch: Callable[[NDArray[Any]], Any]) -> Batches:
        """Batches with normalized obs, next_obs and reward.

        Args:
            batches: raw batches, by field.
            to_batch: converts a host array for arithmetic with batches (`Storage.to_batch`).
        """
        scaled = dict(batches)
        if self.obs is not None:
            scaled |= {name: self._scale(batches[name], to_batch) for name in ("obs", "next_obs")}
        if self.returns is not None:
            scaled["reward"] = batches["reward"] / to_batch(self._reward_unit(self.returns))
        return scaled

    def _reward_unit(self, returns: RunningMoments) -> NDArray[np.float32]:
        """The divisor of rewards, 0-dim."""
        unit = _std(returns)
        if self.bound is not None:
            unit = np.maximum(unit, self._largest / self.bound)
        return np.asarray(unit, np.float32)  # np.maximum makes a NumPy scalar of 0-dim arrays

    def state_dict(self) -> dict[str, Any]:
        """The statistics and the running returns, as arrays."""
        kept = {"obs": self.obs, "returns": self.returns}
        return {
            "return": self._return.copy(),
            **({} if self.bound is None else {"largest": self._largest.copy()}),
            **{name: moments.state_dict() for name, moments in kept.items() if moments is not None},
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore `state_dict()`, in place."""
        self._return[...] = state["return"]
        if self.bound is not None:
            self._largest[...] = state["largest"]
        if self.obs is not None:
            self.obs.load_state_dict(state["obs"])
        if self.returns is not None:
            self.returns.load_state_dict(state["returns"])

    def _scale(self, obs: Any, to_batch: Callable[[NDArray[Any]], Any]) -> Any:
        if self.obs is None:
            return obs
        scaled = (obs - to_batch(self.obs.mean)) / to_batch(_std(self.obs))
        return scaled.astype(np.float32) if isinstance(scaled, np.ndarray) else scaled.float()

    def _returns(self, transitions: Transitions) -> NDArray[np.float64]:
        """The discounted return of each row's environment after that row."""
        columns = (transitions[name].tolist() for name in ("env", "reward", "terminated"))
        found = np.empty(len(transitions["reward"]))
        for i, (env, reward, terminated) in enumerate(zip(*columns, strict=True)):
            self._return[env] = found[i] = self.gamma * (1 - terminated) * self._return[env] + reward
        return found


def _std(moments: RunningMoments) -> NDArray[np.float64]:
    return np.asarray(np.sqrt(moments.var + EPSILON))
