"""A collector that makes no transitions, for runs that learn from prior data alone."""

from __future__ import annotations

from typing import Any

from spinup.interfaces import Act, Collected


class OfflineCollector:
    """Counts the steps that a run in the environment would take, and takes none."""

    num_envs = 1

    def __init__(self) -> None:
        self.env_steps = 0

    def start(self) -> None:
        """Nothing begins."""

    def collect(self, act: Act) -> Collected:
        """One more step, without a transition."""
        self.env_steps += 1
        return Collected({}, [])

    def metrics(self) -> dict[str, float]:
        """Nothing to log."""
        return {}

    def new_epoch(self) -> None:
        """Nothing to do."""

    def state_dict(self) -> dict[str, Any]:
        """The count of steps."""
        return {"env_steps": self.env_steps, "episodes": {}}

    def load_state_dict(self, state: dict[str, Any]) -> str:
        """Continue where `state` was taken."""
        self.env_steps = state["env_steps"]
        return ""
