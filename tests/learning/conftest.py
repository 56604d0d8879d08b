"""Runs the learning tests with every PyTorch engine and with the TensorFlow graph."""

from __future__ import annotations

from typing import Any

import pytest
from graphs import TF1
from helpers import ENGINES


@pytest.fixture(params=[*ENGINES, TF1])
def engine(request: pytest.FixtureRequest) -> Any:
    """The name of each engine in turn, and "tf1"."""
    return request.param
