"""Process-wide torch settings: flushing denormals on each thread, and the note about threads."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from spinup.pytorch.torch_settings import threads_note

DENORMALS = """
import numpy as np, torch
from spinup.pytorch.torch_settings import torch_settings
tiny = torch.from_numpy(np.full(1_000_000, 1e-39, np.float32))
torch.set_num_threads(2)
tiny * 2  # torch's second thread starts here, before the run
kept = lambda: (tiny * 0.5).view(torch.int32).count_nonzero().item()
print(kept())
with torch_settings(2, 0):
    print(kept())
print(kept())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="torch has another OpenMP runtime elsewhere")
def test_denormals_are_flushed_on_threads_that_torch_started_earlier() -> None:
    env = {k: v for k, v in os.environ.items() if k != "OMP_THREAD_LIMIT"}
    root = str(Path(__file__).parents[2])
    done = subprocess.run(
        [sys.executable, "-c", DENORMALS], capture_output=True, text=True, check=True, env=env, cwd=root
    )
    assert done.stdout.split() == ["1000000", "0", "1000000"]


def test_the_log_names_the_number_of_threads() -> None:
    assert threads_note(1, 1) == "threads: 1"
    assert threads_note(1, 2) == "threads: 1 for torch, up to 2 for the native engine"
    assert threads_note(2, 2).startswith("threads: 2; ")
    assert "threads=1" in threads_note(2, 2)
