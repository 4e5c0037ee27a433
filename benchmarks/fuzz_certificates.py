"""Certificates of arbitrary points against the true excess: none may be below it.

    OPENBLAS_NUM_THREADS=1 python benchmarks/fuzz_certificates.py --certificates 100000 --seed 0

Random small problems: every energy of the weights and sums of two, masses, lengths and factors from
1e-9 to 1e9, steps from 1e-6 to 1e6, empty atoms, weights down to 1e-14, ceilings. The certificates
of steps of the weights (Hellinger, spherical, MMD, divergences), of entropic steps (plain, half and
debiased), of Wasserstein-Fisher-Rao steps, of transport programs (W_2, W_p, given costs) and of
back-and-forth are asked at random feasible points, those that take potentials with random ones, and
compared with the excess over the least objective known: objectives by plain formulas in extended
precision, transport by linear programs with their own duals. The minimum is enclosed from below by
a dual value that the engine has no part in; "known" counts the certificates whose true excess is so
known to 1 % (or to rounding). The exit code is 1 when a certificate is below the excess.
"""

from __future__ import annotations

import argparse
import sys
import time
import warnings
from collections import defaultdict

import numpy as np
from _fuzz import cells, certified, cone, entropic, on_weights, programs

import jko

QUICK = ["--certificates", "2000", "--points", "20"]
FAMILIES = {
    "weights": on_weights,
    "entropic": entropic,
    "wfr": cone,
    "programs": programs,
    "cells": cells,
}
#: Share of the problems of every family.
SHARES = {"weights": 0.4, "entropic": 0.2, "wfr": 0.15, "programs": 0.15, "cells": 0.1}


def draw(seed, number, only=None):
    """The family and the generator of a problem."""
    rng = np.random.default_rng([seed, number])
    names = list(SHARES)
    name = names[rng.choice(len(names), p=list(SHARES.values()))]
    return FAMILIES[only or name], rng


def run(certificates, points, seed, only=None):
    """Tallies by label, and the faults: (problem, name, label, gap, excess, size)."""
    tallies, faults, number, total = defaultdict(certified.Tally), [], 0, 0
    while total < certificates:
        family, rng = draw(seed, number, only)
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            try:
                case = family.Case(rng)
                trials = [] if case.refused() else list(case.trials(rng, points))
            except jko.JkoError:
                trials = []
            if trials:
                tally = tallies[case.label]
                total -= tally.count
                certified.judge(case, trials, number, tally, faults)
                total += tally.count
        number += 1
    return tallies, faults


def report(tallies, faults):
    """A table by label, then the faults."""
    lines = [f"{'step':20s}{'problems':>10s}{'certificates':>14s}{'none':>8s}{'known':>8s}"
             f"{'below':>7s}{'least':>9s}  median gap/excess"]  # fmt: skip
    for name, t in sorted(tallies.items()):
        median = np.median(t.ratios) if t.ratios else float("nan")
        lines.append(f"{name:20s}{t.problems:10d}{t.count:14d}{t.unbounded:8d}{t.known:8d}"
                     f"{t.below:7d}{t.worst:9.4f}  {median:.3g}")  # fmt: skip
    lines += [
        f"below: problem {k} ({name} in {label}): gap {gap:.9e}, excess {excess:.9e},"
        f" {(gap - excess) / size:.1e} of the terms"
        for k, name, label, gap, excess, size in faults[:30]
    ]
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--certificates", type=int, default=100_000)
    parser.add_argument("--points", type=int, default=40, help="points of every problem")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", choices=sorted(FAMILIES), help="one family")
    args = parser.parse_args()
    began = time.process_time()
    tallies, faults = run(args.certificates, args.points, args.seed, args.only)
    print(report(tallies, faults))
    total, below = (sum(getattr(t, n) for t in tallies.values()) for n in ("count", "below"))
    print(f"{total} certificates, {below} below the true excess, seed {args.seed},"
          f" {time.process_time() - began:.0f} CPU s")  # fmt: skip
    return int(below > 0)


if __name__ == "__main__":
    sys.exit(main())
