"""`spinup test_policy PATH`: evaluates, renders or records a trained policy."""

from __future__ import annotations

from spinup.cli.parser import Parser
from spinup.playback.episodes import load_env, load_policy_and_env, run_policy, trained_max_ep_len
from spinup.playback.viewer import use_offscreen_gl


def main(words: list[str]) -> int:
    """Run `spinup test_policy`.

    Raises:
        SpinupError: see `load_env`, `load_policy_and_env` and `run_policy`.
    """
    parser = Parser(
        "spinup test_policy",
        "Evaluate, render or record a trained policy.",
        "example:\n  spinup test_policy data/hc/hc_s0 -n 10 --video hc.mp4",
    )
    add = parser.add_argument
    add("path", metavar="PATH", help="folder of the run, such as data/hc/hc_s0")
    parser.add_len()
    add(
        "-n",
        "--episodes",
        type=int,
        metavar="EPISODES",
        help="number of episodes (default 100; 1 with --video)",
    )
    add("-nr", "--norender", action="store_true", help="do not open a window")
    parser.add_itr()
    add("-d", "--deterministic", action="store_true", help="the mean action (default)")
    add("--stochastic", action="store_true", help="sample actions instead")
    add("--env", metavar="ID", help="another environment, or module:Env-v0 to import the module")
    add("--video", metavar="FILE", help="record an .mp4 or .gif file instead of opening a window")
    add("--seed", type=int, metavar="S", help="seed of the first episode")
    args = parser.parse(words)
    if args.deterministic and args.stochastic:
        parser.error("-d and --stochastic cannot be combined: give one of them")
    if args.len < 0 or (args.episodes is not None and args.episodes < 1):
        parser.error("-n must be at least 1, and -l at least 0")
    if args.seed is not None and args.seed < 0:
        parser.error(f"--seed {args.seed}: give a whole number >= 0")
    if args.video:
        use_offscreen_gl()
    env = load_env(args.path, args.env)
    _, get_action = load_policy_and_env(args.path, args.itr, not args.stochastic, env)
    try:
        episodes = args.episodes or (1 if args.video else 100)
        max_ep_len = args.len or trained_max_ep_len(args.path)
        run_policy(env, get_action, max_ep_len, episodes, not args.norender, args.video, seed=args.seed)
    finally:
        env.close()
    if args.video:
        print(f"saved {args.video}")
    return 0
