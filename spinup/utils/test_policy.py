"""load_policy_and_env and run_policy, under the import path that Spinning Up documents."""

from spinup.playback.episodes import load_policy_and_env, run_policy

__all__ = ["load_policy_and_env", "run_policy"]
