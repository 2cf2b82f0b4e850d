"""One thread for each process: a check runs several of them, and wants equal bits every time."""

from __future__ import annotations

import os

COUNTS = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "TF_NUM_INTEROP_THREADS",
    "TF_NUM_INTRAOP_THREADS",
)
ONE = dict.fromkeys(COUNTS, "1")


def single() -> None:
    """Keep this process' libraries to one thread; they read it when they are imported."""
    os.environ.update(ONE)
