"""The cuda_graph engine: a block of updates captured once as a CUDA graph, then replayed.

On a GPU the kernels of one update take less time than Python needs to launch them. A graph launches all
kernels of a block at once, from and into buffers that stay in place. What is captured is the fused
engine's arithmetic where it covers the networks, else the eager learner's.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, Protocol

import torch
from torch import Tensor, nn

from spinup.config import SACConfig
from spinup.errors import ConfigError
from spinup.pytorch.agent import EagerLearner, Float, Objective, Save
from spinup.pytorch.engines.fused import FusedLearner, why_not_formulas
from spinup.pytorch.engines.wrapped import WrappedLearner, adopt_state, optimisers
from spinup.pytorch.torch_settings import preserved_generators
from spinup.replay.storage import Block, Layout

LONGEST = 50  # gradient steps in one graph; a longer block replays it several times


class Capturer(Protocol):
    """How a piece of work becomes something to replay."""

    def warm_up(self, work: Callable[[], Tensor]) -> Tensor:
        """Run `work` once, such that libraries have set themselves up; returns its result."""
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
    """A graph and its buffers: inputs to fill, what to call, the metrics packed into one vector."""

    rows: Tensor
    noise: Tensor
    replay: Callable[[], object]
    packed: Tensor


class CudaGraphLearner(WrappedLearner):
    """A learner whose blocks run as CUDA graphs, with one synchronisation each.

    Args:
        ac, objective, config, target_entropy, save: those of EagerLearner.
        capturer: how graphs are made.
    """

    def __init__(
        self,
        ac: nn.Module,
        objective: Objective,
        config: SACConfig,
        target_entropy: float,
        save: Save,
        capturer: Capturer | None = None,
    ) -> None:
        arguments = (ac, objective, config, target_entropy, save)
        self._inner: FusedLearner | EagerLearner
        if why_not_formulas(ac, objective) is None:
            self._inner = FusedLearner(*arguments)  # type: ignore[arg-type]
            self.eager = self._inner.eager
        else:
            self._inner = self.eager = EagerLearner(*arguments)
        self._capturer = capturer or CudaCapturer()
        self._shapes: dict[str, tuple[torch.dtype, torch.Size]] = {}
        self.adopt()

    def adopt(self) -> None:
        """Forget the graphs, which hold the addresses of the state before it was loaded."""
        self._graphs: dict[tuple[int, ...], Captured] = {}
        if isinstance(self._inner, FusedLearner):
            self._inner.adopt()
            return
        for optimiser in optimisers(self.eager):
            for group in optimiser.param_groups:
                group["capturable"] = group["params"][0].is_cuda
                for p in group["params"]:
                    zeros = {
                        key: torch.zeros_like(p, requires_grad=False) for key in ("exp_avg", "exp_avg_sq")
                    }
                    step = torch.zeros((), dtype=torch.float32, device=p.device)
                    adopt_state(optimiser, p, {"step": step, **zeros})

    def update(self, block: Block) -> dict[str, Float]:
        """One gradient step per batch; all metrics come to the host in one copy."""
        like = self.eager.objective.critic_params[0]
        rows, noise = (torch.as_tensor(x).to(like.device, like.dtype) for x in (block.rows, block.noise))
        packed = [
            self._replay(r, x, block.layout)
            for r, x in zip(torch.split(rows, LONGEST), torch.split(noise, LONGEST), strict=True)
        ]
        host = torch.cat(packed, 1).cpu()
        columns = torch.split(host, [shape.numel() for _, shape in self._shapes.values()])
        return {
            key: part.T.reshape(-1, *shape).to(dtype).numpy()
            for part, (key, (dtype, shape)) in zip(columns, self._shapes.items(), strict=True)
        }

    def _replay(self, rows: Tensor, noise: Tensor, layout: Layout) -> Tensor:
        """The metrics of some batches, packed: one column per gradient step."""
        if rows.shape not in self._graphs:
            self._graphs[rows.shape] = self._capture(rows, noise, layout)
        graph = self._graphs[rows.shape]
        graph.rows.copy_(rows)
        graph.noise.copy_(noise)
        graph.replay()
        return graph.packed.clone()

    def _capture(self, rows: Tensor, noise: Tensor, layout: Layout) -> Captured:
        rows, noise = rows.clone(), noise.clone()
        mutable = self._mutable()
        before = [tensor.clone() for tensor in mutable]
        try:
            with preserved_generators():
                packed = self._capturer.warm_up(lambda: self._pack(self._inner.run(rows, noise, layout)))
            for tensor, value in zip(mutable, before, strict=True):
                tensor.copy_(value)
            replay = self._capturer.capture(
                lambda: packed.copy_(self._pack(self._inner.run(rows, noise, layout)))
            )
        except RuntimeError as error:
            reason = str(error).strip().splitlines()[0]
            raise ConfigError(
                f"engine='cuda_graph' cannot capture this actor-critic ({reason}): give engine='eager'"
            ) from error
        return Captured(rows, noise, replay, packed)

    def _pack(self, metrics: dict[str, Tensor]) -> Tensor:
        """All metrics of n steps in one array (values, n)."""
        self._shapes = {key: (value.dtype, value.shape[1:]) for key, value in metrics.items()}
        like = self.eager.objective.critic_params[0]
        return torch.cat([value.to(like.dtype).reshape(len(value), -1).T for value in metrics.values()])

    def _mutable(self) -> list[Tensor]:
        """Every tensor that an update changes."""
        tensors = [*self.eager.ac.state_dict().values(), *self.eager.objective.targets.state_dict().values()]
        for optimiser in optimisers(self.eager):
            tensors += [p.data for group in optimiser.param_groups for p in group["params"]]
            tensors += [tensor for state in optimiser.state.values() for tensor in state.values()]
        return tensors


def why_not_cuda_graph(ac: nn.Module, objective: Objective) -> str | None:
    """What the cuda_graph engine lacks here, in a few words; None where it applies."""
    device = objective.critic_params[0].device
    return None if device.type == "cuda" else f"the device is {device}, not cuda"
