"""Proofs that the agent learns: what holds for every engine of PyTorch holds for the TensorFlow graph too."""

from __future__ import annotations

from typing import Any

import pytest
from graphs import TF1
from helpers import ENGINES


@pytest.fixture(params=[*ENGINES, TF1])
def engine(request: pytest.FixtureRequest) -> Any:
    """The name of each engine in turn, and "tf1"."""
    return request.param
