"""DeviceStorage holds, gathers and reads what HostStorage does; here its device is the CPU."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from spinup.errors import ConfigError
from spinup.pytorch import device_storage
from spinup.pytorch.device_storage import DeviceStorage, make_storage
from spinup.replay.buffer import ReplayBuffer
from spinup.replay.builders import NStepBuilder, OneStepBuilder
from spinup.replay.hindsight import Goals, HindsightSampler
from spinup.replay.prioritized import PrioritizedSampler
from spinup.replay.samplers import UniformSampler
from spinup.replay.storage import HostStorage
from spinup.replay.transition import Transitions, transition_fields

# Row k achieves k, which pays k if it is the goal.
GOALS = Goals(slice(0, 1), slice(1, 2), lambda achieved, desired: (achieved - 1)[:, 0], None)
CPU = torch.device("cpu")
FIELDS = tuple(transition_fields(2, 1).values())
STORED = tuple(field for field in FIELDS if field.name in OneStepBuilder.stored_fields)
SAMPLERS: Any = [
    lambda: UniformSampler(OneStepBuilder(0.9)),
    lambda: UniformSampler(NStepBuilder(0.9, 3)),
    lambda: PrioritizedSampler(NStepBuilder(0.9, 3), 0.6, 0.4, 10),
    lambda: HindsightSampler(0.9, 4, GOALS),
]


def rows(start: int, count: int) -> Transitions:
    """Transitions of episodes of five steps, the second of every two terminal; rewards are row numbers."""
    number = np.arange(start, start + count)
    return {
        "obs": np.repeat(number[:, None], 2, 1).astype(np.float32),
        "action": number[:, None].astype(np.float32) / 10,
        "reward": number.astype(np.float32),
        "terminated": number % 10 == 9,
        "next_obs": np.repeat(number[:, None] + 1, 2, 1).astype(np.float32),
        "env": np.zeros(count, np.int32),
        "episode_start": number % 5 == 0,
    }


def assert_equal(wanted: dict[str, Any], got: dict[str, Any]) -> None:
    """Same fields, dtypes and values."""
    assert list(wanted) == list(got)
    for name, values in wanted.items():
        assert np.asarray(got[name]).dtype == values.dtype, name
        np.testing.assert_array_equal(got[name], values, err_msg=name)


@pytest.mark.parametrize("make_sampler", SAMPLERS, ids=["uniform", "n_step", "per", "her"])
@given(capacity=st.integers(1, 9), events=st.lists(st.integers(0, 12), min_size=1, max_size=12))
def test_it_holds_and_samples_what_host_storage_does(
    make_sampler: Any, capacity: int, events: list[int]
) -> None:
    """An event adds that many rows; after it, both are sampled and read."""
    host = ReplayBuffer(HostStorage(FIELDS, capacity), make_sampler())
    device = ReplayBuffer(DeviceStorage(FIELDS, capacity, CPU), make_sampler())
    rng, twin = np.random.default_rng(0), np.random.default_rng(0)
    for count in events:
        for buffer in (host, device):
            buffer.add(rows(buffer.total, count))
        assert (len(device), device.total) == (len(host), host.total)
        if count % 2 or not len(host):  # some additions wait together
            continue
        wanted, got = host.sample(2, 3, rng), device.sample(2, 3, twin)
        assert all(isinstance(values, torch.Tensor) for values in got.values())
        assert_equal(wanted, got)
        start = host.total - len(host)
        assert_equal(host.read(start, host.total), device.read(start, host.total))


def test_rows_are_copied_when_they_are_added() -> None:
    storage, transitions = DeviceStorage(FIELDS, 4, CPU), rows(0, 2)
    storage.append(transitions)
    for values in transitions.values():
        values[:] = 1
    assert_equal(rows(0, 2), storage.read(0, 2))


def test_restore_replaces_stored_and_waiting_rows() -> None:
    buffer = ReplayBuffer(DeviceStorage(STORED, 4, CPU), UniformSampler(OneStepBuilder(0.9)))
    buffer.add(rows(0, 3))
    buffer.restore(7, rows(7, 2))
    assert (len(buffer), buffer.total) == (4, 9)
    wanted = rows(7, 2)
    assert_equal({field.name: wanted[field.name] for field in STORED}, buffer.read(7, 9))


def test_rows_for_an_agent_on_the_cpu_are_in_host_memory() -> None:
    assert type(make_storage(FIELDS, 4, CPU)) is HostStorage


def test_what_does_not_fit_is_refused_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device_storage.torch.cuda, "mem_get_info", lambda device: (2**20, 2**30))
    wanted = (
        r"^replay_size=1000000 needs 0\.0 GiB at 25 bytes per transition, and the free memory of cuda:0 is "
        r"0\.0 GiB: "
        r"replay_size=20971 would fit, or give device='cpu'$"
    )
    with pytest.raises(ConfigError, match=wanted):
        make_storage(STORED, 1_000_000, torch.device("cuda:0"))
