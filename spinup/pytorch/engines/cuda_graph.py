"""The cuda_graph engine: a block of gradient steps captured once as a CUDA graph, then replayed.

On a GPU the kernels of one update take less time than Python needs to launch them. A graph launches all
kernels of a block at once, with fixed input and output buffers. The captured code is `gradient_steps`.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import ClassVar, NamedTuple, Protocol, final

import torch
from torch import Tensor

from spinup.errors import ConfigError
from spinup.interfaces import Metrics
from spinup.pytorch.agent import Agent, StepSettings
from spinup.pytorch.engines.compile import (
    TRACED_FIELDS,
    TRACED_NETWORKS,
    TRACED_OBJECTIVES,
    TRACED_OPTIONS,
)
from spinup.pytorch.engines.eager import gradient_step, gradient_steps
from spinup.pytorch.engines.engine import Engine, Supported
from spinup.pytorch.torch_settings import preserved_generators
from spinup.pytorch.variants.objective import Objective
from spinup.replay.transition import Batches

Layout = list[tuple[str, torch.dtype, torch.Size]]  # name, dtype and shape of each metric
MAX_STEPS = 50  # gradient steps in one graph; a longer block replays it several times


class Capturer(Protocol):
    """Captures operations on fixed buffers as a function that replays them."""

    def warm_up(self, work: Callable[[], Tensor]) -> Tensor:
        """Run `work` once, since libraries initialize themselves in their first call; returns its result."""
        ...

    def capture(self, work: Callable[[], object]) -> Callable[[], object]:
        """A function that repeats `work` on the same memory."""
        ...


class CudaCapturer:
    """Captures with torch.cuda.graph, after a warm-up on a side stream as torch's documentation requires."""

    def warm_up(self, work: Callable[[], Tensor]) -> Tensor:
        """Run `work` on a side stream."""
        side = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            result = work()
        torch.cuda.current_stream().wait_stream(side)
        return result

    def capture(self, work: Callable[[], object]) -> Callable[[], object]:
        """Record `work`, without running it."""
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            work()
        return graph.replay


class Captured(NamedTuple):
    """A captured graph.

    Args:
        inputs: input buffers by field.
        replay: replays the graph.
        packed: all metrics that the graph writes, concatenated to one vector.
        layout: names, dtypes and shapes of the metrics in `packed`, in order.
    """

    inputs: dict[str, Tensor]
    replay: Callable[[], object]
    packed: Tensor
    layout: Layout


@final
class CudaGraphEngine(Engine):
    """Blocks of updates as CUDA graphs, with one synchronization per block.

    Args:
        objective: the losses.
        threads: not used.
        capturer: makes the graphs; a `CudaCapturer` if None.
    """

    name: ClassVar[str] = "cuda_graph"
    description: ClassVar[str] = "blocks of updates as CUDA graphs"
    supported: ClassVar[Supported] = Supported(
        TRACED_NETWORKS, TRACED_OBJECTIVES, TRACED_FIELDS, TRACED_OPTIONS, ("cuda",), traces_modules=True
    )

    def __init__(self, objective: Objective, threads: int = 1, capturer: Capturer | None = None) -> None:
        super().__init__(objective, threads)
        self._capturer = capturer or CudaCapturer()
        self._agent: Agent | None = None
        self._graphs: dict[tuple[torch.Size, tuple[bool, ...]], Captured] = {}

    @classmethod
    def unsupported_reason(cls, agent: Agent, objective: Objective, fields: tuple[str, ...]) -> str | None:
        if reason := super().unsupported_reason(agent, objective, fields):
            return reason
        return "the networks have dropout" if agent.networks.modes.dropout else None

    def update(self, agent: Agent, batches: Batches) -> Metrics:
        if self._agent is not agent:
            self._agent, self._graphs = agent, {}
        inputs = agent.to_tensors(batches)
        settings = agent.begin_steps(len(batches["reward"]))
        rates = [step.lr for step in settings if step.lr is not None]
        if rates:  # the fused optimizer reads a rate in float32 from the device
            inputs["lr"] = torch.tensor(rates, dtype=torch.float32, device=agent.reference_parameter.device)
        replayed = [
            self._replay(
                agent,
                {name: values[first : first + MAX_STEPS] for name, values in inputs.items()},
                tuple(step.updates_policy for step in settings[first : first + MAX_STEPS]),
            )
            for first in range(0, len(settings), MAX_STEPS)
        ]
        if rates:
            agent.set_learning_rate(rates[-1])
        host = torch.cat([packed for packed, _ in replayed]).cpu()
        parts = iter(torch.split(host, [shape.numel() for _, layout in replayed for *_, shape in layout]))
        found: dict[str, list[Tensor]] = {}
        for _, layout in replayed:
            for key, dtype, shape in layout:
                found.setdefault(key, []).append(next(parts).to(dtype).reshape(shape))
        return {key: torch.cat(values).numpy() for key, values in found.items()}

    def _replay(
        self, agent: Agent, inputs: dict[str, Tensor], updates_policy: tuple[bool, ...]
    ) -> tuple[Tensor, Layout]:
        """Run up to MAX_STEPS gradient steps; returns their metrics in one vector, and its layout."""
        key = inputs["action"].shape, updates_policy
        if key not in self._graphs:
            self._graphs[key] = self._capture(agent, inputs, updates_policy)
        graph = self._graphs[key]
        for name, buffer in graph.inputs.items():
            buffer.copy_(inputs[name])
        graph.replay()
        return graph.packed.clone(), graph.layout

    def _capture(self, agent: Agent, inputs: dict[str, Tensor], updates_policy: tuple[bool, ...]) -> Captured:
        buffers = {name: values.clone() for name, values in inputs.items()}
        batches = {name: buffer for name, buffer in buffers.items() if name != "lr"}
        rates = buffers["lr"].unbind() if "lr" in buffers else [None] * len(updates_policy)
        settings = [StepSettings(*step) for step in zip(updates_policy, rates, strict=True)]
        before = [(tensor, tensor.clone()) for tensor in agent.state_tensors()]
        one_step = partial(gradient_step, agent, self.objective, agent.optimizers)
        layout: Layout = []

        def work() -> Tensor:
            metrics = gradient_steps(agent, batches, settings, one_step)
            layout[:] = [(key, value.dtype, value.shape) for key, value in metrics.items()]
            return torch.cat(
                [value.to(agent.reference_parameter.dtype).flatten() for value in metrics.values()]
            )

        try:
            with preserved_generators():
                packed = self._capturer.warm_up(work)
            for tensor, value in before:
                tensor.copy_(value)
            replay = self._capturer.capture(lambda: packed.copy_(work()))
        except RuntimeError as error:
            reason = str(error).strip().splitlines()[0]
            raise ConfigError(
                f"engine='cuda_graph' cannot capture this actor-critic ({reason}): give engine='eager'"
            ) from error
        return Captured(buffers, replay, packed, layout)
