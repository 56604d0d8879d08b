"""The ledger of gradient steps: environment steps earn them, updates spend them."""

from __future__ import annotations

from typing import final

from spinup.config import SACConfig


@final
class CreditLedger:
    """Counts environment steps and gradient steps, and says how many of the latter are due.

        credit = updates_per_step * (steps admitted to the replay buffer) - gradient steps made

    Steps before the first block of updates earn nothing. Credit is paid out in blocks, one for each multiple
    of `update_every`. Local, vector and remote collectors share these rules, so the ratio of gradient steps
    to environment steps depends neither on where transitions come from nor on how many arrive at a time.
    The loop spends all credit before it collects again, so the counts follow from `steps` alone, and a run
    that is resumed there owes nothing.

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
        """The admitted steps that have earned updates which were due by now."""
        every = self.config.update_every
        return max(self.steps // every * every - self.config.first_block + every, 0)

    def asked(self, steps: int) -> int:
        """Gradient steps due in total once `steps` environment steps have been admitted."""
        return self.config.updates_by(steps)

    def admit(self, steps: int) -> list[int]:
        """Count environment steps; returns the sizes of the blocks of gradient steps that fall due."""
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
