"""`spinup export RUN`: writes a trained policy as one file for other programs."""

from __future__ import annotations

from spinup.cli.parser import Parser


def main(words: list[str]) -> int:
    """Run `spinup export`.

    Raises:
        SpinupError: see `export_policy`.
    """
    parser = Parser(
        "spinup export",
        "Write the deterministic policy of a run as one ONNX or TorchScript file, after a comparison.",
        "example:\n  spinup export data/hc/hc_s0 --to onnx",
    )
    add = parser.add_argument
    add("run_dir", metavar="RUN", help="folder of the run, such as data/hc/hc_s0")
    add("--to", default="onnx", metavar="FORMAT", help="onnx (default) or torchscript")
    add("--out", metavar="FILE", help="the file (default: policy.onnx or policy.torchscript in the folder)")
    parser.add_itr()
    add("--env", metavar="ID", help="module:Env-v0, to import the module that registers it")
    args = parser.parse(words)
    from spinup.deploy.export import CHECKED, export_policy

    path, difference = export_policy(args.run_dir, args.to, args.out, args.itr, args.env)
    print(f"wrote {path}; largest difference from act on {CHECKED} observations: {difference:.2g}")
    return 0
