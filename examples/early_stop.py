"""Callbacks: print within epochs, and stop once tests no longer improve: python early_stop.py [EPOCHS]"""

import math
import sys

import spinup

EPOCHS = int(sys.argv[1]) if len(sys.argv) > 1 else 20


class Patience:
    """Ends the run after `patience` tests in a row without a new best return.

    It is called with the row so far, which has the columns of progress.txt, and the actor-critic.
    """

    def __init__(self, patience):
        self.best, self.since, self.patience = -float("inf"), 0, patience

    def __call__(self, row, ac):
        test = row["AverageTestEpRet"]
        if math.isnan(test):  # no test since the epoch began
            return True
        self.since = 0 if test > self.best else self.since + 1
        self.best = max(self.best, test)
        print(f"step {row['TotalEnvInteracts']}: test return {test:.0f}, best {self.best:.0f}")
        return self.since < self.patience  # False ends the run, after a checkpoint


spinup.sac_pytorch(
    "Pendulum-v1",
    ac_kwargs=dict(hidden_sizes=(64, 64)),
    alpha="auto",
    steps_per_epoch=1000,
    epochs=EPOCHS,
    start_steps=500,
    update_after=500,
    test_every=500,  # two tests in each epoch
    num_test_episodes=3,
    callback=Patience(6),
    callback_every=500,
    logger_kwargs=dict(output_dir="data/early_stop", quiet=True),
)
