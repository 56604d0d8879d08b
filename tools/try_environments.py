"""Which tasks of Gymnasium, Gymnasium-Robotics and DeepMind Control run with the installed MuJoCo.

    python tools/try_environments.py

Makes each task, takes 20 random steps, and prints a line for each group: how many work, and each distinct
error with the tasks that raise it. Groups whose package is not installed are left out.
"""

from __future__ import annotations

import importlib
import importlib.util
from importlib.metadata import version

import gymnasium as gym

STEPS = 20
GROUPS = {
    "gymnasium": (
        "HalfCheetah-v5 Hopper-v5 Walker2d-v5 Ant-v5 Humanoid-v5 HumanoidStandup-v5 Swimmer-v5 Reacher-v5 "
        "Pusher-v5 InvertedPendulum-v5 InvertedDoublePendulum-v5"
    ),
    "gymnasium_robotics": (
        "AdroitHandDoor-v1 AdroitHandHammer-v1 AdroitHandPen-v1 AdroitHandRelocate-v1 PointMaze_UMaze-v3 "
        "AntMaze_UMaze-v5 FetchReach-v4 FetchPush-v4 HandReach-v3 HandManipulateBlockRotateZ-v1 "
        "FrankaKitchen-v1"
    ),
    "shimmy": (
        "cartpole-swingup cheetah-run walker-walk humanoid-run finger-spin dog-walk manipulator-bring_ball "
        "quadruped-run fish-swim"
    ),
}


def main() -> None:
    """Try every group that is installed."""
    for module, names in GROUPS.items():
        if importlib.util.find_spec(module) is None:
            continue
        importlib.import_module(module)
        ids = [f"dm_control/{name}-v0" if module == "shimmy" else name for name in names.split()]
        errors: dict[str, list[str]] = {}
        for name in ids:
            try:
                run(name)
            except Exception as error:  # of any package, such as an attribute that MuJoCo no longer has
                errors.setdefault(f"{type(error).__name__}: {error}", []).append(name)
        working = len(ids) - sum(map(len, errors.values()))
        print(f"mujoco {version('mujoco')}, {module} {version(module)}: {working} of {len(ids)} work")
        for text, failing in errors.items():
            print(f"    {' '.join(text.split())[:200]}: {', '.join(failing)}")


def run(name: str) -> None:
    """Make the task and take random steps."""
    env = gym.make(name)
    env.reset(seed=0)
    env.action_space.seed(0)
    for _ in range(STEPS):
        env.step(env.action_space.sample())
    env.close()


if __name__ == "__main__":
    main()
