"""1,797 real handwritten digits of 8x8 pixels, which scikit-learn brings along."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from cnnspec.data.stored import Found, InMemory
from cnnspec.data_section import Digits
from cnnspec.diagnostics import Diagnostic, Label, SetupError

__all__ = ["digits"]

HIGHEST = 16.0
"""Pixels are counts of 0 to 16 dark points."""

EVERY = 5
"""Every image whose number is divisible by this is in the test set: 360 of 1,797."""


def digits(source: Digits, folder: Path, label: Label | None) -> Found:
    """The test half of the UCI set "Optical Recognition of Handwritten Digits".

    Returns:
        Images in `input`, float64 in [0, 1], (N, 1, 8, 8); labels 0 to 9 in `output`, int64,
        (N,). 1,437 to train on, 360 to test on.

    Raises:
        SetupError: scikit-learn cannot be imported.
    """
    try:
        from sklearn.datasets import load_digits
    except ImportError as fault:
        raise SetupError(
            Diagnostic(
                "extra-missing",
                "the data `digits` comes with scikit-learn, which cannot be imported",
                label,
                notes=(str(fault),),
                help="pip install 'cnnspec[data]'",
            )
        ) from fault
    pixels, numbers = load_digits(return_X_y=True)
    images = pixels.reshape(-1, 1, 8, 8).astype(np.float64) / HIGHEST
    labels = numbers.astype(np.int64)
    test = np.arange(len(images)) % EVERY == 0
    return Found(
        InMemory({"input": images[~test]}, {"output": labels[~test]}),
        InMemory({"input": images[test]}, {"output": labels[test]}),
        tuple(str(digit) for digit in range(10)),
    )
