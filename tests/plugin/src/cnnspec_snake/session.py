"""Sessions of the programs: NumPy's, which may import what the programs import."""

from __future__ import annotations

from typing import ClassVar

from cnnspec.backends.numpy.session import NumpySession
from cnnspec_snake.program import ProgramBackend


class ProgramSession(NumpySession):
    """A program as a module: its `main` is there, and is not run."""

    imports: ClassVar[frozenset[str]] = ProgramBackend.imports
