"""`cnnspec fuzz`: random networks through every back end, and a minimal spec of what disagrees."""

from __future__ import annotations

from cnnspec.fuzz.options import Case, FuzzOptions, FuzzReport
from cnnspec.fuzz.run import fuzz

__all__ = ["Case", "FuzzOptions", "FuzzReport", "fuzz"]
