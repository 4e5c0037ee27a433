"""Random small steps against rivals that share no code, each also in other units.

OPENBLAS_NUM_THREADS=1 python benchmarks/fuzz_steps.py --problems 2500 --seed 0
"""

from __future__ import annotations

import argparse
import sys
import time

from _fuzz.checks import report, run

QUICK = ["--problems", "60"]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--problems", type=int, default=2500, help="problems to draw")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--first", type=int, default=0, help="number of the first problem")
    parser.add_argument("--units", type=int, default=1, help="other units for each problem")
    parser.add_argument("--rivals", type=float, default=1.0, help="share with an oracle")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="CPU time to stop at")
    args = parser.parse_args()
    began = time.process_time()
    numbers = range(args.first, args.first + args.problems)
    tallies, faults = run(numbers, args.seed, args.units, args.rivals, args.seconds, show=True)
    print(report(tallies))
    spent = time.process_time() - began
    done = sum(tally.problems for tally in tallies.values())
    print(f"{done} problems from {args.first}, seed {args.seed}, {spent:.0f} CPU s")
    return int(any(f.kind != "uncertified" for f in faults))


if __name__ == "__main__":
    sys.exit(main())
