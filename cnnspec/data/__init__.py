"""Data to train on: sources by name, one module each, imported on first use."""

from __future__ import annotations

from cnnspec.data.batches import Batch, batches
from cnnspec.data.dataset import Dataset, Samples, Split, Statistics
from cnnspec.data.fit import fit
from cnnspec.data.opening import given, load, open, section_of
from cnnspec.data.order import order
from cnnspec.data.workers import stop
from cnnspec.data_section import SOURCES

__all__ = [
    "SOURCES",
    "Batch",
    "Dataset",
    "Samples",
    "Split",
    "Statistics",
    "batches",
    "fit",
    "given",
    "load",
    "open",
    "order",
    "section_of",
    "stop",
]
