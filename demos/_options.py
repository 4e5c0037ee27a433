"""The options that every demo has, and errors in one line."""

import argparse
import sys
from collections.abc import Callable
from typing import Any, NoReturn

import jko
from jko import plot


class Options(argparse.ArgumentParser):
    """An argument parser with --out, whose errors are jko's: the command line prints one line.

    With `moves` it has --animate too, for `animate`.
    """

    def __init__(self, name: str, description: str, *, moves: bool = False) -> None:
        super().__init__(prog=f"jko demo {name}", description=description)
        self.add_argument(
            "--out", default="figures", metavar="FOLDER", help="for the figure (default: figures)"
        )
        if moves:
            self.add_argument(
                "--animate", action="store_true", help="write the flow as a GIF beside the figure"
            )

    def whole(self, flag: str, default: int, *, least: int = 1, text: str = "") -> None:
        """Add an option that is a whole number, `least` or more."""

        def read(value: str) -> int:
            number = int(value)
            if number < least:
                raise argparse.ArgumentTypeError(f"{number} is too small; pass {least} or more")
            return number

        read.__name__ = "whole number"
        self.add_argument(
            flag, type=read, default=default, metavar="N", help=f"{text} (default: {default})"
        )

    def error(self, message: str) -> NoReturn:
        raise jko.InvalidArgument(message)

    def parse_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Parse, and refuse a folder that cannot be written now instead of after the run."""
        chosen = super().parse_args(args, namespace)
        plot.folder(chosen.out)
        return chosen


def animate(chosen: argparse.Namespace, name: str, sol: jko.Trajectory, **drawing: Any) -> None:
    """Write the flow as NAME.gif beside the figure, when --animate asks for it."""
    if chosen.animate:
        path = plot.folder(chosen.out) / f"{name}.gif"
        print(f"Animation: {plot.animate(sol, path, **drawing)}")


def script(main: Callable[[], int]) -> NoReturn:
    """Run a demo as a script."""
    try:
        sys.exit(main())
    except jko.JkoError as error:
        sys.exit(f"jko: {error}")
