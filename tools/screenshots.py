"""Make the screenshots in docs/images: `python tools/screenshots.py front.png screen-80.png screen-140.png`

The front page is that of `make docs`; a screen is a run of HalfCheetah-v5 in a terminal of that width, after
SECONDS. Needs Chromium, and tmux for the screens.
"""

from __future__ import annotations

import argparse
import io
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from rich.console import Console
from rich.text import Text

ROOT = Path(__file__).parents[1]
sys.path.append(str(ROOT / "tests"))
from browser import Browser  # noqa: E402

SECONDS = 60.0
RUN = "sac --env HalfCheetah-v5 --exp_name hc --hid [64,64] --steps_per_epoch 2000 --epochs 100"
RUN += " --start_steps 2000 --num_test_episodes 1"


def front_page(output: Path) -> None:
    """The first 800 pixels of the site."""
    with Browser(1280, 800) as browser:
        browser.open(ROOT / "build" / "site" / "index.html")
        browser.screenshot(output, 800)


def screen(output: Path, width: int, height: int = 24) -> None:
    """The live screen of a run."""
    tmux = ["tmux", "-L", f"spinup-{width}"]
    with tempfile.TemporaryDirectory() as folder:
        command = f"cd {folder} && PYTHONPATH={ROOT} {sys.executable} -m spinup {RUN}"
        size = ["-x", str(width), "-y", str(height)]
        subprocess.run([*tmux, "new-session", "-d", *size, command], check=True)
        try:
            time.sleep(SECONDS)
            captured = subprocess.run(
                [*tmux, "capture-pane", "-p", "-e"], capture_output=True, text=True, check=True
            ).stdout
        finally:
            subprocess.run([*tmux, "kill-server"], check=True)
        console = Console(record=True, width=width, file=io.StringIO())
        console.print(Text.from_ansi(captured), end="")
        page = Path(folder) / "screen.html"
        page.write_text(console.export_html(code_format=PAGE))
        with Browser(round(width * 8.45) + 24, 100) as browser:
            browser.open(page)
            browser.screenshot(output)


PAGE = """<meta charset="utf-8"><style>{stylesheet} body {{ margin: 12px; background: #fff; }}
pre {{ margin: 0; font: 14px/18px "DejaVu Sans Mono", monospace; }}</style><pre>{code}</pre>"""


def main() -> None:
    """Make those that are named."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="+", help="front.png or screen-<width>.png")
    for name in parser.parse_args().names:
        output = ROOT / "docs" / "images" / name
        if name == "front.png":
            front_page(output)
        else:
            screen(output, int(Path(name).stem.removeprefix("screen-")))
        print(f"{output}: {output.stat().st_size / 1024:.0f} KiB")


if __name__ == "__main__":
    main()
