"""A callback that stops the run once tests no longer improve: python early_stop.py [EPOCHS]"""

import sys

import spinup

EPOCHS = int(sys.argv[1]) if len(sys.argv) > 1 else 40


class Patience:
    """Ends the run after `patience` tests in a row without a new best return.

    It is called after each epoch with its row, which has the columns of progress.txt, and the actor-critic.
    """

    def __init__(self, patience):
        self.best, self.since, self.patience = -float("inf"), 0, patience

    def __call__(self, row, ac):
        test = row["AverageTestEpRet"]
        self.since = 0 if test > self.best else self.since + 1
        self.best = max(self.best, test)
        print(f"step {row['TotalEnvInteracts']}: test return {test:.0f}, best {self.best:.0f}")
        return self.since < self.patience  # False ends the run, after a checkpoint


spinup.sac_pytorch(
    "Pendulum-v1",
    ac_kwargs=dict(hidden_sizes=(64, 64)),
    alpha="auto",
    steps_per_epoch=500,  # the interval between tests
    epochs=EPOCHS,
    start_steps=500,
    update_after=500,
    num_test_episodes=3,
    callback=Patience(6),
    logger_kwargs=dict(output_dir="data/early_stop", quiet=True),
)
