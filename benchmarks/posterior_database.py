"""Posteriors of the public database through the Stan adapter: errors, verdicts, cost.

    OPENBLAS_NUM_THREADS=1 python benchmarks/posterior_database.py PATH --seeds 0 --keep runs.jsonl
    OPENBLAS_NUM_THREADS=1 python benchmarks/posterior_database.py PATH --only nes --skip nes1972
    python benchmarks/posterior_database.py --keep runs.jsonl --page docs/sampling.md

PATH is a copy of the database `posteriordb` (a clone, or its git directory alone); nothing of it is
shipped here. Every posterior with reference draws runs, with default settings but for `--n`. A run
is right when the mean of every parameter is within .1 standard deviation of the reference and its
standard deviation within 10 %; parameters are the constrained ones, from the draws of the chains.
Where the draws of the reference are not in the copy, its means and mean squares are used. Results
are kept line by line in `--keep`, so that a run in pieces goes on where it stopped; `--page` writes
the table of all that is kept.
"""

from __future__ import annotations

import argparse
import io
import json
import subprocess
import time
import warnings
import zipfile
from pathlib import Path

import numpy as np
from _kept import Kept, arguments, by_name, tally, verdict, write_table

import jko

#: What `python -m benchmarks` passes: without a copy of the database there is nothing to run.
QUICK = ["--none"]

ROOT = "posterior_database/"


class Database:
    """Files of a copy: of its work tree where there is one, else of the last commit."""

    def __init__(self, path):
        self.tree, self.git = None, None
        if (path / ROOT).is_dir():
            self.tree = path
        else:
            self.git = ["git", "--git-dir", str(path)]

    def read(self, name):
        if self.tree is not None:
            return (self.tree / ROOT / name).read_bytes()
        command = [*self.git, "show", f"HEAD:{ROOT}{name}"]
        return subprocess.run(command, capture_output=True, check=True).stdout

    def json(self, name):
        found = self.read(name)
        if name.endswith(".zip"):
            with zipfile.ZipFile(io.BytesIO(found)) as file:
                found = file.read(file.namelist()[0])
        return json.loads(found)

    def posteriors(self):
        """Those with a reference, by name."""
        if self.tree is not None:
            names = sorted(p.name for p in (self.tree / ROOT / "posteriors").glob("*.json"))
        else:
            command = [*self.git, "ls-tree", "--name-only", f"HEAD:{ROOT}posteriors"]
            names = subprocess.run(command, capture_output=True, check=True, text=True)
            names = sorted(names.stdout.split())
        found = [self.json(f"posteriors/{name}") for name in names if name.endswith(".json")]
        return [p for p in found if p.get("reference_posterior_name")]

    def model(self, posterior):
        """The posterior as a `jko.LogDensity`."""
        code = self.read(f"models/stan/{posterior['model_name']}.stan").decode()
        return jko.LogDensity.from_stan(
            code, self.json(f"data/data/{posterior['data_name']}.json.zip")
        )

    def reference(self, posterior):
        """Names of the parameters, their means and standard deviations."""
        name = posterior["reference_posterior_name"]
        folder = "reference_posteriors/"
        try:
            chains = self.json(f"{folder}draws/draws/{name}.json.zip")
        except (OSError, subprocess.CalledProcessError):
            folder += "summary_statistics/"
            mean = self.json(f"{folder}mean_value/mean_value/{name}.json")
            square = self.json(f"{folder}mean_squared_value/mean_squared_value/{name}.json")
            first = np.array(mean["mean_value"], dtype=float)
            second = np.array(square["mean_squared_value"], dtype=float)
            return mean["names"], first, np.sqrt(second - first**2)
        names = list(chains[0])
        draws = np.concatenate([np.array([c[k] for k in names], dtype=float).T for c in chains])
        return names, draws.mean(axis=0), draws.std(axis=0)


def columns(values):
    """{theta[1]: column...} as Stan counts, of a dictionary of arrays (n, ...)."""
    out = {}
    for name, array in values.items():
        for index in np.ndindex(*array.shape[1:]):
            place = f"[{','.join(str(i + 1) for i in index)}]" if index else ""
            out[name + place] = array[(slice(None), *index)]
    return out


def off(model, points, weights, reference):
    """Worst error of a mean in sd, and of an sd relative, and which parameter has the first."""
    names, mean, std = reference
    found = columns(model.constrain(points))
    known = [k for k, name in enumerate(names) if name in found]
    x = np.stack([found[names[k]] for k in known], axis=1)
    m = weights @ x
    s = np.sqrt(weights @ (x - m) ** 2)
    away = np.abs(m - mean[known]) / std[known]
    worst = names[known[int(np.argmax(away))]]
    return float(away.max()), float(np.abs(s / std[known] - 1).max()), worst


def run(database, posterior, seed, n=1000):
    model = database.model(posterior)
    clock, wall = time.process_time(), time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        warnings.simplefilter("ignore", jko.JkoWarning)
        try:
            out = jko.sample(model, n=n, rng=seed)
        except jko.JkoError as error:
            return {"name": posterior["name"], "seed": seed, "error": str(error)}
    seconds, wall = time.process_time() - clock, time.perf_counter() - wall
    reference = database.reference(posterior)
    flat = out.draws.reshape(-1, model.dim)
    own = off(model, flat, np.full(len(flat), 1 / len(flat)), reference)
    weighted = off(model, out.measure.points, out.measure.weights, reference)
    return {
        "name": posterior["name"],
        "seed": seed,
        "dim": model.dim,
        "n": n,
        "mean": own[0],
        "std": own[1],
        "worst": own[2],
        "particles": weighted[:2],
        "converged": out.converged,
        "failed": [k for k, e in out.evidence.items() if not e.passes],
        "evaluations": out.diagnostics["evaluations"],
        "modes": out.diagnostics.get("modes"),
        "steps": out.diagnostics.get("leapfrog_steps"),
        "moves": out.diagnostics.get("moves"),
        "seconds": seconds,
        "wall": wall,
        "values": {k: round(float(e.value), 3) for k, e in out.evidence.items()},
    }


def said(line):
    if "error" in line:
        return "ERROR " + line["error"][:200]
    flag, said_so = verdict(line)
    mean, std = line["particles"]
    return (
        f"{flag:<6} mean {line['mean']:6.3f} sd {line['std']:6.1%} particles {mean:6.3f}"
        f" {std:6.1%} {line['evaluations']:9d} {line['seconds']:6.1f} s"
        f" {line['wall']:6.1f} s  {said_so}"
    )


def table(lines):
    """The table of the page: one row a posterior, and the totals."""
    rows = by_name(lines)
    out = [
        "| posterior | d | runs | right | converged | false converged | false alarms | worst mean,"
        " sd | evaluations |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    totals, sure = np.zeros(5, dtype=int), 0
    for name, runs in rows.items():
        figures = tally(runs)
        totals += figures
        sure += figures[1] == figures[2] == len(runs)
        worst = [max(r.get(k, np.inf) for r in runs) for k in ("mean", "std")]
        cost = np.mean([r.get("evaluations", 0) for r in runs]) / 1e3
        out.append(
            f"| {name} | {runs[0].get('dim', '')} | "
            + " | ".join(map(str, figures))
            + f" | {worst[0]:.3f}, {worst[1]:.1%} | {cost:.0f} 000 |"
        )
    out.append("| **all** | | " + " | ".join(f"**{v}**" for v in totals) + " | | |")
    share = totals[4] / max(1, totals[1])
    summary = (
        f'{len(rows)} posteriors, {totals[0]} runs: {totals[3]} false "converged",'
        f" {totals[4]} false alarms in {totals[1]} right runs ({share:.0%});"
        f" {sure} posteriors right and converged in every run."
    )
    return summary + "\n\n" + "\n".join(out)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("path", type=Path, nargs="?", help="a copy of posteriordb")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--n", type=int, default=1000, help="particles")
    arguments(parser)
    parser.add_argument("--skip", nargs="+", default=[], help="parts of names")
    parser.add_argument("--none", action="store_true", help="run nothing")
    args = parser.parse_args()
    kept = Kept(args.keep)
    if args.path is not None and not args.none:
        database = Database(args.path)
        for seed in args.seeds:
            for posterior in database.posteriors():
                name = posterior["name"]
                if kept.find(name=name, seed=seed) or not any(part in name for part in args.only):
                    continue
                if any(part in name for part in args.skip):
                    continue
                line = run(database, posterior, seed, args.n)
                kept.add(line)
                print(f"{name:<46} {seed} {said(line)}", flush=True)
    text = table(sorted(kept.lines, key=lambda k: (k["name"], k["seed"])))
    if args.page is None:
        print(text.splitlines()[0])
        return
    write_table(args.page, "database", text)


if __name__ == "__main__":
    main()
