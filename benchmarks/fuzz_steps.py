"""Random small steps against rivals that share no code, each also in other units.

    OPENBLAS_NUM_THREADS=1 python benchmarks/fuzz_steps.py --problems 2500 --seed 0 --log s0.jsonl
    python benchmarks/fuzz_steps.py --table s0.jsonl s1.jsonl

All energies, geometries and measures (`_fuzz.families`), tau from 1e-6 to 1e6, zero weights,
weights of 1e-300, atoms listed twice, single atoms, 1 to 50 dimensions; of each problem a twin
with masses, lengths and energies from 1e-9 to 1e9 times as large. Counted as violations: a
success above a rival's objective by more than gap, bias and rounding; an objective below a lower
bound; a problem without an answer that is not refused, or one with an answer that is; a twin with
another verdict, objective (formula B2) or measure; an exception. Rivals are verified by lower
bounds of their own. With --log every problem is written down as it ends, and a second run goes on
from there.
"""

from __future__ import annotations

import argparse
import sys
import time

from _fuzz import families
from _fuzz.checks import run
from _fuzz.records import Log, load, report

QUICK = ["--problems", "60"]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--problems", type=int, default=2500, help="problems to draw")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--first", type=int, default=0, help="number of the first problem")
    parser.add_argument("--units", type=int, default=1, help="other units for each problem")
    parser.add_argument("--rivals", type=float, default=1.0, help="share with an oracle")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="CPU time to stop at")
    parser.add_argument("--only", nargs="*", help="geometries whose label contains one of these")
    parser.add_argument("--log", help="file that gets a line of JSON for each problem")
    parser.add_argument("--again", action="store_true", help="solve the log's faults once more")
    parser.add_argument("--table", nargs="*", help="print the table of these logs, solve nothing")
    parser.add_argument("--later", action="store_true", help="draw from `_fuzz.families.LATER`")
    args = parser.parse_args()
    if args.table:
        records = load(args.table)
        print(report(records, most=200))
        return int(any(r.violated for r in records))
    began = time.process_time()
    numbers = range(args.first, args.first + args.problems)
    show = lambda record: [print(text, flush=True) for text in record.lines()]
    log = Log(args.log, args.again)
    if args.again:
        kept = {(r.seed, r.number) for r in load([args.log])} - log.known
        numbers = sorted(k for seed, k in kept if seed == args.seed)
    draw = families.draw_later if args.later else families.draw
    how = (args.units, args.rivals, args.seconds, log, args.only, show, draw)
    records = run(numbers, args.seed, *how)
    print(report(records, most=0))
    spent = time.process_time() - began
    print(f"{len(records)} problems from {args.first}, seed {args.seed}, {spent:.0f} CPU s")
    return int(any(r.violated for r in records))


if __name__ == "__main__":
    sys.exit(main())
