"""Diagnostics: quantities of an epoch that tell how learning goes, and why it fails.

They are computed outside of the engine, by plain torch on the agent's networks, with random generators of
their own: a run with them and one without have the same numbers. docs/diagnostics.md describes the columns.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from spinup.config import SACConfig
from spinup.pytorch.agent import Agent
from spinup.pytorch.engines.eager import unstacked
from spinup.pytorch.torch_settings import preserved_generators
from spinup.pytorch.variants.objective import Batch, Objective
from spinup.replay.buffer import ReplayBuffer
from spinup.replay.transition import Transitions

DIAGNOSTICS_STREAM = 6
BATCH_SIZE = 1000  # rows; more than an update's, so that shares of it have steps of 0.1%
SATURATED = 0.99  # of |tanh|: the slope of tanh is 2% there
TEST_ROWS = 1000  # of test episodes whose values are computed together
# A mean bias needs at least this many steps' worth of known return, see `TestBias`.
LEAST_WEIGHT = 1.0


@final
class Diagnostics:
    """The diagnostics of a run; implements `spinup.interfaces.Diagnostics`.

    Args:
        agent, objective: networks, and the losses whose gradients are measured.
        replay: where the batch of an epoch is drawn from, uniformly.
        config: the hyperparameters.
        space: the action space of the networks.
    """

    def __init__(
        self, agent: Agent, objective: Objective, replay: ReplayBuffer, config: SACConfig, space: Any
    ) -> None:
        self.agent, self.objective, self.replay, self.config = agent, objective, replay, config
        self._bounds: tuple[Tensor, Tensor] | None = None
        if objective.draws_actions:
            like = agent.like
            low, high = (torch.as_tensor(b).flatten().to(like) for b in (space.low, space.high))
            self._bounds = (low + high) / 2, (high - low) / 2
        self._relus = {name: relus for name, net in _parts(agent) if (relus := _relus(net))}
        self._bias = TestBias(config.gamma, self._values, self._scaled, self._best_action)
        critics: Any = agent.networks.critics
        self.columns: tuple[str, ...] = (
            *(["SaturatedActions"] if objective.draws_actions else []),
            *(f"DeadUnits{name}" for name in self._relus),
            *(["TestQVals", "TestQBias"] if config.num_test_episodes else []),
            *(["CriticSpread"] if len(critics) > 1 else []),
            "GradNormPi",
            "GradNormQ",
            *(["EntropyGap"] if agent.options.target_entropy is not None else []),
        )

    def begin_test(self) -> None:
        """Forget the rows of a test that was not finished."""
        self._bias.begin()

    def add_test_rows(self, transitions: Transitions, ended: Sequence[int]) -> None:
        """Receive one step of a test: its rows, and the environments whose episode ended with it."""
        self._bias.add(transitions, ended)

    def of_test(self) -> dict[str, float]:
        """TestQVals and TestQBias of the test whose rows were added."""
        return self._bias.result()

    def of_epoch(self, epoch: int) -> dict[str, float]:
        """The columns that a batch of the replay buffer gives; none before there is a row."""
        entropy = [self.config.seed, DIAGNOSTICS_STREAM, epoch]
        rng = np.random.default_rng(np.random.SeedSequence(entropy))
        batches = self.replay.peek(BATCH_SIZE, rng)
        if not batches:
            return {}
        batches = {**batches, **self.objective.draw_noise(batches, rng)}
        with preserved_generators(), _preserved_buffers(self.agent):
            torch.manual_seed(int(rng.integers(2**63)))
            batch = unstacked(self.agent.to_tensors(batches))[0]
            return {**self._of_networks(batch), **self._of_losses(batch)}

    @torch.no_grad()
    def _of_networks(self, batch: Batch) -> dict[str, float]:
        networks, obs, found = self.agent.networks, batch["obs"], {}
        with _outputs(self._relus) as outputs:
            if self._bounds is not None:
                action, _ = networks.actor(obs, batch["noise"][1])
                center, half_range = self._bounds
                squashed = (action - center) / half_range
                found["SaturatedActions"] = (squashed.abs() > SATURATED).double().mean().item()
            else:
                networks.actor(obs)
            q = self._taken(obs, batch["action"])
            if networks.value is not None:
                networks.value(obs)
        for name, layers in outputs.items():
            if layers:
                found[f"DeadUnits{name}"] = torch.cat([_dead(x) for x in layers]).double().mean().item()
        if len(q) > 1:
            found["CriticSpread"] = q.std(0, correction=0).mean().item()
        return found

    @torch.enable_grad()
    def _of_losses(self, batch: Batch) -> dict[str, float]:
        agent, objective = self.agent, self.objective
        alpha = agent.temperature.value()
        critic_loss, _ = objective.critic_loss(agent.networks, batch, alpha)
        found = {"GradNormQ": gradient_norm(critic_loss, agent.critic_params)}
        actor_loss, log_prob = objective.actor_loss(agent.networks, batch, alpha)
        found["GradNormPi"] = gradient_norm(actor_loss, agent.actor_params)
        if agent.options.target_entropy is not None:
            found["EntropyGap"] = -log_prob.mean().item() - agent.options.target_entropy
        return found

    def _taken(self, obs: Tensor, action: Tensor) -> Tensor:
        """The critics' values of actions, (N, B)."""
        critics = self.agent.networks.critics
        if self.objective.draws_actions:
            found: Tensor = critics(obs, action)
            return found
        q = critics(obs)
        return q.gather(-1, action.long().expand(len(q), -1, -1)).squeeze(-1)  # type: ignore[no-any-return]

    @torch.no_grad()
    def _values(self, obs: NDArray[Any], action: NDArray[Any]) -> NDArray[np.float64]:
        """The mean of the critics' values for raw observations, (B,)."""
        normalizer = self.replay.normalizer
        if normalizer is not None:
            obs = normalizer.observations(obs)
        tensors = self.agent.to_tensors({"obs": obs, "action": action})
        values: NDArray[np.float64] = (
            self._taken(tensors["obs"], tensors["action"]).mean(0).double().cpu().numpy()
        )
        return values

    def _scaled(self, reward: NDArray[Any]) -> NDArray[Any]:
        """Rewards in the unit of the critics, (B,)."""
        if self.replay.normalizer is not None:
            reward = self.replay.normalizer.rewards(reward)
        return self.config.reward_scale * reward

    def _best_action(self, obs: NDArray[Any]) -> NDArray[Any]:
        return self.agent.act(obs, True)


Values = Callable[[NDArray[Any], NDArray[Any]], NDArray[np.float64]]
Map = Callable[[NDArray[Any]], NDArray[Any]]


@final
class TestBias:
    """The mean of Q(s, a) minus the discounted return that followed, over the steps of test episodes.

    At step t of an episode of T steps, with G_t = sum_{t <= i < T} gamma^(i-t) r_i:

        e_t = Q(s_t, a_t) - G_t - w_t Q(s_T, a_T),    w_t = gamma^(T-t), or 0 if the episode terminated

    What followed a truncated episode is unknown, and the critics' own value stands in for it. If Q is too
    large by b everywhere, then e_t = b (1 - w_t); so the bias is estimated as sum e_t / sum (1 - w_t),
    where steps near a truncated end count little. Without truncation it is the plain mean of Q - G.

    Args:
        gamma: discount factor.
        values: Q of observations and actions.
        scale: rewards in the unit of Q.
        best_action: the deterministic action at observations.
    """

    __test__ = False  # no class of tests

    def __init__(self, gamma: float, values: Values, scale: Map, best_action: Map) -> None:
        self.gamma, self.values, self.scale, self.best_action = gamma, values, scale, best_action
        self.begin()

    def begin(self) -> None:
        """Forget all rows."""
        self._rows: list[Transitions] = []
        self._ended: list[tuple[int, ...]] = []
        self._open: dict[int, list[tuple[float, float]]] = {}  # (Q, reward) of episodes that run, by env
        self._waiting, self._steps = 0, 0
        self._q = self._error = self._weight = 0.0

    def add(self, transitions: Transitions, ended: Sequence[int]) -> None:
        """One row for each environment, and the environments whose episode ended."""
        names = ("obs", "action", "reward", "terminated", "env")
        rows = {name: transitions[name].copy() for name in names}
        last = np.isin(rows["env"], ended) & ~rows["terminated"]
        rows["next_obs"] = transitions["next_obs"][last]
        self._rows.append(rows)
        self._ended.append(tuple(ended))
        self._waiting += len(rows["env"])
        if self._waiting >= TEST_ROWS:
            self._flush()

    def result(self) -> dict[str, float]:
        """The mean of Q over the steps and its bias; nan where too little return is known."""
        self._flush()
        bias = self._error / self._weight if self._weight >= LEAST_WEIGHT else math.nan
        return {"TestQVals": self._q / self._steps if self._steps else math.nan, "TestQBias": bias}

    def _flush(self) -> None:
        if not self._waiting:
            return
        joined = {name: np.concatenate([rows[name] for rows in self._rows]) for name in self._rows[0]}
        q, reward = (
            self.values(joined["obs"], joined["action"]).tolist(),
            self.scale(joined["reward"]).tolist(),
        )
        cut = joined["next_obs"]
        tails = iter(self.values(cut, self.best_action(cut)).tolist() if len(cut) else [])
        at = 0
        for rows, ended in zip(self._rows, self._ended, strict=True):
            for env, terminated in zip(rows["env"].tolist(), rows["terminated"].tolist(), strict=True):
                self._open.setdefault(env, []).append((q[at], reward[at]))
                at += 1
                if env in ended:
                    tail, weight = (0.0, 0.0) if terminated else (next(tails), 1.0)
                    self._episode(self._open.pop(env), tail, weight)
        self._rows, self._ended, self._waiting = [], [], 0

    def _episode(self, steps: list[tuple[float, float]], following: float, weight: float) -> None:
        """Count an episode; `following` is the value after it, and `weight` is 0 if it terminated."""
        for q, reward in reversed(steps):
            following, weight = reward + self.gamma * following, self.gamma * weight
            self._q += q
            self._error += q - following
            self._weight += 1.0 - weight
        self._steps += len(steps)


def gradient_norm(loss: Tensor, params: list[nn.Parameter]) -> float:
    """The Euclidean norm of the gradient of a 0-dim loss; `.grad` of the parameters is not touched."""
    gradients = torch.autograd.grad(loss, params, allow_unused=True)
    squares = [g.double().square().sum() for g in gradients if g is not None]
    return math.sqrt(torch.stack(squares).sum().item()) if squares else 0.0


def _parts(agent: Agent) -> list[tuple[str, nn.Module]]:
    """The networks whose dead units are counted, by name; of the critics the first two, as in the log."""
    critics: Any = agent.networks.critics
    parts: list[tuple[str, nn.Module]] = [("Pi", agent.ac.pi)]
    parts += [(f"Q{i}", critic) for i, critic in enumerate(critics[:2], 1)]
    return parts if agent.networks.value is None else [*parts, ("V", agent.networks.value)]


def _relus(network: nn.Module) -> list[nn.Module]:
    return [module for module in network.modules() if isinstance(module, nn.ReLU)]


@contextmanager
def _outputs(layers: dict[str, list[nn.Module]]) -> Iterator[dict[str, list[Tensor]]]:
    """Lists of what the layers return within the block, by name."""
    found: dict[str, list[Tensor]] = {name: [] for name in layers}

    def keep(name: str) -> Callable[..., None]:
        return lambda module, inputs, output: found[name].append(output)

    handles = [layer.register_forward_hook(keep(name)) for name in layers for layer in layers[name]]
    try:
        yield found
    finally:
        for handle in handles:
            handle.remove()


def _dead(output: Tensor) -> Tensor:
    """Which units of (B, n, ...) are zero for the whole batch, (n,) bool."""
    return (output == 0).transpose(0, 1).flatten(1).all(1)


@contextmanager
def _preserved_buffers(agent: Agent) -> Iterator[None]:
    """Running statistics of the networks after the block are as they were before it."""
    kept = [(b, b.clone()) for module in (agent.ac, agent.target) for b in module.buffers()]
    try:
        yield
    finally:
        with torch.no_grad():
            for buffer, before in kept:
                buffer.copy_(before)
