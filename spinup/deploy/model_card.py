"""The model card of a run: task, returns, and the command that trains the model again."""

from __future__ import annotations

import json
import shlex
from dataclasses import dataclass
from typing import Any

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from spinup.config import field_defaults
from spinup.envs.saved_spec import env_flag, wrappers_from_code
from spinup.files import to_json
from spinup.recipes import RECIPES
from spinup.runs.resuming import OUR_ACTOR_CRITICS
from spinup.version import __version__

# Settings that depend on the machine, or only affect logging and checkpoints.
_NOT_IN_COMMAND = (
    "engine", "device", "threads", "env_workers", "env_timeout", "checkpoint_every", "checkpoint_minutes",
    "callback_every", "keep_checkpoints", "video_every",
)  # fmt: skip
RESAMPLES = 2_000


@dataclass(frozen=True)
class Evaluation:
    """Returns of new episodes with the deterministic policy, and the 95% interval of their mean."""

    returns: NDArray[np.float64]
    low: float
    high: float

    @property
    def mean(self) -> float:
        """The mean of the returns."""
        return float(self.returns.mean())


def mean_interval(returns: NDArray[np.float64], seed: int = 0) -> tuple[float, float]:
    """The 95% percentile bootstrap interval of the mean (Efron 1979)."""
    rng = np.random.default_rng(seed)
    means = rng.choice(returns, (RESAMPLES, len(returns))).mean(1)
    low, high = np.percentile(means, [2.5, 97.5])
    return float(low), float(high)


def training_command(config: dict[str, Any], env: dict[str, Any] | None, given_env: str | None = None) -> str:
    """The command that trains the model again, with the settings that differ from their defaults.

    Args:
        config: the content of config.json.
        env: the environment's entry in vars.json.
        given_env: the environment's id with the module that registers it, "module:Env-v0"; None if none does.

    Returns:
        The command; empty if no command gives the same run, since its environment or networks need user code.
    """
    if not env or env.get("vector") or wrappers_from_code(env):
        return ""
    if config.get("actor_critic", "") not in OUR_ACTOR_CRITICS:
        return ""
    env_id = given_env or str(env["id"])
    words = ["spinup", "sac_tf1" if config.get("algorithm") == "sac_tf1" else "sac", "--env", env_id]
    kwargs, registered = dict(env.get("kwargs") or {}), gym.registry.get(str(env["id"]))
    limit = env.get("max_episode_steps")
    if limit is not None and registered is not None and limit != registered.max_episode_steps:
        kwargs["max_episode_steps"] = limit
    if kwargs:
        words += ["--env_kwargs", repr(kwargs)]
    if config.get("exp_name"):
        words += ["--exp_name", str(config["exp_name"])]
    recipe = RECIPES.get(str(config.get("recipe")))
    base = to_json({**field_defaults(), **({} if recipe is None else recipe.settings)})
    base["recipe"] = None
    for name in field_defaults():
        value = config.get(name, base[name])
        if value != base[name] and name not in _NOT_IN_COMMAND:
            words += [f"--{name}", str(value)]
    for name, value in (config.get("ac_kwargs") or {}).items():
        text = str(value).replace("torch.nn.modules.activation.", "torch.nn.")
        words += [f"--ac_kwargs:{name}", text]
    return shlex.join(words)


def model_card(
    config: dict[str, Any],
    env: dict[str, Any] | None,
    evaluation: Evaluation,
    repo_id: str,
    *,
    trained: str,
    itr: int | str = "last",
    given_env: str | None = None,
    video: str = "",
    curve: str = "",
) -> str:
    """The README.md of a model repository, with metadata that the Hub reads.

    Args:
        config: the content of config.json.
        env: the environment's entry in vars.json.
        evaluation: returns of the model.
        repo_id: id of the repository, for the commands.
        trained: length of the training, such as "1,000 env steps".
        itr: which model was evaluated, see `load_policy_and_env`.
        given_env: see `training_command`.
        video, curve: files in the repository; empty if there is none.
    """
    name = str(env["id"]) if env else "a custom environment"
    result = f"{evaluation.mean:.2f}"
    interval = f"{evaluation.low:.2f} to {evaluation.high:.2f}"
    command = training_command(config, env, given_env)
    which = "" if itr in ("last", -1) else f" -i {itr}"
    training = f"after {trained}" if not which else f"by the model saved as {itr} in {trained}"
    test = f"spinup test_policy data/{repo_id.rpartition('/')[2]}{which}{env_flag(given_env)}"
    lines = [
        "---",
        json.dumps(_metadata(name, evaluation), indent=1),  # JSON is YAML too
        "---",
        f"# Soft Actor-Critic on {name}",
        "",
        f"Mean return over {len(evaluation.returns)} episodes of the deterministic policy: **{result}** "
        f"(95% bootstrap interval {interval}), {training} with seed {config.get('seed')}.",
        "",
        *([f'<video src="{video}" controls autoplay loop muted></video>', ""] if video else []),
        *([f"![learning curve]({curve})", ""] if curve else []),
        "## Use",
        "",
        "With spinup for Soft Actor-Critic (not the PyPI project `spinup`) and its extra `hub`:",
        "",
        "```sh",
        f"spinup pull {repo_id}",
        test,
        "```",
        "",
        "## Training",
        "",
        *(
            ["```sh", command, "```"]
            if command
            else ["The environment or the networks are the author's own code."]
        ),
        "",
        f"spinup {__version__}; all settings are in `config.json`, the training log is `progress.txt`.",
    ]
    return "\n".join(lines) + "\n"


def _metadata(name: str, evaluation: Evaluation) -> dict[str, Any]:
    """The metadata that the Hub reads."""
    spread = f"{evaluation.mean:.2f} +/- {evaluation.returns.std():.2f}"
    return {
        "library_name": "spinup",
        "tags": ["reinforcement-learning", "deep-reinforcement-learning", "soft-actor-critic", name],
        "model-index": [
            {
                "name": "SAC",
                "results": [
                    {
                        "task": {"type": "reinforcement-learning", "name": "reinforcement-learning"},
                        "dataset": {"name": name, "type": name},
                        "metrics": [{"type": "mean_reward", "value": spread, "name": "mean_reward"}],
                    }
                ],
            }
        ],
    }
