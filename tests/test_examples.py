"""Every file in examples/ runs and does what it says. Needs the extra `onnx`, g++ and Node.js."""

import json
import re
import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers import train

from spinup.deploy.export import export_policy
from spinup.playback.episodes import load_policy_and_env

EXAMPLES = Path(__file__).parent.parent / "examples"
TESTED = {"onnx_policy.py", "onnx_policy.mjs", "torchscript_policy.cpp", "model_object.py"}
TESTED |= {"ray_tune.py", "robot.py"}  # in tests/examples/
# Scripts that take a number of epochs: the number here, what they print, and the folder of a run they leave.
SCRIPTS = {
    "train.py": (1, r"^return -\d+$", "data/train/train_s0"),
    "own_environment.py": (1, "AverageTestEpRet", "data/cart"),
    "own_network.py": (1, r"^action \[", "data/own_network"),
    "own_objective.py": (1, r"^epoch 1: LossConservative -?\d", "data/own_objective"),
    "resume.py": (2, r"^interrupted in epoch 1\n(.*\n)*the parameters are equal", "data/interrupted"),
    "discrete_actions.py": (1, r"^balanced for \d+ steps$", "data/cartpole"),
    "goals.py": (1, "AverageTestEpRet", "data/reach"),
    "prior_data.py": (
        2,
        r"^1 epochs: -\d+ alone, -\d+ with .*\nwithout environment steps: -\d+",
        "data/offline",
    ),
    "early_stop.py": (1, r"^step 500: test return -\d+, best -\d+$", "data/early_stop"),
}
NOTEBOOK = "first_run.ipynb"


def test_all_examples_are_tested():
    assert {path.name for path in EXAMPLES.iterdir() if path.is_file()} == {*TESTED, *SCRIPTS, NOTEBOOK}


@pytest.mark.usefixtures("new_environments")
@pytest.mark.parametrize("name", SCRIPTS)
def test_scripts(name, tmp_path, monkeypatch, capsys):
    epochs, printed, folder = SCRIPTS[name]
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", [name, str(epochs)])
    runpy.run_path(str(EXAMPLES / name), run_name="__main__")
    assert re.search(printed, capsys.readouterr().out, re.MULTILINE)
    assert (tmp_path / folder / "pyt_save/model.pt").exists()


def test_the_notebook(tmp_path, monkeypatch):
    notebook = json.loads((EXAMPLES / NOTEBOOK).read_text())
    assert (notebook["nbformat"], notebook["nbformat_minor"]) == (4, 5)
    cells = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert all(cell["outputs"] == [] for cell in cells)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MPLBACKEND", "agg")
    names = {}
    for cell in cells:
        exec("".join(cell["source"]).replace("EPOCHS = 10", "EPOCHS = 2"), names)
    assert names["steps"] == [1000, 2000]
    assert names["model"].steps == 3000
    assert len(names["heights"]) == 200
    names["plt"].close("all")


@pytest.fixture(scope="module")
def pendulum(tmp_path_factory):
    """The folder of a short run."""
    folder = tmp_path_factory.mktemp("runs") / "pendulum"
    train(folder, "Pendulum-v1", epochs=1)
    return folder


@pytest.mark.parametrize("env", ["CartPole-v1", pytest.param("Pendulum-v1", marks=pytest.mark.slow)])
def test_onnxruntime_alone_acts_as_the_policy(env, tmp_path):
    assert len((EXAMPLES / "onnx_policy.py").read_text().splitlines()) <= 30
    train(tmp_path, env, epochs=1)
    path, _ = export_policy(tmp_path, "onnx")
    # None in sys.modules makes an import fail.
    code = "import runpy, sys; sys.modules.update(torch=None, spinup=None); sys.argv = sys.argv[1:]; "
    code += "runpy.run_path(sys.argv[0], run_name='__main__')"
    done = subprocess.run(
        [sys.executable, "-c", code, str(EXAMPLES / "onnx_policy.py"), str(path)],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    env, get_action = load_policy_and_env(tmp_path)
    obs, _ = env.reset(seed=0)
    total, over = 0.0, False
    while not over:
        obs, reward, terminated, truncated, _ = env.step(get_action(obs))
        total, over = total + float(reward), terminated or truncated
    (printed,) = re.findall(r"^return (-?[\d.]+)$", done.stdout, re.MULTILINE)
    assert float(printed) == pytest.approx(total, rel=1e-3, abs=0.01)


@pytest.mark.slow
def test_libtorch_alone_acts_as_the_policy(pendulum, tmp_path):
    path, _ = export_policy(pendulum, "torchscript")
    source, program, root = (
        EXAMPLES / "torchscript_policy.cpp",
        tmp_path / "policy",
        Path(torch.__file__).parent,
    )
    include = [f"-I{root}/include", f"-I{root}/include/torch/csrc/api/include"]
    libraries = [f"-L{root}/lib", f"-Wl,-rpath,{root}/lib", "-ltorch", "-ltorch_cpu", "-lc10"]
    command = ["g++", "-std=c++20", "-O1", str(source), "-o", str(program), *include, *libraries]
    subprocess.run(command, check=True)
    obs = np.array([0.25, -0.5, 1.5], np.float32)
    done = subprocess.run(
        [str(program), str(path), *map(str, obs)], capture_output=True, text=True, check=True
    )
    assert '"id": "Pendulum-v1"' in done.stderr
    _, get_action = load_policy_and_env(pendulum)
    assert float(done.stdout) == pytest.approx(get_action(obs)[0], abs=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("env", ["CartPole-v1", "Pendulum-v1"])
def test_javascript_acts_as_the_policy(env, tmp_path):
    """Needs Node.js, and npm's registry for the package `onnxruntime-node`."""
    train(tmp_path / "run", env, epochs=1)
    path, _ = export_policy(tmp_path / "run", "onnx")
    install = ["npm", "install", "--ignore-scripts", "--no-audit", "--no-fund", "onnxruntime-node@1.30.0"]
    subprocess.run(install, cwd=tmp_path, check=True, stdout=subprocess.DEVNULL)
    shutil.copy(EXAMPLES / "onnx_policy.mjs", tmp_path)  # which finds packages in its own folder
    made, get_action = load_policy_and_env(tmp_path / "run")
    obs = np.random.default_rng(0).normal(size=(5, *made.observation_space.shape)).astype(np.float32)
    words = ["node", "onnx_policy.mjs", str(path), json.dumps(obs.tolist())]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=True)
    expected = [np.ravel(get_action(one)) for one in obs]
    np.testing.assert_allclose(json.loads(done.stdout), expected, atol=1e-5)


def test_the_model_object(tmp_path):
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / "model_object.py"), "2000"],
        cwd=tmp_path, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert "step 500: test return -" in done.stdout
    assert re.search(r"\d{3,4} steps in .*data/model_object$", done.stdout, re.MULTILINE)
    assert (tmp_path / "data/model_object_saved/pyt_save/model.pt").exists()
