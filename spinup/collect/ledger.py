"""Counts environment steps and gradient steps, to keep their ratio."""

from __future__ import annotations

from typing import final

from spinup.config import SACConfig


@final
class CreditLedger:
    """Counts environment steps and gradient steps, and computes how many gradient steps are due.

        credit = updates_per_step * (steps admitted to the replay buffer) - gradient steps made

    Steps before the first block of updates do not count. Gradient steps are due in blocks, one for each
    multiple of `update_every`. The same rules hold for local, vector and remote collectors, so the ratio of
    gradient steps to environment steps depends neither on the collector nor on how many transitions arrive at
    a time. The loop makes all gradient steps that are due before it collects again, so a resumed run can
    compute both counts from `steps`.

    Attributes:
        steps: environment steps admitted.
        updates: gradient steps made.
    """

    def __init__(self, config: SACConfig) -> None:
        self.config, self.steps, self.updates = config, 0, 0

    @property
    def credit(self) -> int:
        """Gradient steps that are due and have not been made."""
        return self.asked(self.steps) - self.updates

    @property
    def earning_steps(self) -> int:
        """The number of admitted steps whose gradient steps are due by now."""
        every = self.config.update_every
        return max(self.steps // every * every - self.config.first_block + every, 0)

    def asked(self, steps: int) -> int:
        """Gradient steps due in total once `steps` environment steps have been admitted."""
        return self.config.updates_by(steps)

    def admit(self, steps: int) -> list[int]:
        """Count environment steps; returns the sizes of the blocks of gradient steps that become due."""
        before, self.steps = self.steps, self.steps + steps
        return [self.config.updates_due(n) for n in multiples(before, self.steps, self.config.update_every)]

    def spend(self, updates: int) -> None:
        """Count gradient steps that were made."""
        self.updates += updates

    def resume(self, steps: int) -> None:
        """Count from `steps` environment steps, whose gradient steps have been made."""
        self.steps, self.updates = steps, self.asked(steps)


def multiples(before: int, after: int, of: int) -> range:
    """The multiples of `of` in (before, after]."""
    return range((before // of + 1) * of, after + 1, of)
