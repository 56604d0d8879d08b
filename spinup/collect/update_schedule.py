"""Counts environment steps and gradient steps, to keep their ratio."""

from __future__ import annotations

from typing import final

from spinup.config import SACConfig


@final
class UpdateSchedule:
    """Counts environment steps and gradient steps, and computes how many gradient steps are due.

    After s steps were added to the replay buffer, `SACConfig.updates_by(s)` gradient steps are due in total:
    `updates_per_step` for each step, except for steps before the first block of updates. They are made in
    blocks, one at each multiple of `update_every`. This holds for local, vector and remote collectors, so the
    ratio of gradient steps to environment steps depends neither on the collector nor on the number of
    transitions that arrive at a time. The loop makes all due gradient steps before it collects again, so a
    resumed run can compute both counts from `steps`.

    Attributes:
        steps: environment steps added to the replay buffer.
        updates: gradient steps made.
    """

    def __init__(self, config: SACConfig) -> None:
        self.config, self.steps, self.updates = config, 0, 0

    @property
    def steps_with_updates(self) -> int:
        """Number of environment steps whose gradient steps are due by now."""
        every = self.config.update_every
        return max(self.steps // every * every - self.config.first_block + every, 0)

    def add_steps(self, steps: int) -> list[int]:
        """Count environment steps; returns the sizes of the blocks of gradient steps that become due."""
        before, self.steps = self.steps, self.steps + steps
        return [self.config.updates_due(n) for n in multiples(before, self.steps, self.config.update_every)]

    def add_updates(self, updates: int) -> None:
        """Count gradient steps that were made."""
        self.updates += updates

    def resume(self, steps: int) -> None:
        """Continue from `steps` environment steps, whose gradient steps have been made."""
        self.steps, self.updates = steps, self.config.updates_by(steps)


def multiples(before: int, after: int, of: int) -> range:
    """The multiples of `of` in (before, after]."""
    return range((before // of + 1) * of, after + 1, of)
