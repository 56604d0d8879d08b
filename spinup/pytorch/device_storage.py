"""Replay storage on a CUDA device, so that the transitions of batches are not copied from the host."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, final

import numpy as np
import torch
from numpy.typing import NDArray

from spinup.replay.storage import HostStorage, Storage, check_memory, ring_slices
from spinup.replay.transition import Batches, Field, Transitions


@final
class DeviceStorage(Storage):
    """Stores rows on a device; gathered fields are tensors on that device.

    New rows are buffered on the host, and copied together before rows are next gathered or read.

    Args:
        fields: the fields to store.
        capacity: maximum number of rows.
        device: the torch device.

    Raises:
        ConfigError: if `capacity` rows do not fit in the device's free memory.
    """

    def __init__(self, fields: Sequence[Field], capacity: int, device: torch.device) -> None:
        super().__init__(fields, capacity)
        if device.type == "cuda":
            free = torch.cuda.mem_get_info(device)[0]
            check_memory(fields, capacity, free, f"the free memory of {device} is", ", or give device='cpu'")
        self._device = device
        self._columns = {
            field.name: torch.from_numpy(np.zeros((capacity, *field.shape), field.dtype)).to(device)
            for field in fields
        }
        self._waiting: list[Transitions] = []

    def append(self, transitions: Transitions) -> None:
        self._waiting.append({name: transitions[name].copy() for name in self._columns})
        self.total += len(transitions[self.fields[0].name])

    def gather(self, index: NDArray[np.int64], names: Iterable[str]) -> Batches:
        self._flush()
        on_device = torch.from_numpy(index).to(self._device)
        return {name: self._columns[name][on_device] for name in names}

    def to_batch(self, array: NDArray[Any]) -> Any:
        return torch.from_numpy(array).to(self._device)

    def read(self, start: int, stop: int) -> Transitions:
        gathered = self.gather(np.arange(start, stop) % self.capacity, self._columns)
        return {name: values.cpu().numpy() for name, values in gathered.items()}

    def clear(self, total: int) -> None:
        self._waiting.clear()
        super().clear(total)

    def _flush(self) -> None:
        """Copy the buffered rows to the device."""
        if not self._waiting:
            return
        for name, column in self._columns.items():
            rows = torch.from_numpy(np.concatenate([waiting[name] for waiting in self._waiting]))
            for part, at in ring_slices(self.total - len(rows), len(rows), self.capacity):
                column[at] = rows[part].to(self._device)
        self._waiting.clear()


def make_storage(fields: Sequence[Field], capacity: int, device: torch.device) -> Storage:
    """The storage for an agent on `device`: in its memory if it is a CUDA device, else in the host's."""
    if device.type == "cuda":
        return DeviceStorage(fields, capacity, device)
    return HostStorage(fields, capacity)
