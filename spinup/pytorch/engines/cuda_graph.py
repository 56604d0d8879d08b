"""The cuda_graph engine: a block of gradient steps captured once as a CUDA graph, then replayed.

On a GPU the kernels of one update take less time than Python needs to launch them. A graph launches all
kernels of a block at once, with fixed input and output buffers. The captured code is `gradient_steps`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar, NamedTuple, Protocol, final

import torch
from torch import Tensor

from spinup.errors import ConfigError
from spinup.interfaces import Metrics
from spinup.pytorch.agent import Agent
from spinup.pytorch.engines.compile import (
    TRACED_FIELDS,
    TRACED_NETWORKS,
    TRACED_OBJECTIVES,
    TRACED_OPTIONS,
    untraceable_layers,
)
from spinup.pytorch.engines.eager import gradient_steps
from spinup.pytorch.engines.engine import Engine, Supported
from spinup.pytorch.torch_settings import preserved_generators
from spinup.pytorch.variants.objective import Objective
from spinup.replay.transition import Batches

MAX_STEPS = 50  # gradient steps in one graph; a longer block replays it several times


class Capturer(Protocol):
    """Turns work on fixed buffers into a function that replays it."""

    def warm_up(self, work: Callable[[], Tensor]) -> Tensor:
        """Run `work` once, so that libraries initialize themselves; returns its result."""
        ...

    def capture(self, work: Callable[[], object]) -> Callable[[], object]:
        """A function that does `work` again, on the same memory."""
        ...


class CudaCapturer:
    """torch.cuda.graph, as torch's notes on CUDA graphs prescribe: a warm-up on a side stream first."""

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
    """A captured graph: the input buffers by field, the function that replays it, and the packed metrics."""

    inputs: dict[str, Tensor]
    replay: Callable[[], object]
    packed: Tensor


@final
class CudaGraphEngine(Engine):
    """Blocks of updates as CUDA graphs, with one synchronization each.

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
        self._graphs: dict[torch.Size, Captured] = {}
        self._shapes: dict[str, tuple[torch.dtype, torch.Size]] = {}

    @classmethod
    def unsupported_reason(cls, agent: Agent, objective: Objective, fields: tuple[str, ...]) -> str | None:
        return super().unsupported_reason(agent, objective, fields) or untraceable_layers(agent)

    def update(self, agent: Agent, batches: Batches) -> Metrics:
        if self._agent is not agent:
            self._agent, self._graphs = agent, {}
        tensors = agent.to_tensors(batches)
        chunks = zip(*(torch.split(values, MAX_STEPS) for values in tensors.values()), strict=True)
        packed = [self._replay(agent, dict(zip(tensors, chunk, strict=True))) for chunk in chunks]
        host = torch.cat(packed, 1).cpu()
        columns = torch.split(host, [shape.numel() for _, shape in self._shapes.values()])
        return {
            key: part.T.reshape(-1, *shape).to(dtype).numpy()
            for part, (key, (dtype, shape)) in zip(columns, self._shapes.items(), strict=True)
        }

    def _replay(self, agent: Agent, batches: dict[str, Tensor]) -> Tensor:
        """The metrics of some batches, packed: one column per gradient step."""
        shape = batches["action"].shape
        if shape not in self._graphs:
            self._graphs[shape] = self._capture(agent, batches)
        graph = self._graphs[shape]
        for name, buffer in graph.inputs.items():
            buffer.copy_(batches[name])
        graph.replay()
        return graph.packed.clone()

    def _capture(self, agent: Agent, batches: dict[str, Tensor]) -> Captured:
        inputs = {name: values.clone() for name, values in batches.items()}
        before = [(tensor, tensor.clone()) for tensor in agent.state_tensors()]

        def work() -> Tensor:
            return self._pack(agent, gradient_steps(agent, self.objective, inputs))

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
        return Captured(inputs, replay, packed)

    def _pack(self, agent: Agent, metrics: dict[str, Tensor]) -> Tensor:
        """All metrics of n steps in one array (values, n)."""
        self._shapes = {key: (value.dtype, value.shape[1:]) for key, value in metrics.items()}
        flat = [
            value.to(agent.reference_parameter.dtype).reshape(len(value), -1).T for value in metrics.values()
        ]
        return torch.cat(flat)
