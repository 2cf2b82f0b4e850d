"""All commands; importing this adds them to the application."""

from __future__ import annotations

from cnnspec.cli import (
    benching,
    comparing,
    compiling,
    data,
    finetuning,
    fuzzing,
    inspecting,
    proving,
    reading,
    using,
)
from cnnspec.cli.app import app

__all__ = [
    "app",
    "benching",
    "comparing",
    "compiling",
    "data",
    "finetuning",
    "fuzzing",
    "inspecting",
    "proving",
    "reading",
    "using",
]
