"""Weights that are needed again later, and would take too much memory until then."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping
from typing import IO, Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

IN_MEMORY = 1 << 26
"""Bytes of weights that are kept in memory; the rest goes to a temporary file."""


class Store:
    """Weights as they were when they were kept, the first ones in memory, the rest in a file."""

    def __init__(self) -> None:
        self._used = 0
        self._file: IO[bytes] | None = None

    def keep(self, weights: Mapping[str, Array]) -> Kept:
        """Copies by name."""
        return Kept({name: self._keep(value) for name, value in weights.items()})

    def _keep(self, value: Array) -> Callable[[], Array]:
        self._used += value.nbytes
        if self._used > IN_MEMORY and value.size:
            try:
                return self._written(value)
            except OSError:  # no room there; memory may do
                self._used = 0
        copy = np.array(value)
        return lambda: copy

    def _written(self, value: Array) -> Callable[[], Array]:
        if self._file is None:
            self._file = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the store
        file, dtype, shape = self._file, value.dtype, value.shape
        start = file.seek(0, 2)
        file.write(np.ascontiguousarray(value).data.cast("B"))
        file.flush()

        def read() -> Array:
            # Mapped anew each time: what a lasting map has shown would stay in memory.
            return np.asarray(np.memmap(file, dtype, "r", start, shape))

        return read

    def close(self) -> None:
        """Give the file back."""
        if self._file is not None:
            self._file.close()
            self._file = None


class Kept(Mapping[str, Array]):
    """Weights that may have to be read again each time; those may not be written to."""

    def __init__(self, readers: Mapping[str, Callable[[], Array]]) -> None:
        self._readers = readers

    def __getitem__(self, name: str) -> Array:
        return self._readers[name]()

    def __iter__(self) -> Iterator[str]:
        return iter(self._readers)

    def __len__(self) -> int:
        return len(self._readers)
