"""Training that starts from the weights of another network."""

from __future__ import annotations

from cnnspec.finetune.running import command
from cnnspec.finetune.sources import read_any
from cnnspec.finetune.taking import Taken, grouped, take

__all__ = ["Taken", "command", "grouped", "read_any", "take"]
