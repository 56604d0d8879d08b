"""The import paths that Spinning Up documents offer the documented names."""

from importlib import import_module

import pytest

DOCUMENTED = {
    "logx": ["EpochLogger", "restore_tf_graph"],
    "run_utils": ["ExperimentGrid", "setup_logger_kwargs"],
    "test_policy": ["load_policy_and_env", "run_policy"],
    "plot": ["make_plots"],
}


@pytest.mark.parametrize("module", DOCUMENTED)
def test_documented_names(module):
    found = import_module(f"spinup.utils.{module}")
    assert found.__all__ == DOCUMENTED[module]
    assert all(callable(getattr(found, name)) for name in DOCUMENTED[module])
