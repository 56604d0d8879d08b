"""Goals of environments in the format of gymnasium-robotics: Dict observations and compute_reward."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.spaces import Box, Dict
from numpy.typing import NDArray

from spinup.envs.spaces import image_layout, key_columns
from spinup.envs.vector import call_checked
from spinup.errors import EnvError
from spinup.replay.hindsight import Goal, Goals

KEYS = ("observation", "achieved_goal", "desired_goal")


def goals_of(env: gym.Env[Any, Any]) -> Goals:
    """The columns of goals in an environment's flat observations, and its reward as a function of goals.

    `compute_reward(achieved_goal, desired_goal, info)` is called with arrays of n goals in the dtype of the
    space and an empty info, and must return n rewards. `compute_terminated`, if the environment has it, is
    called in the same way; if it does not return n booleans, it is called once per pair of goals.

    Raises:
        EnvError: if the observation space is not a Dict with the keys of KEYS or has images, the goals'
            spaces are not Boxes of one shape, or there is no `compute_reward`.
    """
    space = env.observation_space
    keys = list(space.spaces) if isinstance(space, Dict) else []
    if not isinstance(space, Dict) or not set(KEYS) <= set(keys):
        has = f"has the keys {', '.join(keys)}" if keys else f"is {space}"
        raise EnvError(
            f"sampler='her' needs observations that are a Dict with the keys {', '.join(KEYS)}, and the "
            f"observation space {has}: add what is missing, or leave sampler out"
        )
    if image_layout(space) is not None:
        raise EnvError(
            f"sampler='her' needs observations without images, and the observation space is {space}: leave "
            "sampler out"
        )
    achieved, desired = space["achieved_goal"], space["desired_goal"]
    if not isinstance(achieved, Box) or not isinstance(desired, Box) or achieved.shape != desired.shape:
        raise EnvError(
            f"sampler='her' needs achieved_goal and desired_goal to be Boxes of one shape, not {achieved} "
            f"and {desired}: change the spaces, or leave sampler out"
        )
    try:
        compute_reward = env.get_wrapper_attr("compute_reward")
    except AttributeError:
        raise EnvError(
            "sampler='her' needs compute_reward(achieved_goal, desired_goal, info), which the environment "
            "does not have: add it, or leave sampler out"
        ) from None
    goal = desired

    def reward(achieved: Goal, desired: Goal) -> NDArray[np.float32]:
        return _computed("compute_reward", compute_reward, goal, achieved, desired, np.dtype(np.float32))

    def terminated(achieved: Goal, desired: Goal) -> NDArray[np.bool_]:
        function = _for_each_pair(env.get_wrapper_attr("compute_terminated"))
        return _computed("compute_terminated", function, goal, achieved, desired, np.dtype(np.bool_))

    ends = env.has_wrapper_attr("compute_terminated")
    columns = key_columns(space)
    return Goals(columns["achieved_goal"], columns["desired_goal"], reward, terminated if ends else None)


def _for_each_pair(function: Any) -> Any:
    """A function of n pairs of goals, given one that may be defined for a single pair.

    gymnasium-robotics defines `compute_terminated` for a pair of goals, and `compute_reward` for arrays.
    """

    def call(achieved: Goal, desired: Goal, info: dict[str, Any]) -> Any:
        values = function(achieved, desired, info)
        if np.shape(values) == (len(achieved),):
            return values
        return [function(*pair, info) for pair in zip(achieved, desired, strict=True)]

    return call


def _computed(
    name: str, function: Any, goal: Box, achieved: Goal, desired: Goal, dtype: np.dtype[Any]
) -> NDArray[Any]:
    """Call a function of the environment with n achieved and desired goals, and check the result."""
    shape = (len(achieved), *goal.shape)
    goals = [flat.reshape(shape).astype(goal.dtype) for flat in (achieved, desired)]
    values = np.asarray(call_checked(lambda: function(*goals, {}), f"{name} must take arrays of n goals"))
    if values.shape != shape[:1] or not np.isfinite(values).all():
        raise EnvError(
            f"{name} returned values of shape {values.shape} for {shape[0]} goals of shape {goal.shape}: "
            f"return one finite number for each, shape {shape[:1]}"
        )
    return values.astype(dtype)
