"""An argument parser that raises one-line errors with the closest valid flag."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import NoReturn

from spinup.errors import ConfigError
from spinup.hints import nearest


class Parser(argparse.ArgumentParser):
    """The parser of a subcommand.

    Args:
        prog: the command as it is typed, such as "spinup plot".
        description: one line on what it does.
        epilog: examples, printed verbatim.
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

    def add_itr(self) -> None:
        """Add --itr, which selects a saved model."""
        self.add_argument(
            "-i", "--itr", default="last", metavar="ITR", help="last (default, also -1), best, or a number"
        )

    def add_len(self) -> None:
        """Add --len, the maximum length of an episode; 0 if it is not given."""
        words = "maximum steps of an episode (default: as trained)"
        self.add_argument("-l", "--len", type=int, default=0, metavar="LEN", help=words)

    def add_selection(self) -> None:
        """Add --select and --exclude, which select runs by their paths."""
        selected = "only runs whose path contains all of these"
        excluded = "no runs whose path contains any of these"
        self.add_argument("--select", nargs="+", default=[], metavar="S", help=selected)
        self.add_argument("--exclude", nargs="+", default=[], metavar="S", help=excluded)

    def parse(self, words: Sequence[str]) -> argparse.Namespace:
        """Parse the arguments after the subcommand.

        Raises:
            ConfigError: for an unknown flag or an invalid value.
            SystemExit: after --help.
        """
        self._refuse_repeated(words)
        known, unknown = self.parse_known_args(list(words))
        if unknown:
            options = [name for action in self._actions for name in action.option_strings]
            hint = nearest(unknown[0].split("=")[0], options)
            raise ConfigError(
                f"{self._command}: unexpected {unknown[0]!r}{hint or '; --help lists the flags'}"
            )
        return known

    def _refuse_repeated(self, words: Sequence[str]) -> None:
        # The last list would replace the others; of a flag with one value, the last value counts, as usual.
        flags = {
            name: action for action in self._actions if action.nargs == "+" for name in action.option_strings
        }
        given = [flags[word.split("=")[0]] for word in words if word.split("=")[0] in flags]
        for i, action in enumerate(given):
            if action in given[:i]:
                flag = action.option_strings[-1]
                raise ConfigError(f"{self._command}: {flag} is given twice: give all its values at once")

    def error(self, message: str) -> NoReturn:
        """Raise argparse's message as a ConfigError."""
        raise ConfigError(f"{self._command}: {message}")
