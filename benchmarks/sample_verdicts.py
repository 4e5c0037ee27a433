"""Verdicts of `jko.sample` on targets with exact moments: false "converged", false alarms.

    OPENBLAS_NUM_THREADS=1 python benchmarks/sample_verdicts.py --seeds 0
    OPENBLAS_NUM_THREADS=1 python benchmarks/sample_verdicts.py --only banana mixture
    OPENBLAS_NUM_THREADS=1 python benchmarks/sample_verdicts.py --page docs/sampling.md

A run is right when every mean is within .1 standard deviation and every standard deviation within
10 %. Results are kept line by line in `--keep`, so that a run in pieces goes on where it stopped;
`--page` writes the table of all that is kept between the marks on the page.
"""

from __future__ import annotations

import argparse
import sys
import time
import warnings
from pathlib import Path

import numpy as np
from _kept import Kept, arguments, by_name, tally, verdict, write_table

import jko

#: What `python -m benchmarks` passes: sizes fit for a minute.
QUICK = ["--only", "regression", "banana", "funnel"]

ROOT = Path(__file__).parents[1]
sys.path.append(str(ROOT / "tests"))

from generators.exact_targets import everything  # noqa: E402


def run(exact, seed):
    clock = time.process_time()
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        warnings.simplefilter("ignore", jko.JkoWarning)
        options = {"rng": seed, **(exact.options or {})}
        try:
            out = jko.sample(exact.log_density, exact.dim, gradient=exact.gradient, **options)
        except jko.JkoError as error:
            return {"name": exact.name, "seed": seed, "error": str(error)}
    off = np.abs(out.mean - exact.mean) / exact.std
    off_std = np.abs(out.std / exact.std - 1)
    failed = [k for k, e in out.evidence.items() if not e.passes]
    line = {
        "name": exact.name,
        "seed": seed,
        "mean": float(off.max()),
        "std": float(off_std.max()),
        "converged": out.converged,
        "failed": failed,
        "evaluations": out.diagnostics["evaluations"],
        "steps": out.diagnostics.get("leapfrog_steps"),
        "seconds": time.process_time() - clock,
        "values": {k: round(float(e.value), 3) for k, e in out.evidence.items()},
    }
    if exact.log_evidence is not None and out.log_evidence is not None:
        line["evidence"] = [out.log_evidence - exact.log_evidence, out.log_evidence_error]
    return line


def said(line):
    if "error" in line:
        return "ERROR " + line["error"][:90]
    flag, said_so = verdict(line)
    return (
        f"{flag:<6} mean {line['mean']:7.3f} sd {line['std']:7.1%} {line['evaluations']:9d}"
        f" {line['seconds']:6.1f} s  {said_so}  {line.get('evidence', '')}"
    )


def table(lines):
    """The table of the page: one row a target, and the totals."""
    rows = by_name(lines)
    out = [
        "| target | runs | right | converged | false converged | false alarms | evaluations |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    totals = np.zeros(5, dtype=int)
    for name, runs in rows.items():
        figures = tally(runs)
        totals += figures
        cost = np.mean([r.get("evaluations", 0) for r in runs]) / 1e3
        out.append(f"| {name} | " + " | ".join(map(str, figures)) + f" | {cost:.0f} 000 |")
    out.append("| **all** | " + " | ".join(f"**{v}**" for v in totals) + " | |")
    share = totals[4] / max(1, totals[1])
    summary = (
        f'{len(rows)} targets, {totals[0]} runs: {totals[3]} false "converged",'
        f" {totals[4]} false alarms in {totals[1]} right runs ({share:.0%})."
    )
    return summary + "\n\n" + "\n".join(out)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    arguments(parser)
    args = parser.parse_args()
    kept = Kept(args.keep)
    if args.page is None:
        for seed in args.seeds:
            for exact in everything():
                if kept.find(name=exact.name, seed=seed) or not any(
                    part.lower() in exact.name.lower() for part in args.only
                ):
                    continue
                line = run(exact, seed)
                kept.add(line)
                print(f"{exact.name:<46} {seed} {said(line)}", flush=True)
    order = {exact.name: i for i, exact in enumerate(everything())}
    lines = (k for k in kept.lines if k["name"] in order)
    text = table(sorted(lines, key=lambda k: order[k["name"]]))
    if args.page is None:
        print(text.splitlines()[0])
        return
    write_table(args.page, "verdicts", text)


if __name__ == "__main__":
    main()
