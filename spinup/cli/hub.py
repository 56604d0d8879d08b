"""`spinup push RUN` and `spinup pull ID`: runs on the Hugging Face Hub."""

from __future__ import annotations

import shlex

from spinup.cli.parser import Parser
from spinup.playback.viewer import use_offscreen_gl


def push(words: list[str]) -> int:
    """Run `spinup push`.

    Raises:
        SpinupError: see `deploy.hub.push`.
    """
    parser = Parser(
        "spinup push",
        "Upload a run to the Hugging Face Hub, with a model card: return, curve, video, command.",
        "example:\n  spinup push data/hc/hc_s0 --id me/sac-halfcheetah",
    )
    add = parser.add_argument
    add("run_dir", metavar="RUN", help="folder of the run, such as data/hc/hc_s0")
    add("--id", metavar="ID", help="user/name of the model (default: the folder's name)")
    add(
        "-n",
        "--episodes",
        type=int,
        default=20,
        metavar="EPISODES",
        help="number of episodes of the evaluation (default 20)",
    )
    parser.add_itr()
    add("--env", metavar="ID", help="module:Env-v0, to import the module that registers it")
    add("--private", action="store_true", help="make a new repository private")
    add("--no-video", action="store_true", help="upload no video")
    args = parser.parse(words)
    use_offscreen_gl()
    from spinup.deploy.hub import push as upload

    url = upload(
        args.run_dir, args.id, itr=args.itr, episodes=args.episodes, env=args.env, private=args.private,
        video=not args.no_video,
    )  # fmt: skip
    print(f"uploaded to {url}")
    return 0


def pull(words: list[str]) -> int:
    """Run `spinup pull`.

    Raises:
        SpinupError: see `deploy.hub.pull`.
    """
    parser = Parser(
        "spinup pull",
        "Download a model that `spinup push` uploaded, as the folder of a run.",
        "example:\n  spinup pull me/sac-halfcheetah",
    )
    add = parser.add_argument
    add("repo_id", metavar="ID", help="user/name of the model")
    add("--out", metavar="FOLDER", help="folder to create (default: data/<name>)")
    add("--revision", metavar="REV", help="branch, tag or commit (default: the newest)")
    args = parser.parse(words)
    from spinup.deploy.hub import pull as download

    folder = download(args.repo_id, args.out, args.revision)
    print(f"downloaded to {folder}\n  test it:    spinup test_policy {shlex.quote(str(folder))}")
    return 0
