"""The device's replay buffer holds, draws and gives back what the host's does; here its device is the CPU."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from spinup.errors import ConfigError
from spinup.pytorch import device_storage as device_replay
from spinup.pytorch.device_storage import DeviceReplay, make_replay
from spinup.replay.storage import Layout, ReplayBuffer

LAYOUT, CPU = Layout(2, 1), torch.device("cpu")


def rows(start: int, count: int) -> np.ndarray:
    """Rows that hold their own number."""
    return np.repeat(np.arange(start, start + count, dtype=np.float32)[:, None], LAYOUT.width, 1)


@given(capacity=st.integers(1, 9), events=st.lists(st.integers(0, 12), min_size=1, max_size=12))
def test_it_is_the_hosts_buffer(capacity: int, events: list[int]) -> None:
    """An event adds that many rows; after each one both buffers are drawn from and read."""
    host, device = ReplayBuffer(LAYOUT, capacity), DeviceReplay(LAYOUT, capacity, CPU)
    rng, twin = np.random.default_rng(0), np.random.default_rng(0)
    for count in events:
        for buffer in (host, device):
            buffer.add(rows(buffer.total, count))
        assert (len(device), device.total) == (len(host), host.total)
        if count % 2 or not len(host):  # some additions wait together
            continue
        wanted, got = host.sample(2, 3, rng), device.sample(2, 3, twin)
        assert isinstance(got.rows, torch.Tensor)
        np.testing.assert_array_equal(got.rows, wanted.rows)
        np.testing.assert_array_equal(got.noise, wanted.noise)
        start = host.total - len(host)
        np.testing.assert_array_equal(device.read(start, host.total), host.read(start, host.total))


def test_rows_are_copied_when_they_are_added() -> None:
    buffer, fresh = DeviceReplay(LAYOUT, 4, CPU), rows(0, 2)
    buffer.add(fresh)
    fresh[:] = -1
    np.testing.assert_array_equal(buffer.read(0, 2), rows(0, 2))


def test_restore_replaces_what_was_there_and_what_was_waiting() -> None:
    buffer = DeviceReplay(LAYOUT, 4, CPU)
    buffer.add(rows(0, 3))
    buffer.restore(7, rows(7, 2))
    assert (len(buffer), buffer.total) == (4, 9)
    np.testing.assert_array_equal(buffer.read(7, 9), rows(7, 2))


def test_the_host_keeps_the_rows_of_a_learner_on_the_cpu() -> None:
    assert type(make_replay(LAYOUT, 4, CPU)) is ReplayBuffer


def test_what_does_not_fit_is_refused_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device_replay.torch.cuda, "mem_get_info", lambda device: (2**20, 2**30))
    wanted = (
        r"^replay_size=1000000 needs 0\.0 GiB for rows of 7 floats, and cuda:0 has 0\.0 GiB free: "
        r"replay_size=29959 would fit, or give device='cpu'$"
    )
    with pytest.raises(ConfigError, match=wanted):
        make_replay(LAYOUT, 1_000_000, torch.device("cuda:0"))
