"""The command line: `jko verify`, `jko list`, `jko demo`.

Exit codes: 0 success, 1 an identity does not hold, 2 an error (one line on stderr), 130 Ctrl-C.
"""

from __future__ import annotations

import argparse
import ast
import difflib
import importlib.util
import json
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

import jko
from jko.errors import InvalidArgument, JkoError, Unsupported
from jko.flows.driver import interrupts_passed_on


class _Parser(argparse.ArgumentParser):
    """A parser whose errors are one line, like every other error at the shell."""

    def error(self, message: str) -> NoReturn:
        raise InvalidArgument(f"{message} (see {self.prog} --help)")


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command line (without the program's name) and return the exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    try:
        code = _dispatch(arguments)
        sys.stdout.flush()  # a closed pipe shows here, not at exit
    except (JkoError, OSError) as error:
        if isinstance(error, BrokenPipeError):
            return _closed_pipe()
        print(f"jko: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("jko: interrupted", file=sys.stderr)
        return 130
    return code


def _dispatch(arguments: list[str]) -> int:
    parser = _parser()
    if arguments[:1] == ["demo"] and arguments[1:] and not arguments[1].startswith("-"):
        return _demo(arguments[1], arguments[2:])  # the rest belongs to the demo
    chosen = parser.parse_args(arguments)
    if chosen.run is None:
        parser.print_help()
        return 0
    run: Callable[[argparse.Namespace], int] = chosen.run
    return run(chosen)


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="jko",
        description="Minimising-movement (JKO) and proximal steps on measures.",
    )
    parser.add_argument("--version", action="version", version=f"jko {jko.__version__}")
    parser.set_defaults(run=None)
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", parser_class=_Parser)

    verify = commands.add_parser(
        "verify",
        help="check the theory numerically; exit code 1 when an identity does not hold",
        description="Check the theory numerically. Exit code 1 when an identity does not hold.",
    )
    verify.add_argument("names", nargs="*", metavar="NAME", help="checks to run (mmd-* for many)")
    verify.add_argument("--json", action="store_true", help="print JSON")
    verify.add_argument("--list", action="store_true", help="print the names of the checks only")
    verify.set_defaults(run=_verify)

    listing = commands.add_parser(
        "list",
        help="which solver takes which step, with its guarantee or the reason for refusal",
        description="Which solver takes which step, with its guarantee or the reason for refusal.",
    )
    for name in ("energy", "geometry", "measure"):
        listing.add_argument(f"--{name}", metavar="TEXT", help=f"only {name} names with this text")
    listing.add_argument("--reasons", action="store_true", help="show every solver's refusal")
    listing.add_argument("--json", action="store_true", help="print JSON")
    listing.set_defaults(run=_list)

    demo = commands.add_parser(
        "demo",
        help="run a demo, or list them",
        description="Run a demo: jko demo NAME [options]; jko demo NAME --help shows its options."
        " Without a name, list the demos.",
    )
    demo.add_argument("--list", action="store_true", help="list the demos")
    demo.set_defaults(run=lambda _: _list_demos())
    return parser


# -- verify and list -----------------------------------------------------------------------------


def _verify(chosen: argparse.Namespace) -> int:
    from jko import verify

    if chosen.list:
        print("\n".join(verify.select(chosen.names)))
        return 0
    report = verify.all(chosen.names or None)
    print(report.to_json() if chosen.json else report)
    return 0 if report.holds else 1


def _list(chosen: argparse.Namespace) -> int:
    from dataclasses import asdict

    from jko import survey

    everything = survey.table()
    wanted = {name: getattr(chosen, name) for name in ("measure", "geometry", "energy")}
    rows = survey.select(everything, **wanted)
    if chosen.json:
        print(json.dumps([asdict(row) for row in rows], indent=2))
    elif len(rows) == len(everything) and not chosen.reasons:
        print(survey.matrix(rows))
    else:
        print(survey.listing(rows, everything, chosen.reasons))
    return 0


# -- demos ---------------------------------------------------------------------------------------


def demo_folder() -> Path:
    """Where the demos are: inside an installed package, or beside it in a checkout."""
    here = Path(jko.__file__).resolve().parent
    for folder in (here / "_demos", here.parent / "demos"):
        if folder.is_dir():
            return folder
    raise Unsupported("this installation has no demos; run from a checkout of the repository")


def _demos() -> dict[str, Path]:
    files = sorted(demo_folder().glob("*.py"))
    return {path.stem: path for path in files if not path.stem.startswith("_")}


def _list_demos() -> int:
    demos = _demos()
    width = max((len(name) for name in demos), default=0)
    for name, path in demos.items():
        text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
        first = text.splitlines()[0] if text else ""
        print(f"{name:<{width}}  {first}".rstrip())
    return 0


def _demo(name: str, arguments: list[str]) -> int:
    demos = _demos()
    if name not in demos:
        near = difflib.get_close_matches(name, demos, n=3, cutoff=0.4) or list(demos)
        raise InvalidArgument(f"there is no demo named {name!r}; nearest: {', '.join(near)}")
    try:
        module = _load(demos[name])
        with interrupts_passed_on():
            return int(module.main(arguments) or 0)
    except ModuleNotFoundError as missing:
        if (missing.name or "").split(".")[0] in ("", "jko"):
            raise
        raise Unsupported(
            f"demo {name} needs {missing.name}, which is not installed; pip install 'jko[demo]'"
        ) from None


def _load(path: Path) -> Any:
    """Import a demo from its file; its neighbours can be imported by name."""
    spec = importlib.util.spec_from_file_location(f"jko_demo_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    folder = str(path.parent)
    if folder not in sys.path:
        sys.path.insert(0, folder)
    spec.loader.exec_module(module)
    return module


def _closed_pipe() -> int:
    """The reader went away: say nothing, also not at exit; 141 is what a shell expects."""
    quiet = os.open(os.devnull, os.O_WRONLY)
    os.dup2(quiet, sys.stdout.fileno())
    return 141
