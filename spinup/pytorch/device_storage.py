"""The replay buffer on a CUDA device: rows stay there, and a block costs a few copies, not one per step."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.random import Generator

from spinup.errors import ConfigError
from spinup.replay.storage import Block, Float, Layout, ReplayBuffer


class DeviceReplay:
    """`ReplayBuffer` with its rows on a device: the same transitions, indices and noise.

    New rows wait on the host until a block is drawn, and then go over in one copy, as do the indices and
    the noise. By then the device is idle, since a block ends with its metrics on the host.

    Raises:
        ConfigError: when `capacity` rows cannot fit in the device's free memory.
    """

    def __init__(self, layout: Layout, capacity: int, device: torch.device) -> None:
        _check_memory(layout, capacity, device)
        self.layout, self.capacity, self.total = layout, capacity, 0
        self._rows = torch.zeros((capacity, layout.width), device=device)
        self._waiting: list[Float] = []

    def __len__(self) -> int:
        return min(self.total, self.capacity)

    def add(self, rows: Float) -> None:
        """Append rows, (N, width) float32, over the oldest ones when full."""
        self._waiting.append(rows.copy())
        self.total += len(rows)

    def sample(self, count: int, batch_size: int, rng: Generator) -> Block:
        """Draw `count` batches, uniform with replacement, and the noise of their policy draws.

        The block's arrays are tensors on the device.
        """
        index = rng.integers(len(self), size=(count, batch_size))
        noise = rng.standard_normal((count, 2, batch_size, self.layout.act_dim), dtype=np.float32)
        self._flush()
        rows: Any = self._rows[torch.from_numpy(index).to(self._rows.device)]
        on_device: Any = torch.from_numpy(noise).to(self._rows.device)
        return Block(self.layout, rows, on_device)

    def read(self, start: int, stop: int) -> Float:
        """A copy, on the host, of the rows written as number start up to stop, which must still be held."""
        self._flush()
        index = torch.arange(start, stop, device=self._rows.device) % self.capacity
        rows: Float = self._rows[index].cpu().numpy()
        return rows

    def restore(self, start: int, rows: Float) -> None:
        """Make the buffer hold `rows` as those written as number start and on, and no others."""
        self._waiting.clear()
        self.total = start
        self.add(rows)

    def _flush(self) -> None:
        """Bring the waiting rows to the device: row k lies at k modulo capacity."""
        if not self._waiting:
            return
        rows = np.concatenate(self._waiting)[-self.capacity :]
        self._waiting.clear()
        at = (self.total - len(rows)) % self.capacity
        first = min(len(rows), self.capacity - at)
        fresh = torch.from_numpy(rows).to(self._rows.device)
        self._rows[at : at + first] = fresh[:first]
        self._rows[: len(rows) - first] = fresh[first:]


def make_replay(layout: Layout, capacity: int, device: torch.device) -> ReplayBuffer | DeviceReplay:
    """The replay buffer for a learner on `device`: in its memory if it is a CUDA device, else the host's."""
    return DeviceReplay(layout, capacity, device) if device.type == "cuda" else ReplayBuffer(layout, capacity)


def _check_memory(layout: Layout, capacity: int, device: torch.device) -> None:
    if device.type != "cuda":
        return
    need, row = capacity * layout.width * 4, layout.width * 4
    free, _ = torch.cuda.mem_get_info(device)
    if need > 0.9 * free:
        raise ConfigError(
            f"replay_size={capacity} needs {need / 2**30:.1f} GiB for rows of {layout.width} floats, and "
            f"{device} has {free / 2**30:.1f} GiB free: replay_size={int(0.8 * free / row)} would fit, or "
            "give device='cpu'"
        )
