"""A collector that makes no transitions, for runs that learn only from prior data."""

from __future__ import annotations

from typing import Any

from spinup.interfaces import Act, Collected


class OfflineCollector:
    """Counts one step per call, without stepping an environment."""

    num_envs = 1

    def __init__(self) -> None:
        self.env_steps = 0

    def start(self) -> None:
        """Does nothing."""

    def collect(self, act: Act) -> Collected:
        """Count one step; returns no transition."""
        self.env_steps += 1
        return Collected({}, [])

    def metrics(self) -> dict[str, float]:
        """Always empty."""
        return {}

    def new_epoch(self) -> None:
        """Does nothing."""

    def close(self) -> None:
        """Does nothing."""

    def state_dict(self) -> dict[str, Any]:
        """The count of steps."""
        return {"env_steps": self.env_steps, "episodes": {}}

    def load_state_dict(self, state: dict[str, Any]) -> str:
        """Continue where `state` was taken."""
        self.env_steps = state["env_steps"]
        return ""
