"""Interrupt a run, continue it, and compare it bit for bit with a whole run: python resume.py [EPOCHS]"""

import sys

import torch

import spinup

EPOCHS = int(sys.argv[1]) if len(sys.argv) > 1 else 6


def train(folder, **kwargs):
    """The same call starts a run, continues an interrupted one, and does nothing once it is complete."""
    return spinup.sac_pytorch(
        "Pendulum-v1",
        ac_kwargs=dict(hidden_sizes=(32, 32)),
        steps_per_epoch=400,
        epochs=EPOCHS,
        start_steps=200,
        update_after=200,
        num_test_episodes=1,
        logger_kwargs=dict(output_dir=folder, quiet=True),
        resume=True,
        **kwargs,
    )


class Preempted(Exception):
    pass


def preempt(row, ac):
    """Simulates a crash. It comes before this epoch's checkpoint, so the resumed run repeats the epoch."""
    if row["Epoch"] == EPOCHS // 2:
        raise Preempted


try:
    train("data/interrupted", callback=preempt)
except Preempted:
    print(f"interrupted in epoch {EPOCHS // 2}")
continued = train("data/interrupted")
whole = train("data/uninterrupted")
for a, b in zip(continued.parameters(), whole.parameters(), strict=True):
    assert torch.equal(a, b)
print("the parameters are equal, bit for bit")
