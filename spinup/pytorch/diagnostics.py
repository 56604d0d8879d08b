"""Diagnostics: quantities per epoch that show whether learning works, and why it fails.

They are computed once per epoch on a batch from the replay buffer, and once per test on its episodes, with
plain torch operations on the agent's networks for every engine. They use separate random generators, seeded
by the run's seed and the epoch, and restore the networks' buffers, so a run gives the same results with and
without diagnostics. docs/diagnostics.md describes the columns.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple, final

import numpy as np
import torch
from gymnasium.spaces import Box, Discrete
from numpy.random import Generator
from numpy.typing import NDArray
from torch import Tensor, nn

from spinup.config import SACConfig
from spinup.interfaces import Episode, Trace
from spinup.pytorch import losses
from spinup.pytorch.agent import Agent
from spinup.pytorch.engines.eager import split_batches
from spinup.pytorch.torch_settings import preserved_generators
from spinup.pytorch.variants.objective import Batch, Objective
from spinup.replay.buffer import ReplayBuffer
from spinup.seeding import OF_EPOCH_STREAM, OF_TEST_STREAM, generator

# The batch size of updates is used within these bounds, so that an epoch's diagnostics cost a few updates.
LEAST_ROWS, MOST_ROWS = 100, 256
SATURATED = 0.99  # threshold for |tanh|, where the slope of tanh is 2%
LEAST_KNOWN = 0.05  # minimum mean of 1 - w_t for an estimate of the bias, see `QBias`

Array = NDArray[np.float64]


@final
class NetworkDiagnostics:
    """The diagnostics of a run; implements `spinup.interfaces.Diagnostics`.

    Args:
        agent, objective: networks, and the losses whose gradients are measured.
        replay: the buffer from which the batch of an epoch is drawn uniformly.
        config: the hyperparameters.
        space: the action space of the networks.
    """

    def __init__(
        self,
        agent: Agent,
        objective: Objective,
        replay: ReplayBuffer,
        config: SACConfig,
        space: Box | Discrete,
    ) -> None:
        self.agent, self.objective, self.replay, self.config = agent, objective, replay, config
        self._center_and_half_range = _center_and_half_range(space, agent.reference_parameter)
        self._relus = {name: relus for name, net in _parts(agent, config.critics) if (relus := _relus(net))}
        self.columns: tuple[str, ...] = (
            *objective.columns,
            *(["SaturatedActions"] if self._center_and_half_range else []),
            *(f"DeadUnits{name}" for name in self._relus),
            *(["TestQVals", "TestQBias"] if config.num_test_episodes else []),
            *(["CriticSpread"] if config.critics > 1 else []),
            "GradNormPi",
            "GradNormQ",
        )

    def of_epoch(self, epoch: int) -> dict[str, float]:
        """Columns computed from a batch of the replay buffer; none if the buffer is empty."""
        rng = generator(self.config.seed, OF_EPOCH_STREAM, epoch)
        count = min(max(self.config.batch_size, LEAST_ROWS), MOST_ROWS)
        batches = self.replay.sample_uniform(count, rng)
        if not batches:
            return {}
        batches = {**batches, **self.objective.draw_noise(batches, rng)}
        with self._preserving_state(rng):
            batch = split_batches(self.agent.to_tensors(batches))[0]
            return {**self._of_outputs(batch), **self._of_losses(batch)}

    @torch.no_grad()
    def of_test(self, episodes: Sequence[Episode], round_number: int) -> dict[str, float]:
        """TestQVals and TestQBias, over the kept steps of the traced episodes."""
        traces = [episode.trace for episode in episodes if episode.trace is not None]
        if not traces:
            return {}
        rng = generator(self.config.seed, OF_TEST_STREAM, round_number)
        bias = QBias(self.config.gamma)
        with self._preserving_state(rng):
            for trace, estimates in zip(traces, self._estimates(traces, rng), strict=True):
                bias.add(trace, self._reward_scale(), estimates)
        return {"TestQVals": bias.mean_q(), "TestQBias": bias.bias()}

    @contextmanager
    def _preserving_state(self, rng: Generator) -> Iterator[None]:
        """Seed torch's generators from `rng`; restore them and the networks' buffers after the block."""
        with preserved_generators(), preserved_buffers(self.agent):
            seed = int(rng.integers(2**63))
            if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
                torch.manual_seed(seed)
            else:  # torch.manual_seed would keep a traceback for CUDA, which takes as long as a gradient step
                torch.default_generator.manual_seed(seed)
            yield

    @torch.no_grad()
    def _of_outputs(self, batch: Batch) -> dict[str, float]:
        """Columns computed from the networks' outputs, without dropout and batch statistics."""
        networks, obs, columns = self.agent.networks, batch["obs"], {}
        with _outputs(self._relus) as outputs:
            noise = (batch["noise"][1],) if self.objective.draws_actions else ()
            action, _ = networks.actor(obs, *noise)
            q = self.objective.action_values(networks.critics, obs, batch["action"])
            if networks.value is not None:
                networks.value(obs)
        if self._center_and_half_range is not None:
            center, half_range = self._center_and_half_range
            squashed = (action - center) / half_range
            columns["SaturatedActions"] = (squashed.abs() > SATURATED).double().mean().item()
        for name, layers in outputs.items():
            if layers:  # a custom module may have a ReLU that it does not call
                columns[f"DeadUnits{name}"] = torch.cat([_dead(x) for x in layers]).double().mean().item()
        if len(q) > 1:
            columns["CriticSpread"] = q.std(0, correction=0).mean().item()
        return columns

    @torch.enable_grad()
    def _of_losses(self, batch: Batch) -> dict[str, float]:
        agent, objective = self.agent, self.objective
        alpha = agent.temperature.value()
        critic_loss, _ = objective.critic_loss(agent.networks, batch, alpha)
        actor_loss, _ = objective.actor_loss(agent.networks, batch, alpha)
        return {
            "GradNormQ": gradient_norm(critic_loss, agent.critic_params),
            "GradNormPi": gradient_norm(actor_loss, agent.actor_params),
        }

    def _estimates(self, traces: Sequence[Trace], rng: Generator) -> list[Estimates]:
        """The networks' estimates along test episodes; values are means over all critics."""
        agent, ends = self.agent, np.cumsum([len(trace.obs) for trace in traces])
        kept = int(ends[-1])
        obs = np.concatenate([*(trace.obs for trace in traces), [trace.last_obs for trace in traces]])
        actions = np.concatenate([trace.actions for trace in traces])
        if agent.normalizer is not None:
            obs = agent.normalizer.observations(obs)
        x = agent.to_tensors({"obs": obs, "action": actions})
        alpha, last = agent.temperature.value(), x["obs"][kept:]
        q = self.objective.action_values(agent.networks.critics, x["obs"][:kept], x["action"]).mean(0)
        if self.objective.draws_actions:
            noise = rng.standard_normal((len(obs), actions.shape[1]), dtype=np.float32)
            drawn, log_prob = agent.networks.actor(x["obs"], agent.to_tensors({"noise": noise})["noise"])
            last_q = agent.networks.critics(last, drawn[kept:]).mean(0)
            value = losses.soft_value(last_q, log_prob[kept:], alpha)
        else:
            probs, logp = agent.networks.actor(x["obs"])
            log_prob = losses.expected_log_prob(probs, logp)
            last_q = agent.networks.critics(last).mean(0)
            value = losses.expected_soft_value(last_q, probs[kept:], logp[kept:], alpha)
        by_episode = (np.split(_on_host(values), ends[:-1]) for values in (q, -alpha * log_prob[:kept]))
        return [Estimates(*parts) for parts in zip(*by_episode, value.tolist(), strict=True)]

    def _reward_scale(self) -> float:
        """The factor by which the rewards that the critics learn from are scaled."""
        unit = 1.0 if self.agent.normalizer is None else self.agent.normalizer.reward_unit()
        return self.config.reward_scale / unit


class Estimates(NamedTuple):
    """The networks' estimates for the k kept steps of a test episode.

    Attributes:
        q: Q(s, a), (k,).
        bonus: alpha times the policy's entropy at s, (k,).
        last_value: the soft value of the observation after the last step.
    """

    q: Array
    bonus: Array
    last_value: float


@final
class QBias:
    """The mean of Q(s, a) minus the soft return that followed, over kept steps of test episodes.

    Along an episode of T steps, with alpha times the policy's entropy, b_t, as bonus (equations 2 and 3):

        W_t = r_t + gamma (b_{t+1} + W_{t+1}),    W_{T-1} = r_{T-1} + gamma V_T

    If the MDP terminated, V_T is 0. The return after a truncation is unknown; the networks' soft value V_T
    replaces it. If Q is too large by c everywhere, so is V_T, and Q - W is c (1 - w_t), where
    w_t = gamma^(T-t), or 0 in an episode that terminated. The bias is therefore estimated as the sum of
    Q - W divided by the sum of 1 - w_t, which gives steps near a truncation little weight. Without truncation
    it is the mean of Q - W. For a step that is not kept, b_t is that of the last kept step before it.

    Args:
        gamma: discount factor.
    """

    def __init__(self, gamma: float) -> None:
        self.gamma, self.steps = gamma, 0
        self._q = self._error = self._known = 0.0

    def add(self, trace: Trace, reward_scale: float, estimates: Estimates) -> None:
        """Add the kept steps of an episode. `reward_scale` converts its rewards to the scale of Q."""
        rewards = (reward_scale * trace.rewards).tolist()
        q, bonus = estimates.q.tolist(), estimates.bonus.tolist()
        following, unknown = (0.0, 0.0) if trace.terminated else (estimates.last_value, 1.0)
        for t in range(len(rewards) - 1, -1, -1):
            following, unknown = rewards[t] + self.gamma * following, self.gamma * unknown
            kept, between = divmod(t, trace.stride)
            if not between:
                self._error += q[kept] - following
                self._known += 1.0 - unknown
            following += bonus[kept]
        self.steps += len(q)
        self._q += sum(q)

    def mean_q(self) -> float:
        """The mean of Q."""
        return self._q / self.steps

    def bias(self) -> float:
        """The mean bias; nan if the mean of 1 - w_t is at most LEAST_KNOWN."""
        return self._error / self._known if self._known > LEAST_KNOWN * self.steps else math.nan


def gradient_norm(loss: Tensor, params: Sequence[nn.Parameter]) -> float:
    """The Euclidean norm of the gradient of a 0-dim loss; `.grad` of the parameters is not touched."""
    gradients = torch.autograd.grad(loss, params, allow_unused=True)
    norms = [torch.linalg.vector_norm(g, dtype=torch.float64) for g in gradients if g is not None]
    return torch.linalg.vector_norm(torch.stack(norms)).item() if norms else 0.0


def _center_and_half_range(space: Box | Discrete, like: Tensor) -> tuple[Tensor, Tensor] | None:
    """Center and half range of the bounds of a Box, (act_dim,) each; None for discrete actions."""
    if isinstance(space, Discrete):
        return None
    low, high = (torch.as_tensor(bound).flatten().to(like) for bound in (space.low, space.high))
    return (low + high) / 2, (high - low) / 2


def _parts(agent: Agent, count: int) -> list[tuple[str, list[nn.Module]]]:
    """The modules in which dead units are counted, by name of the network.

    Of the `count` critics, only the first two are included, as in the log. An image encoder that the critics
    share is listed as a separate network.
    """
    critics: Any = agent.networks.critics
    encoder = getattr(critics, "encoder", None)
    shared = set() if encoder is None else set(encoder.modules())
    parts: list[tuple[str, nn.Module]] = [("Pi", agent.ac.pi)]
    parts += [(f"Q{i}", critics[i - 1]) for i in range(1, min(count, 2) + 1)]
    parts += [] if agent.networks.value is None else [("V", agent.networks.value)]
    found = [(name, [m for m in network.modules() if m not in shared]) for name, network in parts]
    return found if encoder is None else [("Encoder", list(encoder.modules())), *found]


def _relus(modules: list[nn.Module]) -> list[nn.Module]:
    return [module for module in modules if isinstance(module, nn.ReLU)]


@contextmanager
def _outputs(layers: dict[str, list[nn.Module]]) -> Iterator[dict[str, list[Tensor]]]:
    """Record the outputs of the layers within the block; returns lists of them by name."""
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
    """Whether each of n units is zero for the whole batch, (n,) bool; output (B, n), or (B, n, H, W)."""
    units = output.movedim(1, -1) if output.dim() > 3 else output
    return (units == 0).flatten(0, -2).all(0)


@contextmanager
def preserved_buffers(agent: Agent) -> Iterator[None]:
    """Restore the networks' buffers, such as running statistics, after the block."""
    kept = [(b, b.clone()) for module in (agent.ac, agent.target) for b in module.buffers()]
    try:
        yield
    finally:
        with torch.no_grad():
            for buffer, before in kept:
                buffer.copy_(before)


def _on_host(values: Tensor) -> Array:
    array: Array = values.double().cpu().numpy()
    return array
