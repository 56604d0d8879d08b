"""The command line: parsed values, calls of the training functions, and one-line errors."""

import contextlib
import inspect
import json
import string
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import nn

import spinup
from spinup.cli.flags import flag_defaults, parse_flags
from spinup.cli.main import main
from spinup.cli.values import read_value
from spinup.errors import ConfigError
from spinup.pytorch.engines.registry import ENGINES

SAC = spinup.sac_pytorch
DEFAULTS = flag_defaults(SAC)


@pytest.fixture
def calls(monkeypatch, tmp_path):
    """The keyword arguments of each call of sac_pytorch, which is replaced by a recorder."""
    made = []

    def recorder(**kwargs):
        made.append(kwargs)

    recorder.__signature__ = inspect.signature(SAC)
    monkeypatch.setattr(spinup, "sac_pytorch", recorder, raising=False)
    monkeypatch.chdir(tmp_path)
    return made


def refused(capsys, *words):
    """The one-line error of an invalid command line."""
    assert main(words) == 2
    out, err = capsys.readouterr()
    assert "Traceback" not in out + err
    assert err.startswith("spinup: ")
    assert err.count("\n") == 1
    return err


@pytest.fixture
def checkpoints(calls, monkeypatch):
    """Each call creates a checkpoint folder, as a run does."""
    recorder = spinup.sac_pytorch

    def with_checkpoint(**kwargs):
        recorder(**kwargs)
        Path(kwargs["logger_kwargs"]["output_dir"], "checkpoint").mkdir(parents=True)

    with_checkpoint.__signature__ = recorder.__signature__
    monkeypatch.setattr(spinup, "sac_pytorch", with_checkpoint)


@pytest.mark.usefixtures("checkpoints")
def test_the_documented_command(calls, capsys):
    words = "sac --env HalfCheetah-v5 --exp_name hc --seed 0 10 20 --hid [256,256] --act torch.nn.ELU"
    assert main([*words.split(), "--gamma", "0.99"]) == 0
    assert [call["seed"] for call in calls] == [0, 10, 20]
    for call in calls:
        logger_kwargs = {"output_dir": f"data/hc/hc_s{call['seed']}", "exp_name": "hc"}
        assert call == {
            "env_fn": "HalfCheetah-v5",
            "seed": call["seed"],
            "ac_kwargs": {"hidden_sizes": [256, 256], "activation": nn.ELU},
            "gamma": 0.99,
            "logger_kwargs": logger_kwargs,
        }
    out = capsys.readouterr().out
    for command in (
        "test_policy data/hc/hc_s20",
        "plot data/hc/hc_s20",
        "resume data/hc/hc_s20 --epochs 200",
    ):
        assert f"spinup {command}" in out


def test_resume_is_not_suggested_without_checkpoints(calls, capsys):
    assert main(["sac", "--env", "Pendulum-v1", "--exp_name", "p"]) == 0
    out = capsys.readouterr().out
    assert "spinup plot data/p/p_s0" in out
    assert "spinup resume" not in out


def test_grid_and_output_flags(calls, tmp_path):
    words = [
        "--env",
        "Pendulum-v1",
        "--lr[rate]",
        "1e-3",
        "1e-2",
        "--data_dir",
        str(tmp_path / "a b"),
        "--overwrite",
    ]
    assert main(["sac_pytorch", *words, "--exp_name", "json"]) == 0
    folders = [call["logger_kwargs"]["output_dir"] for call in calls]
    assert folders == [
        str(tmp_path / "a b" / name / f"{name}_s0") for name in ("json_rate0.001", "json_rate0.01")
    ]
    assert all(call["logger_kwargs"]["overwrite"] is True for call in calls)


def test_single_value_is_in_the_name_if_it_has_a_shorthand(calls):
    main(["sac", "--env", "Pendulum-v1", "--polyak[p]", "0.9", "--gamma", "0.9"])
    assert calls[0]["logger_kwargs"]["exp_name"] == "cmd_sac_pytorch_p0.9"


def test_datestamp(calls):
    assert main(["sac", "--env", "Pendulum-v1", "--exp_name", "x", "--dt"]) == 0
    assert calls[0]["logger_kwargs"]["output_dir"].startswith("data/20")


# A valid value of each flag, other than its default.
OTHER = {
    "test_every": 9,
    "alpha": "auto_0.5", "target_entropy": -3, "engine": "eager", "device": "cpu", "env_workers": "async",
    "threads": 3, "gamma": 0.5, "polyak": 0.5, "variant": "sac_v1", "checkpoint_every": 1000,
    "target_critics": 1, "policy_q": "mean", "alpha_loss": "log_alpha", "critic": "quantile",
    "betas": (0.5, 0.9), "recipe": "redq", "critic_keys": ("state",),
    "sampler": "per", "prior_data": "data/run", "priority_exponent": 0.5,
    "lr_schedule": "cosine",
    "prior_fraction": 0.25, "collectors": 2, "collect": "lockstep", "ray": "auto",
}  # fmt: skip
# Flags without which another has no effect.
NEEDED = {
    "target_entropy": ["--alpha", "auto"], "alpha_loss": ["--alpha", "auto"],
    "lr_end": ["--lr_schedule", "linear"],
    "atoms": ["--critic", "categorical"], "value_bound": ["--critic", "categorical"],
    "quantiles": ["--critic", "quantile"], "drop_quantiles": ["--critic", "quantile"],
    "offline": ["--prior_data", "data/run"], "prior_fraction": ["--prior_data", "data/run"],
    **{f"priority_{name}": ["--sampler", "per"] for name in ("exponent", "beta", "beta_updates")},
    "her_k": ["--sampler", "her"],
    **{name: ["--collectors", "2"] for name in ("collect", "max_staleness", "ray")},
}  # fmt: skip


@pytest.mark.parametrize("name", [name for name in DEFAULTS if not isinstance(DEFAULTS[name], dict)])
def test_every_parameter_is_a_flag(calls, name):
    default = DEFAULTS[name]
    value = OTHER[name] if name in OTHER else not default if isinstance(default, bool) else default * 2 or 7
    assert main(["sac", "--env", "Pendulum-v1", f"--{name}", str(value), *NEEDED.get(name, [])]) == 0
    assert calls[0][name] == value
    assert type(calls[0][name]) is type(value)


def test_flags_follow_the_signature():
    parameters = set(inspect.signature(SAC).parameters) - {
        "env_fn",
        "actor_critic",
        "logger_kwargs",
        "callback",
        "callback_every",
        "transport",
    }
    assert set(DEFAULTS) == parameters


def test_help_describes_every_flag(capsys):
    for words in ([], ["help"], ["-h"], ["--help"]):
        assert main(words) == 0
        assert "spinup sac --env HalfCheetah-v5" in capsys.readouterr().out
    assert main(["sac", "--help"]) == 0
    lines = {
        line.split()[0]: line for line in capsys.readouterr().out.splitlines() if line.startswith("  --")
    }
    for name in [
        *DEFAULTS,
        "env",
        "exp_name",
        "data_dir",
        "datestamp",
        "overwrite",
        "jobs",
        "ray",
        "cpus_per_run",
        "gpus_per_run",
        "hid",
        "act",
        "dt",
    ]:
        assert len(lines[f"--{name}"].split()) > 3, f"--{name} has no description"
    assert "(default 4000)" in lines["--steps_per_epoch"]
    assert all(engine in lines["--engine"] for engine in ENGINES)
    assert "-act_dim, or 0.3 log n" in lines["--target_entropy"]
    assert main(["tune", "--help"]) == 0
    assert "spinup tune --env" in capsys.readouterr().out
    for tool in ("test_policy", "plot", "resume"):
        with pytest.raises(SystemExit) as ended:
            main([tool, "--help"])
        assert ended.value.code == 0
        assert f"spinup {tool}" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("sca", "did you mean 'sac'"),
        ("sac", "--env HalfCheetah-v5"),
        ("sac HalfCheetah-v5", "--env HalfCheetah-v5"),
        ("sac --env", "--env needs a value"),
        ("sac --env Pendulum-v9", "did you mean 'Pendulum-v1'"),
        ("sac --env Pendulum-v1 --gama 0.9", "did you mean '--gamma'"),
        ("sac --env Pendulum-v1 -gamma 0.9", "as in --gamma"),
        ("sac -env Pendulum-v1", "as in --env"),
        ("plot data -y Alpha -y LossQ", "plot: --value is given twice: give all its values at once"),
        ("sac --env Pendulum-v1 --gamma", "--gamma needs a value"),
        ("sac --env Pendulum-v1 --gamma 0.9 --gamma 0.8", "given twice"),
        ("sac --env Pendulum-v1 --gamma 0.9 2", "gamma=2"),
        ("sac --env Pendulum-v1 --gamma import", "gamma='import'"),
        (f"sac --env Pendulum-v1 --gamma {'9' * 400}", "gamma=999"),
        (f"sac --env Pendulum-v1 --lr {'9' * 400}", "lr=999"),
        ("sac --env Pendulum-v1 --gamma 2j", "gamma=2j"),
        ("sac --env Pendulum-v1 --alpha {1:2}", "alpha={1: 2}"),
        ("sac --env Pendulum-v1 --engine [1]", "engine=[1]"),
        ("sac --env Pendulum-v1 --engine eager nativ", "engine='nativ'"),
        ("sac --env Pendulum-v1 --variant sac2", "variant='sac2'"),
        ("sac --env Pendulum-v1 --epochs 1.5", "epochs=1.5"),
        ("sac --env Pendulum-v1 --hid [64,64", "'[64,64'"),
        ("sac --env Pendulum-v1 --hid [64] --ac_kwargs {}", "give one of them"),
        ("sac --env Pendulum-v1 --hid 64", "hidden_sizes=64: give a list"),
        ("sac --env Pendulum-v1 --hid [64,64] 64", "hidden_sizes=64: give a list"),
        ("sac_tf1 --env Pendulum-v1 --hid [64,64] 64", "hidden_sizes=64: give a list"),
        ("sac --env Pendulum-v1 --hid [-1]", "hidden_sizes=[-1]: give a list"),
        ("sac --env Pendulum-v1 --act 3", "activation=3: give a class of torch.nn"),
        ("sac --env Pendulum-v1 --ac_kwargs None", "ac_kwargs=None: give a dict"),
        ("sac --env Pendulum-v1 --ac_kwargs:state_dependent_std no", "give True or False"),
        ("sac --env HalfCheetah-v2", "give 'HalfCheetah-v5'"),
        ("sac --env Pendulum-v1 HalfCheetah-v2", "give 'HalfCheetah-v5'"),
        ("sac --env Pendulum-v1 --seed 0 9223372036854775808", "< 2**63"),
        ("sac --env Pendulum-v1 --act torch.nn.relu", "torch.nn.ReLU"),
        ("sac --env Pendulum-v1 --act torch.nn.Linear", "not a supported activation"),
        ("sac --env Pendulum-v1 --act os.system", "not a supported activation"),
        ("sac --env Pendulum-v1 --ac_kwargs:hiden_sizes [1]", "--ac_kwargs:hidden_sizes"),
        ("sac --env Pendulum-v1 --gamma:x 1", "unknown flag --gamma:x"),
        ("sac --env Pendulum-v1 --logger_kwargs:output_dir x", "unknown flag"),
        ("sac --env Pendulum-v1 --actor_critic x", "unknown flag"),
        ("sac --env Pendulum-v1 --callback print", "unknown flag"),
        ("sac --env Pendulum-v1 --exp_name a/b", "exp_name='a/b'"),
        ("sac --env Pendulum-v1 --exp_name a b", "takes one value"),
        ("sac --env Pendulum-v1 --overwrite maybe", "True or False"),
        ("sac --env Pendulum-v1 --overwrite --resume", "leave one of them out"),
        ("sac --env Pendulum-v1 --seed 0 0", "share the folder"),
        ("sac --env Pendulum-v1 --jobs 0", "jobs=0: give 'auto' or a whole number >= 1"),
        ("sac --env Pendulum-v1 --jobs all", "jobs='all'"),
        ("resume . --jobs all", "jobs='all'"),
        ("sac --env Pendulum-v1 --ray here", "ray='here': give 'auto', or an address with a port"),
        ("sac --env Pendulum-v1 --ray a:1 b:2", "--ray takes one value"),
        ("sac --env Pendulum-v1 --cpus_per_run 2", "cpus_per_run=2 has no effect without --ray"),
        ("sac --env Pendulum-v1 --ray --cpus_per_run 0", "cpus_per_run=0: give a number > 0"),
        (
            "sac --env Pendulum-v1 --ray --cpus_per_run 1.5",
            "give a fraction below 1, or a whole number",
        ),
        ("sac --env Pendulum-v1 --ray --gpus_per_run all", "gpus_per_run='all': give a number >= 0"),
        ("resume . --gpus_per_run 1", "gpus_per_run=1.0 has no effect without --ray"),
        ("sac --env Pendulum-v1 --gamma[a/b] 0.9", "shorthand"),
        ("sac --env Pendulum-v1 --gamma[ 0.9", "is not a valid flag"),
        ("test_policy", "PATH"),
        ("test_policy nowhere", "nowhere does not exist"),
        ("test_policy nowhere --stocastic", "did you mean '--stochastic'"),
        ("test_policy x --seed -3", "--seed -3: give a whole number >= 0"),
        ("sac --env Pendulum-v1 --threads 100000", "threads=100000: give 'auto' or a whole number >= 1"),
        (f"plot {'x' * 5000}", "does not exist"),
        ("plot nowhere --save x.png", "nowhere does not exist"),
        ("plot . --smoth 3", "did you mean '--smooth'"),
        ("plot . -s wide", "invalid int value: 'wide'"),
        ("resume", "RUN_DIR"),
        ("resume x --epochs soon", "invalid int value: 'soon'"),
    ],
)
def test_invalid_input_is_one_line(calls, capsys, words, message):
    assert message in refused(capsys, *words.split())
    assert calls == []


def test_grid_is_checked_before_its_first_run(calls, capsys, tmp_path):
    (tmp_path / "data/x/x_s2").mkdir(parents=True)
    (tmp_path / "data/x/x_s2/progress.txt").touch()
    words = "sac --env Pendulum-v1 --exp_name x --seed 1 2"
    error = refused(capsys, *words.split())
    assert "x_s2 already holds a run" in error
    assert calls == []


def test_interrupt_ends_without_traceback(monkeypatch, capsys, tmp_path):
    def interrupted(**_):
        raise KeyboardInterrupt

    interrupted.__signature__ = inspect.signature(SAC)
    monkeypatch.setattr(spinup, "sac_pytorch", interrupted, raising=False)
    monkeypatch.chdir(tmp_path)
    assert main(["sac", "--env", "Pendulum-v1"]) == 130
    assert "Traceback" not in capsys.readouterr().err


@pytest.mark.parametrize(
    ("word", "value"),
    [
        ("json", "json"), ("0.99", 0.99), ("1e-3", 1e-3), ("(32,)", (32,)), ("[32, 64]", [32, 64]),
        ("None", None),
        ("True", True), ("'a b'", "a b"), ("-6", -6), ("auto", "auto"), ("2024-01-01", "2024-01-01"),
        ("os.system", "os.system"), ("__import__('os')", "__import__('os')"), ("", ""),
        ("nn.Tanh", nn.Tanh), ("torch.nn.GELU", nn.GELU), ("tf.nn.relu", "tf.nn.relu"),
        ("{'hidden_sizes': [1]}", {"hidden_sizes": [1]}),
    ],
)  # fmt: skip
def test_values(word, value):
    assert read_value(word) == value


@pytest.mark.parametrize("name", ["ELU", "nn.ELU", "torch.nn.ELU"])
def test_activation_with_and_without_its_module(name):
    assert parse_flags(["--act", name], SAC).params == {"ac_kwargs:activation": [nn.ELU]}


def test_activations_of_another_backend_stay_strings():
    def sac_tf1(env_fn, actor_critic=None, ac_kwargs={}):  # noqa: B006 (the documented default)
        pass

    assert parse_flags(["--act", "tf.nn.relu"], sac_tf1).params == {"ac_kwargs:activation": ["tf.nn.relu"]}


LITERALS = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)


@given(LITERALS)
def test_literals_round_trip(value):
    assert read_value(repr(value)) == value


@given(st.lists(LITERALS, min_size=1, max_size=4))
def test_values_of_a_flag_stay_separate(values):
    got = parse_flags(["--ac_kwargs:hidden_sizes", *map(repr, values)], SAC)
    assert got.params == {"ac_kwargs:hidden_sizes": values}


CODE_WORDS = ("print('RAN')", "__import__('os').system('touch RAN')", "[print('RAN')]", "(lambda: 0)()")
CODE = st.sampled_from(CODE_WORDS)


@given(st.text() | CODE)
def test_no_word_is_evaluated(word):
    try:
        value = read_value(word)
    except ConfigError:
        return
    known = isinstance(value, (type(None), bool, int, float, complex, str, bytes, list, tuple, dict, set))
    assert known or value in vars(nn).values() or value is Ellipsis


@pytest.mark.parametrize("word", CODE_WORDS)
def test_code_is_text_or_refused(word, capfd):
    with contextlib.suppress(ConfigError):
        assert read_value(word) == word
    assert capfd.readouterr().out == ""
    assert not Path("RAN").exists()


WORDS = st.one_of(
    st.text(max_size=8),
    st.text(string.printable, max_size=12),
    CODE,
    st.sampled_from([*(f"--{name}" for name in DEFAULTS), "--env", "--hid", "--act", "--dt", "--exp_name"]),
    st.sampled_from(["Pendulum-v1", "0", "1e999", "-1", "[", "{}", "--", "--=", "--[]", "nn.X", "\0"]),
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=150)
@given(st.lists(WORDS, max_size=6))
def test_random_words_are_refused_in_one_line(calls, capsys, words):
    calls.clear()
    code = main(["sac", *words])
    out, err = capsys.readouterr()
    assert "Traceback" not in err
    assert "RAN" not in out.splitlines()
    assert code == 0 or (code == 2 and err.count("\n") == 1 and not calls)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=50)
@given(
    st.lists(st.text(max_size=8), min_size=1, max_size=5).filter(
        lambda w: not {"-h", "--help", "help"} & set(w)
    )
)
def test_random_words_for_the_tools_are_refused_in_one_line(calls, capsys, words):
    for tool in ("test_policy", "resume", words[0]):
        code = main([tool, "nowhere", *words])
        assert code == 2
        assert capsys.readouterr().err.count("\n") == 1


def test_a_reader_that_has_gone_is_no_traceback():
    command = [sys.executable, "-m", "spinup", "recipes"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        process.stdout.close()
        assert (process.wait(), process.stderr.read()) == (141, "")


def test_the_encoder_of_images_is_an_entry_of_ac_kwargs():
    words = ["--ac_kwargs:encoder", "{'filters': 8}"]
    assert parse_flags(words, SAC).params == {"ac_kwargs:encoder": [{"filters": 8}]}
    with pytest.raises(ConfigError, match="no 'encoder'"):
        parse_flags(words, spinup.sac_tf1)


def test_python_m_spinup_run():
    done = subprocess.run(
        [sys.executable, "-m", "spinup.run", "sac", "--gama", "1"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "spinup: unknown flag --gama, did you mean '--gamma'?\n"


@pytest.mark.usefixtures("checkpoints")
def test_environment_id_with_a_module(calls, capsys, tmp_path, monkeypatch):
    (tmp_path / "user_envs.py").write_text(
        "import gymnasium\n"
        "gymnasium.register('User-v0', 'gymnasium.envs.classic_control:PendulumEnv', max_episode_steps=5)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    assert main(["sac", "--env", "user_envs:User-v0", "--exp_name", "o"]) == 0
    assert calls[0]["env_fn"] == "user_envs:User-v0"
    out = capsys.readouterr().out
    assert "spinup test_policy data/o/o_s0 --env user_envs:User-v0\n" in out
    assert "spinup resume data/o/o_s0 --epochs 200 --env user_envs:User-v0\n" in out
    assert "no_such_module" in refused(capsys, "sac", "--env", "no_such_module:User-v0")


def test_train_then_test_policy_then_plot(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    words = "sac --env Pendulum-v1 --exp_name p --epochs 2 --steps_per_epoch 60 --max_ep_len 20 --hid [8]"
    words += " --start_steps 20 --update_after 40 --update_every 10 --num_test_episodes 1 --replay_size 1e3"
    assert main(words.split()) == 0
    table = [row.split("\t") for row in (tmp_path / "data/p/p_s0/progress.txt").read_text().splitlines()]
    assert len(table) == 3
    assert table[0][:5] == ["Epoch", "AverageEpRet", "StdEpRet", "MaxEpRet", "MinEpRet"]
    assert "already holds a run" in refused(capsys, *words.split())
    assert main(["test_policy", "data/p/p_s0", "-n", "1", "-nr", "-l", "5"]) == 0
    assert main(["plot", "data/p", "--save", "p.png"]) == 0
    assert (tmp_path / "p.png").stat().st_size > 1000
    out = capsys.readouterr().out
    assert "EpLen 5" in out


@pytest.mark.parametrize("flags", ["--env_kwargs dict(g=9.0)", "--env:g 9.0", "--env_name:g 9.0"])
def test_environment_keyword_arguments(calls, flags):
    assert main(["sac", "--env_name", "Pendulum-v1", *flags.split(), "--num_cpu", "1"]) == 0
    (call,) = calls
    assert call["env_fn"]().unwrapped.g == 9.0
    assert "env_kwargs" not in call


def test_environment_keyword_arguments_form_a_grid(calls):
    words = "sac --env Pendulum-v1 --env:g[g] 8.0 9.0 --exp_name x"
    assert main(words.split()) == 0
    assert [call["env_fn"]().unwrapped.g for call in calls] == [8.0, 9.0]
    assert [call["logger_kwargs"]["exp_name"] for call in calls] == ["x_g8.0", "x_g9.0"]


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ("--env_kwargs 3", "give a dict"), ("--env_kwargs {1:2}", "give a dict"),
        ("--env:gravity 3", "unexpected keyword argument 'gravity'"),
        ("--env:g 3 --env_kwargs {}", "give one of them"),
        ("--env_kwarg {}", "did you mean '--env_kwargs'"),
        ("--num_cpu many", "jobs='many'"), ("--num_cpu 0", "jobs=0"),
        ("--env_name Pendulum-v1", "--env_name is given twice"),
    ],
)  # fmt: skip
def test_invalid_environment_flags(calls, capsys, flags, message):
    assert message in refused(capsys, "sac", "--env", "Pendulum-v1", *flags.split())
    assert calls == []


def test_help_of_a_command(capsys):
    assert main(["help", "sac_tf1"]) == 0
    text = capsys.readouterr().out
    assert "spinup sac_tf1 --env ID" in text
    assert "torch.nn" not in text
    with pytest.raises(SystemExit):
        main(["help", "plot"])
    assert "usage: spinup plot" in capsys.readouterr().out


def test_version(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"spinup {spinup.__version__}\n"


def test_python_m_spinup_finds_environments_in_the_current_folder(tmp_path):
    """Also where Python itself does not add the folder, as for the installed command."""
    (tmp_path / "local_envs.py").write_text(
        "import gymnasium\n"
        "gymnasium.register('Local-v0', 'gymnasium.envs.classic_control:PendulumEnv', max_episode_steps=5)\n"
    )
    words = "sac --env local_envs:Local-v0 --env:g 9 --exp_name o --epochs 1 --steps_per_epoch 20 --hid [8]"
    words += " --num_test_episodes 1 --engine eager --threads 1"
    for command in (words, "test_policy data/o/o_s0 --env local_envs:Local-v0 -n 1 -nr --itr -1"):
        done = subprocess.run(
            [sys.executable, "-P", "-m", "spinup", *command.split()],
            cwd=tmp_path, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
    for file in ("config.json", "vars.json"):
        saved = json.loads((tmp_path / "data/o/o_s0" / file).read_text())["env"]
        assert (saved["id"], saved["kwargs"]) == ("Local-v0", {"g": 9})


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            "ppo --env CartPole-v1",
            "'ppo' is not here: of Spinning Up's algorithms, this package has SAC only",
        ),
        ("td3_pytorch", "has SAC only"),
        ("sac --env Pendulum-v1 --tau 0.005", "--tau: tau is 1 - polyak here, tau=0.005 is polyak=0.995"),
        ("sac --env Pendulum-v1 --tau x", "--tau: tau is 1 - polyak here\n"),
        ("sac --env Pendulum-v1 --tau [", "--tau: tau is 1 - polyak here\n"),
        ("sac --env Pendulum-v1 --learning_rate 3e-4", "--learning_rate: learning_rate is lr here\n"),
        ("sac --env Pendulum-v1 --buffer_size 9", "buffer_size is replay_size here"),
        ("sac --env Pendulum-v1 --ent_coef auto", "ent_coef is alpha here"),
        ("sac --env Pendulum-v1 --total_timesteps 9", "total_timesteps is epochs * steps_per_epoch here"),
        ("sac --env Pendulum-v1 --l 2", "--l: l is the number of sizes in hidden_sizes here"),
    ],
)
def test_names_of_other_libraries(calls, capsys, words, message):
    assert message in refused(capsys, *words.split())
    assert calls == []
