"""Makes the collectors for training and for tests from an environment function."""

from __future__ import annotations

from spinup.collect.collector import EnvCollector
from spinup.collect.offline import OfflineCollector
from spinup.collect.remote import RemoteCollector
from spinup.collect.transport import Transport
from spinup.collect.update_schedule import UpdateSchedule
from spinup.config import SACConfig
from spinup.envs.local_vector import LocalVector
from spinup.envs.make import EnvFn, env_function, make_vector
from spinup.envs.vector import EnvVector
from spinup.errors import ConfigError
from spinup.seeding import TEST_STREAM, TRAIN_STREAM

MAX_TEST_ENVS = 10
TrainingCollector = EnvCollector | OfflineCollector | RemoteCollector


def make_collectors(
    env_fn: EnvFn | str,
    config: SACConfig,
    transport: Transport | None = None,
    schedule: UpdateSchedule | None = None,
) -> tuple[TrainingCollector, EnvCollector]:
    """Make a collector for training and another for tests, with different seeds.

    Args:
        env_fn: a function that makes an environment, or an environment id.
        config: the hyperparameters.
        transport: connection to remote collectors; None uses Ray if `config.collectors` is set.
        schedule: the training loop's schedule, which remote collectors read.

    Raises:
        EnvError, ConfigError: for environments that cannot be used; all environments are closed then.
    """
    env_fn = env_function(env_fn)
    if config.collectors is not None:
        return _remote_collectors(env_fn, config, transport, schedule or UpdateSchedule(config))
    if transport is not None:
        raise ConfigError("transport is used only with collectors: give their number, such as collectors=8")
    if config.offline:
        return OfflineCollector(), _test_collector(env_fn, config)
    train = _make_collector(env_fn, config, TRAIN_STREAM, config.num_envs)
    try:
        return train, _test_collector(env_fn, config)
    except BaseException:
        train.close()
        raise


def _make_collector(env_fn: EnvFn, config: SACConfig, stream: int, num_envs: int) -> EnvCollector:
    vector = make_vector(env_fn, num_envs, config.env_workers, config.env_timeout)
    return _collector_of(vector, config, stream)


def _test_collector(env_fn: EnvFn, config: SACConfig) -> EnvCollector:
    num_envs = max(1, min(config.num_test_episodes, MAX_TEST_ENVS))
    return _make_collector(env_fn, config, TEST_STREAM, num_envs)


def _collector_of(vector: EnvVector, config: SACConfig, stream: int) -> EnvCollector:
    try:
        return EnvCollector(vector, seed=config.seed, stream=stream, max_ep_len=config.max_ep_len)
    except BaseException:
        vector.close()
        raise


def _remote_collectors(
    env_fn: EnvFn, config: SACConfig, transport: Transport | None, schedule: UpdateSchedule
) -> tuple[TrainingCollector, EnvCollector]:
    tests = _test_collector(env_fn, config)
    try:
        if not isinstance(tests.vector, LocalVector):
            raise ConfigError(
                "env_fn returned a vector of environments, and each collector makes its own of num_envs: let "
                "env_fn return a single one"
            )
        if transport is None:
            from spinup.collect.ray_transport import RayTransport

            transport = RayTransport(config.ray)
        if config.collect == "lockstep":
            from spinup.collect.lockstep import RemoteVector

            try:
                vector = RemoteVector(env_fn, config, transport, tests.vector)
            except BaseException:
                transport.close()
                raise
            return _collector_of(vector, config, TRAIN_STREAM), tests
        return RemoteCollector(config, env_fn, tests.actions, tests.fields, transport, schedule), tests
    except BaseException:
        tests.close()
        raise
