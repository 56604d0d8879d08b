"""Learn from another run's transitions, beside new ones and without any: python prior_data.py [EPOCHS]"""

import csv
import sys

import spinup

EPOCHS = int(sys.argv[1]) if len(sys.argv) > 1 else 12
SETTINGS = dict(
    ac_kwargs=dict(hidden_sizes=(64, 64)),
    alpha="auto",
    steps_per_epoch=500,
    start_steps=200,
    update_after=200,
    num_test_episodes=3,
)


def train(folder, **kwargs):
    """The test return of the last epoch."""
    logger_kwargs = dict(output_dir=folder, quiet=True)
    spinup.sac_pytorch("Pendulum-v1", logger_kwargs=logger_kwargs, **{**SETTINGS, **kwargs})
    with open(f"{folder}/progress.txt") as file:
        return float(list(csv.DictReader(file, delimiter="\t"))[-1]["AverageTestEpRet"])


first = train("data/first", epochs=EPOCHS)
print(f"first run: {first:.0f}")
half = max(1, EPOCHS // 2)
alone = train("data/alone", epochs=half, seed=1)
beside = train("data/beside", epochs=half, seed=1, prior_data="data/first", prior_fraction=0.5)
print(f"{half} epochs: {alone:.0f} alone, {beside:.0f} with half of each batch from the first run")
offline = train("data/offline", epochs=half, seed=1, prior_data="data/first", offline=True)
print(f"without environment steps: {offline:.0f}")
