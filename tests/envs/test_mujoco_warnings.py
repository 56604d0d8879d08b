"""Each MuJoCo warning is shown once, however many environments load the model."""

from __future__ import annotations

import mujoco
import pytest

from spinup.envs import mujoco_warnings


def test_each_warning_is_shown_once_and_the_handler_restored(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mujoco_warnings, "_shown", set())
    previous = mujoco.get_mju_user_warning()
    for _ in range(3):
        with mujoco_warnings.mujoco_warnings_once():
            mujoco.get_mju_user_warning()("a part is deprecated")
            mujoco.get_mju_user_warning()("another part is deprecated\n")
    assert mujoco.get_mju_user_warning() is previous
    assert capfd.readouterr().err.splitlines() == [
        "MuJoCo: a part is deprecated",
        "MuJoCo: another part is deprecated",
    ]
