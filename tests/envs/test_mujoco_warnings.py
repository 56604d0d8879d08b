"""MuJoCo's warnings about a model are shown once, however many environments load it."""

from __future__ import annotations

import mujoco
import pytest

from spinup.envs import mujoco_warnings as quiet


def test_each_warning_is_shown_once_and_the_handler_put_back(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(quiet, "_shown", set())
    before = mujoco.get_mju_user_warning()
    for _ in range(3):
        with quiet.mujoco_warnings_once():
            mujoco.get_mju_user_warning()("a part is deprecated")
            mujoco.get_mju_user_warning()("another part is deprecated\n")
    assert mujoco.get_mju_user_warning() is before
    assert capfd.readouterr().err.splitlines() == [
        "MuJoCo: a part is deprecated",
        "MuJoCo: another part is deprecated",
    ]
