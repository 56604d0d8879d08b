"""Search with Ray Tune: its trials call sac_pytorch, whose callback reports the test return of each epoch.

    pip install "spinup[ray]" "ray[tune]"
    python examples/ray_tune.py --samples 8

ASHA stops trials that fall behind. A trial is one Ray task in this case, not a process under `spinup tune`'s
supervision: use it where the search algorithms and schedulers of Ray Tune are wanted.
"""

from __future__ import annotations

import argparse
from typing import Any

from ray import tune
from ray.tune.schedulers import ASHAScheduler

from spinup import sac_pytorch


def trial(config: dict[str, Any]) -> None:
    """One run with the searched settings."""
    sac_pytorch(
        config["env"],
        ac_kwargs={"hidden_sizes": config["hidden_sizes"]},
        gamma=config["gamma"],
        lr=config["lr"],
        steps_per_epoch=config["steps_per_epoch"],
        epochs=config["epochs"],
        start_steps=config["steps_per_epoch"] // 2,
        update_after=config["steps_per_epoch"] // 2,
        num_test_episodes=3,
        threads=1,
        logger_kwargs={"output_dir": f"{tune.get_context().get_trial_dir()}/run", "quiet": True},
        callback=lambda row, ac: tune.report({"test_return": row["AverageTestEpRet"], "epoch": row["Epoch"]}),
    )


def search(env: str, samples: int, epochs: int, steps_per_epoch: int, storage: str | None) -> Any:
    """The results of a search, one per trial."""
    space = {
        "env": env,
        "epochs": epochs,
        "steps_per_epoch": steps_per_epoch,
        "lr": tune.loguniform(1e-4, 1e-2),
        "gamma": tune.uniform(0.95, 0.999),
        "hidden_sizes": tune.choice([[64, 64], [256, 256]]),
    }
    asha = ASHAScheduler(time_attr="epoch", max_t=epochs, grace_period=max(1, epochs // 4))
    config = tune.TuneConfig(metric="test_return", mode="max", num_samples=samples, scheduler=asha)
    run_config = tune.RunConfig(name="spinup", storage_path=storage, verbose=0)
    tuner = tune.Tuner(
        tune.with_resources(trial, {"cpu": 1}), param_space=space, tune_config=config, run_config=run_config
    )
    return tuner.fit()


def main() -> None:
    """Search, and print the best settings."""
    parser = argparse.ArgumentParser(description="Search with Ray Tune")
    parser.add_argument("--env", default="Pendulum-v1")
    parser.add_argument("--samples", type=int, default=8)
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--steps_per_epoch", type=int, default=1000)
    parser.add_argument("--storage", help="folder of the results, in place of ~/ray_results")
    best = search(**vars(parser.parse_args())).get_best_result()
    print(f"return {best.metrics['test_return']:.5g} with {best.config}")


if __name__ == "__main__":
    main()
