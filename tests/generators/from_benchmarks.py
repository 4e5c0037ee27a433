"""What tests take from `benchmarks/`: the fuzz and its problems, which run longer there."""

import sys
from pathlib import Path

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"

sys.path.append(str(BENCHMARKS))
try:
    import accuracy
    import fuzz_certificates
    from _fuzz import checks, records, weights
finally:
    sys.path.remove(str(BENCHMARKS))

__all__ = ["accuracy", "checks", "fuzz_certificates", "records", "weights"]
