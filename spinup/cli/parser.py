"""An argument parser whose errors are ours: one line that names the word and the nearest right one."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import NoReturn

from spinup.config import nearest
from spinup.errors import ConfigError


class Parser(argparse.ArgumentParser):
    """Parser of one subcommand.

    Args:
        prog: the command, as a user types it.
        description: what it does, in a line.
        epilog: examples, printed as they are.
    """

    def __init__(self, prog: str, description: str, epilog: str = "") -> None:
        super().__init__(
            prog=prog,
            description=description,
            epilog=epilog,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )
        self._command = prog.split()[-1]

    def parse(self, words: Sequence[str]) -> argparse.Namespace:
        """The arguments.

        Raises:
            ConfigError: for anything that does not parse.
            SystemExit: after --help.
        """
        known, unknown = self.parse_known_args(list(words))
        if unknown:
            options = [name for action in self._actions for name in action.option_strings]
            hint = nearest(unknown[0].split("=")[0], options)
            raise ConfigError(
                f"{self._command}: unexpected {unknown[0]!r}{hint or '; --help lists the flags'}"
            )
        return known

    def error(self, message: str) -> NoReturn:
        """Raise what argparse would print."""
        raise ConfigError(f"{self._command}: {message}")
