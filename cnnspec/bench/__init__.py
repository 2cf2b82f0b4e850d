"""How fast a network runs in each back end, and how much memory it takes; `cnnspec bench`."""

from __future__ import annotations

from cnnspec.bench.measure import bench
from cnnspec.bench.results import Layer, Memory, Options, Report, Row, Time

__all__ = ["Layer", "Memory", "Options", "Report", "Row", "Time", "bench"]
