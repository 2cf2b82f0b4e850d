"""Plants every fault, and prints what is caught: `make faults`."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence

from cnnspec.check.engines import engines
from tests.faults.fault import KERAS, TORCH
from tests.faults.table import FAMILIES


def main(words: Sequence[str]) -> int:
    """Plant the faults of which every word is in `family: back end: trap`; 0 if all are found."""
    started, caught, right, count = time.monotonic(), 0, 0, 0
    with engines([TORCH, KERAS], in_process=True) as made:
        for family, faults in FAMILIES.items():
            for fault in faults:
                if not all(word in f"{family}: {fault.id}" for word in words):
                    continue
                before = time.monotonic()
                report = fault.check(made)
                found, named = report.status == "disagree", fault.named_right(report)
                count, caught, right = count + 1, caught + found, right + named
                word = "caught" if named else "WRONG LAYER" if found else report.status.upper()
                seconds = time.monotonic() - before
                print(f"{word:11}  {family}: {fault.id}: {fault.named(report)} ({seconds:.1f} s)")
                for diagnostic in report.diagnostics:
                    print(f"             {diagnostic.message}")
    seconds = time.monotonic() - started
    print(f"{caught} of {count} caught, layer named right {right} of {count}, in {seconds:.0f} s")
    return 0 if caught == right == count else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
