"""Run the benchmarks, each in a process of its own on one thread, and write what they print.

    python -m benchmarks                        # every script, at sizes fit for minutes
    python -m benchmarks mmd_step entropic_step # some of them
    python -m benchmarks --full mmd_step        # at the script's own sizes
    python -m benchmarks --list
    make bench ARGS="--output before.md"

The report is a table (processor seconds, the clock's, peak memory, how it ended) followed by what
each script printed; peers (POT, CVXPY, SciPy, PyTorch where it is installed) are measured by the
scripts themselves, in the same run. A script says in `QUICK` what it is to be passed here. The exit
code is 1 when a script fails. Compare two commits in one sitting on one machine: figures of
different machines, or of a busy one, say nothing about the code.
"""

from __future__ import annotations

import argparse
import ast
import os
import platform
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
#: Kibibytes in a gigabyte: `ru_maxrss` is in kibibytes, on macOS in bytes.
GIGABYTE = 1024**3 if sys.platform == "darwin" else 1024**2
#: One thread for every library, so that processor time compares.
ONE_THREAD = dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"), "1")


@dataclass(frozen=True)
class Ran:
    """One script that ended: processor and clock seconds, peak memory in GB, exit code, output."""

    name: str
    arguments: list[str]
    cpu: float
    clock: float
    memory: float
    code: int
    output: str

    def row(self) -> list[str]:
        """Its row of the table."""
        how = "ok" if self.code == 0 else f"exit code {self.code}"
        figures = [f"{self.cpu:.1f}", f"{self.clock:.1f}", f"{self.memory:.2f}"]
        return [self.name, " ".join(self.arguments) or "-", *figures, how]


HEAD = ["script", "arguments", "CPU s", "clock s", "peak GB", "ended"]


def scripts() -> dict[str, Path]:
    """Every script by name."""
    return {p.stem: p for p in sorted(HERE.glob("*.py")) if not p.stem.startswith("_")}


def quick(path: Path) -> list[str]:
    """The script's `QUICK`, read without importing it; nothing where it has none."""
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        if any(isinstance(t, ast.Name) and t.id == "QUICK" for t in targets):
            return [str(word) for word in ast.literal_eval(node.value)]  # type: ignore[attr-defined]
    return []


def first_line(path: Path) -> str:
    """What the script measures."""
    text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    return text.splitlines()[0] if text else ""


def run(name: str, path: Path, arguments: list[str]) -> Ran:
    """Run one script to its end."""
    environment = {**os.environ, **ONE_THREAD, "MPLBACKEND": "Agg"}
    folder = str(HERE.parent)
    environment["PYTHONPATH"] = os.pathsep.join([folder, os.environ.get("PYTHONPATH", "")])
    began = time.perf_counter()
    with tempfile.TemporaryFile("w+", encoding="utf-8") as output:
        command = [sys.executable, str(path), *arguments]
        process = subprocess.Popen(
            command, stdout=output, stderr=subprocess.STDOUT, env=environment, cwd=folder
        )
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        clock = time.perf_counter() - began
        output.seek(0)
        printed = output.read()
    cpu, memory = used.ru_utime + used.ru_stime, used.ru_maxrss / GIGABYTE
    return Ran(name, arguments, cpu, clock, memory, process.returncode, printed)


def table(rows: list[list[str]]) -> str:
    """A Markdown table, the first row its head, in columns that read as plain text too."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "| " + " | ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)) + " |"
        for row in rows
    ]
    rule = "|" + "|".join("-" * (w + 2) for w in widths) + "|"
    return "\n".join([lines[0], rule, *lines[1:]])


def report(done: list[Ran]) -> str:
    """The table, the machine, and what the scripts printed."""
    import numpy
    import scipy

    import jko

    versions = f"jko {jko.__version__}, NumPy {numpy.__version__}, SciPy {scipy.__version__}"
    machine = f"Python {platform.python_version()}, {platform.machine()}, {os.cpu_count()} cores"
    parts = ["# Benchmarks", f"{versions}; {machine}.", table([HEAD, *(r.row() for r in done)])]
    for ran in done:
        words = " ".join([f"benchmarks/{ran.name}.py", *ran.arguments])
        parts.append(f"## {words}\n\n```text\n{ran.output.rstrip()}\n```")
    return "\n\n".join(parts) + "\n"


def main(argv: list[str] | None = None) -> int:
    """Run what is asked for, write the report, return the exit code."""
    known = scripts()
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help="scripts to run; all by default")
    parser.add_argument("--full", action="store_true", help="at the scripts' own sizes")
    parser.add_argument("--output", type=Path, default=Path("benchmarks.md"), help="report file")
    parser.add_argument("--list", action="store_true", help="list the scripts and their sizes")
    chosen = parser.parse_args(argv)
    unknown = sorted(set(chosen.names) - set(known))
    if unknown:
        parser.error(f"there is no script named {', '.join(unknown)}; see --list")
    if chosen.list:
        rows = [[name, " ".join(quick(p)) or "-", first_line(p)] for name, p in known.items()]
        print(table([["script", "quick arguments", "what it measures"], *rows]))
        return 0
    done: list[Ran] = []
    for name in chosen.names or known:
        ran = run(name, known[name], [] if chosen.full else quick(known[name]))
        done.append(ran)
        chosen.output.write_text(report(done), encoding="utf-8")  # what is done is never lost
        print("  ".join(ran.row()), flush=True)
        if ran.code:
            print(ran.output, file=sys.stderr)
    print(f"\n{table([HEAD, *(r.row() for r in done)])}\n\nThe report is in {chosen.output}.")
    return int(any(ran.code for ran in done))


if __name__ == "__main__":
    sys.exit(main())
