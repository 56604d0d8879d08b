"""Storage of observations with images; a frame shared by several stacks or rows is stored once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

import numpy as np
from numpy.typing import NDArray

from spinup.replay.image_layout import ImageLayout, Part
from spinup.replay.storage import RowStorage
from spinup.replay.transition import Field, Transitions

Bytes = NDArray[np.uint8]
CHUNK = 4096  # frames in one array; arrays are added when needed
MAX_RECENT = 65_536  # maximum number of recent frames among which duplicates of new frames are searched


class FramePool:
    """Stores the frames of one image of each observation, for a ring of rows.

    A frame of a new row that has the same bytes as a recent frame is stored as a reference to it. Duplicates
    are found by content, so results do not depend on which wrapper stacked the frames, on how an episode's
    first stack was padded, or on the order of the rows of several environments.

    Args:
        part: the image.
        capacity: number of rows of the ring.
    """

    def __init__(self, part: Part, capacity: int) -> None:
        self.frames, self._size = part.frames, part.nbytes // part.frames
        self._chunk = min(CHUNK, capacity + 2 * self.frames)
        self._refs = np.full((capacity, 2, self.frames), -1, np.int32)  # of obs and of next_obs
        self.clear()

    @property
    def held(self) -> int:
        """Number of frames that rows refer to."""
        return self._used - len(self._free)

    def clear(self) -> None:
        """Remove all rows."""
        self._refs.fill(-1)
        self._chunks: list[Bytes] = []
        self._uses: NDArray[np.int32] = np.zeros(0, np.int32)  # references by slot (position of a frame)
        self._free: list[int] = []
        self._used = 0  # slots ever used
        self._recent: dict[int, int] = {}  # hash of a frame to its slot, the newest last
        self._keep = 0

    def add(self, start: int, obs: Bytes, next_obs: Bytes) -> None:
        """Write rows at positions from `start` on, replacing the previous ones; both (N, bytes)."""
        # Between two steps of an environment, each other environment may add the frames of two stacks.
        self._keep = max(self._keep, min(4 * len(obs) * (self.frames + 1), MAX_RECENT))
        stacks = np.stack([obs, next_obs], 1).reshape(len(obs), 2 * self.frames, self._size)
        for at, row in enumerate(stacks, start):
            before = self._refs[at].ravel().tolist()
            slots = [self._slot(frame) for frame in row]
            self._refs[at] = np.array(slots, np.int32).reshape(2, self.frames)
            for slot in before:
                self._release(slot)

    def take(self, index: NDArray[np.int64], which: int) -> Bytes:
        """The images of obs (`which` = 0) or next_obs (1) at positions `index`, (*index.shape, bytes)."""
        slots = self._refs[index, which]
        found: Bytes = np.empty((slots.size, self._size), np.uint8)
        for i, slot in enumerate(slots.ravel().tolist()):
            found[i] = self._pixels(slot)
        return found.reshape(*index.shape, -1)

    def _pixels(self, slot: int) -> Bytes:
        pixels: Bytes = self._chunks[slot // self._chunk][slot % self._chunk]
        return pixels

    def _slot(self, frame: Bytes) -> int:
        """The slot that holds these pixels, with one reference added; a new slot if no recent frame does."""
        content = frame.tobytes()
        key = hash(content)
        slot = self._recent.pop(key, -1)
        if slot < 0 or self._pixels(slot).tobytes() != content:
            slot = self._new_slot()
            self._pixels(slot)[:] = frame
        self._recent[key] = slot
        if len(self._recent) > self._keep:
            del self._recent[next(iter(self._recent))]
        self._uses[slot] += 1
        return slot

    def _new_slot(self) -> int:
        if self._free:
            return self._free.pop()
        if self._used == len(self._uses):
            self._chunks.append(np.zeros((self._chunk, self._size), np.uint8))
            self._uses = np.pad(self._uses, (0, self._chunk))
        self._used += 1
        return self._used - 1

    def _release(self, slot: int) -> None:
        if slot < 0:
            return
        self._uses[slot] -= 1
        if self._uses[slot] == 0:
            key = hash(self._pixels(slot).tobytes())
            if self._recent.get(key) == slot:
                del self._recent[key]
            self._free.append(slot)


@final
class FrameStorage(RowStorage):
    """Stores rows with images in host memory; each frame is stored once.

    Args:
        fields: the fields to store.
        capacity: maximum number of rows.
        layout: layout of obs and next_obs.

    Raises:
        ConfigError: if `capacity` rows do not fit in memory.
    """

    def __init__(self, fields: Sequence[Field], capacity: int, layout: ImageLayout) -> None:
        super().__init__(fields, capacity, _OBSERVATIONS, stored_fields(fields, layout))
        self.layout = layout
        self._pools = [FramePool(part, capacity) if part.is_image else None for part in layout.parts]
        # For each vector, its bytes in obs and in next_obs.
        self._vectors = [
            None if part.is_image else np.zeros((2, capacity, part.nbytes), np.uint8) for part in layout.parts
        ]

    def clear(self, total: int) -> None:
        for pool in self._pools:
            if pool is not None:
                pool.clear()
        super().clear(total)

    def _put(self, at: int, rows: Transitions) -> None:
        for pool, vectors, piece in zip(self._pools, self._vectors, self.layout.slices, strict=True):
            both = [rows[name][:, piece] for name in _OBSERVATIONS]
            if pool is not None:
                pool.add(at, *both)
            if vectors is not None:
                vectors[:, at : at + len(both[0])] = both

    def _take(self, index: NDArray[np.int64], name: str) -> Bytes:
        which, pieces = _OBSERVATIONS.index(name), []
        for pool, vectors in zip(self._pools, self._vectors, strict=True):
            if pool is not None:
                pieces.append(pool.take(index, which))
            if vectors is not None:
                pieces.append(vectors[which].take(index, axis=0))
        return pieces[0] if len(pieces) == 1 else np.concatenate(pieces, -1)


_OBSERVATIONS = ("obs", "next_obs")


def stored_fields(fields: Sequence[Field], layout: ImageLayout) -> list[Field]:
    """Fields from which a row's size in a `FrameStorage` follows: new frames, references, other fields.

    A new observation adds one frame to a stack. For an image whose channels come first, up to three channels
    are counted as new, since it may be a stack of frames with one or three channels.
    """
    found = [field for field in fields if field.name not in _OBSERVATIONS]
    for part in layout.parts:
        if part.is_image:
            new = 1 if len(part.shape) == 4 else min(part.frames, 3)
            found.append(Field(part.key, (new, part.nbytes // part.frames), np.dtype(np.uint8)))
            found.append(Field(part.key, (2 * part.frames + new,), np.dtype(np.int32)))
        else:
            found.append(Field(part.key, (2, part.nbytes), np.dtype(np.uint8)))
    return found
