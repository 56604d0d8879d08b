"""Run a policy that `spinup export` wrote, with onnxruntime alone: python onnx_policy.py policy.onnx"""

import json
import sys

import gymnasium as gym
import numpy as np
import onnxruntime

session = onnxruntime.InferenceSession(sys.argv[1])
about = session.get_modelmeta().custom_metadata_map
spec = json.loads(about["env"])
env = gym.make(spec["id"], max_episode_steps=spec["max_episode_steps"], **spec["kwargs"])
obs, _ = env.reset(seed=0)
episode_return, over = 0.0, False
while not over:
    flat = gym.spaces.flatten(env.observation_space, obs).astype(np.float32)
    action = session.run(["action"], {"obs": flat[None]})[0][0]
    action = action.astype(env.action_space.dtype).reshape(env.action_space.shape)
    obs, reward, terminated, truncated, _ = env.step(action)
    episode_return += float(reward)
    over = terminated or truncated
print(f"return {episode_return:.2f}")
