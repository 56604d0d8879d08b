"""The collector to learn from and the evaluator to test with, from an environment function."""

from __future__ import annotations

from spinup.collect.collector import EnvCollector
from spinup.collect.episodes import TEST_STREAM, TRAIN_STREAM
from spinup.config import SACConfig
from spinup.envs.local_vector import LocalVector
from spinup.envs.make import EnvFn, env_function, make_vector

MAX_TEST_ENVS = 10


def make_collectors(env_fn: EnvFn | str, config: SACConfig) -> tuple[EnvCollector, EnvCollector]:
    """Environments to learn from and others to test on, with different seeds.

    Raises:
        EnvError, ConfigError: for environments that cannot be used; nothing is left open then.
    """
    env_fn = env_function(env_fn)
    collectors: list[EnvCollector] = []
    try:
        for stream in (TRAIN_STREAM, TEST_STREAM):
            num_envs = config.num_envs
            if stream == TEST_STREAM and isinstance(collectors[0].vector, LocalVector):
                num_envs = max(1, min(config.num_test_episodes, MAX_TEST_ENVS))
            vector = make_vector(env_fn, num_envs, config.env_workers, config.env_timeout)
            try:
                collectors.append(
                    EnvCollector(vector, seed=config.seed, stream=stream, max_ep_len=config.max_ep_len)
                )
            except BaseException:
                vector.close()
                raise
    except BaseException:
        for collector in collectors:
            collector.close()
        raise
    return collectors[0], collectors[1]
