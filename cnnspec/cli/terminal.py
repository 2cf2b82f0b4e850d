"""What every command says, and where: results to standard output, everything else to the other."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING, TextIO

from cnnspec.diagnostics import Diagnostic, SetupError

if TYPE_CHECKING:
    from cnnspec.render import Form


def out(text: str) -> None:
    """Print a result.

    Raises:
        SetupError: the system refuses, for example because the disk is full.
    """
    try:
        print(text, flush=True)
    except BrokenPipeError:
        raise
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise SetupError(
            Diagnostic("file-unwritable", f"the standard output cannot be written: {reason}")
        ) from None


def say(text: str) -> None:
    """Print a remark, which is no result."""
    print(text, file=sys.stderr, flush=True)


def report(diagnostics: Iterable[Diagnostic], form: Form = "full") -> None:
    """Print diagnostics where remarks go."""
    from cnnspec.render import render

    say(render(diagnostics, form, color=colored(sys.stderr)))


def colored(stream: TextIO) -> bool:
    """Whether to write colours; `NO_COLOR` and `FORCE_COLOR` decide before the terminal does."""
    if os.environ.get("NO_COLOR"):
        return False
    if os.environ.get("FORCE_COLOR"):
        return True
    return stream.isatty() and os.environ.get("TERM") != "dumb"
