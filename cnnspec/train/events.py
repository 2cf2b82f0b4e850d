"""Metrics as an event file of TensorBoard, written with its own record writer.

Neither PyTorch nor TensorFlow is imported for it: `EventFileWriter` would load the latter for its
file system, where a plain file is all that is needed.
"""

from __future__ import annotations

import contextlib
import time
from pathlib import Path
from typing import Any

from cnnspec import files
from cnnspec.train.metrics import Epoch

__all__ = ["Events"]

PREFIX = "events.out.tfevents."
SUFFIX = ".cnnspec"


class Events:
    """One file, with the metrics of every epoch at the step of its number.

    Raises:
        ImportError: TensorBoard is not installed.
        SetupError: the system refuses.
    """

    def __init__(self, folder: Path, history: tuple[Epoch, ...] = ()) -> None:
        from tensorboard.compat.proto.event_pb2 import Event
        from tensorboard.summary.writer.record_writer import RecordWriter

        files.make_directory(folder)
        # A resumed run writes all its epochs again, so that none of them is there twice.
        for old in folder.glob(f"{PREFIX}*{SUFFIX}"):
            files.remove(old)
        self._path = folder / f"{PREFIX}{time.time_ns() // 10**9}{SUFFIX}"
        self._event: Any = Event
        try:
            self._stream = open(self._path, "wb")  # noqa: SIM115 - open for as long as the run is
            self._records: Any = RecordWriter(self._stream)
            self._write(Event(wall_time=time.time(), file_version="brain.Event:2"))
        except OSError as error:
            raise files.unwritable(str(self._path), error) from None
        for epoch in history:
            self.add(epoch)

    def add(self, epoch: Epoch) -> None:
        """The metrics of an epoch.

        Raises:
            SetupError: the system refuses.
        """
        from tensorboard.compat.proto.summary_pb2 import Summary

        values = [
            Summary.Value(tag=tag(name), simple_value=value)
            for name, value in epoch.values().items()
            if value is not None and name != "epoch"
        ]
        event = self._event(wall_time=time.time(), step=epoch.epoch, summary=Summary(value=values))
        try:
            self._write(event)
        except OSError as error:
            raise files.unwritable(str(self._path), error) from None

    def _write(self, event: Any) -> None:
        self._records.write(event.SerializeToString())
        self._stream.flush()

    def close(self) -> None:
        """Close the file; what was added is in it already."""
        with contextlib.suppress(OSError):
            self._stream.close()


def tag(column: str) -> str:
    """TensorBoard draws what has one tag in one chart, so a metric goes before its split."""
    split, _, metric = column.partition("_")
    return f"{metric}/{split}" if split in ("train", "test") else column
