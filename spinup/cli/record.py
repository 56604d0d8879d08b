"""`spinup record RUN --out ID`: records episodes of a trained policy as a Minari dataset."""

from __future__ import annotations

import shlex

from spinup.cli.parser import Parser
from spinup.playback.episodes import load_env, load_policy_and_env, trained_max_ep_len
from spinup.playback.recording import check_dataset_id, record_episodes


def main(words: list[str]) -> int:
    """Run `spinup record`.

    Raises:
        SpinupError: see `load_env`, `load_policy_and_env` and `record_episodes`.
    """
    parser = Parser(
        "spinup record",
        "Record episodes of a trained policy as a Minari dataset.",
        "example:\n  spinup record data/hc/hc_s0 --episodes 50 --out halfcheetah/medium-v0 --stochastic",
    )
    add = parser.add_argument
    add("path", metavar="RUN", help="folder of the run, such as data/hc/hc_s0")
    add("--out", required=True, metavar="ID", help="id of the dataset, such as halfcheetah/medium-v0")
    add("-n", "--episodes", type=int, default=50, metavar="N", help="number of episodes (default 50)")
    parser.add_len()
    parser.add_itr()
    add("--stochastic", action="store_true", help="sample actions instead of taking the mean")
    add("--env", metavar="ID", help="another environment, or module:Env-v0 to import the module")
    add("--seed", type=int, metavar="S", help="seed of the first episode")
    args = parser.parse(words)
    if args.len < 0 or args.episodes < 1:
        parser.error("--episodes must be at least 1, and -l at least 0")
    if args.seed is not None and args.seed < 0:
        parser.error(f"--seed {args.seed}: give a whole number >= 0")
    check_dataset_id(args.out)
    env = load_env(args.path, args.env)
    _, get_action = load_policy_and_env(args.path, args.itr, not args.stochastic, env)
    try:
        length = args.len or trained_max_ep_len(args.path)
        steps, mean = record_episodes(env, get_action, args.out, args.episodes, length, args.seed)
    finally:
        env.close()
    print(f"recorded {args.episodes} episodes, {steps} steps, mean return {mean:.1f}, as {args.out}")
    env_id = args.env or (env.spec.id if env.spec else "ID")
    print(f"learn from them: spinup sac --env {shlex.quote(env_id)} --prior_data {args.out}")
    return 0
