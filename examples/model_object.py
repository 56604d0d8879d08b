"""Train with a callback that stops at a return, predict, save, load, go on: python model_object.py [STEPS]"""

import sys

import gymnasium as gym

import spinup

STEPS = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000


def stop_at_return(row, ac):
    """End the run once a test reaches -200."""
    print(f"step {row['TotalEnvInteracts']}: test return {row['AverageTestEpRet']:.1f}")
    return not row["AverageTestEpRet"] > -200


model = spinup.SAC(
    "Pendulum-v1",
    alpha="auto",
    steps_per_epoch=500,
    start_steps=500,
    update_after=500,
    num_test_episodes=2,
    callback=stop_at_return,
    logger_kwargs={"output_dir": "data/model_object", "quiet": True},
)
model.learn(STEPS)
print(f"{model.steps} steps in {model.folder}")

env = gym.make("Pendulum-v1")
obs, _ = env.reset(seed=0)
action, _ = model.predict(obs)
env.step(action)

model.save("data/model_object_saved")
spinup.SAC.load("data/model_object_saved", callback=None).learn(1000)
