"""The command line: the only place that prints or exits.

Exit status: 0 all is well; 1 the spec, weights or data are wrong, an engine failed, or back ends
disagree, or specs differ; 2 usage or environment; 130 interrupted. Each command imports what it
needs when it runs, so that those which only read a spec start fast, and `validate` of files
without options does not even import typer.
"""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Sequence
from contextlib import suppress

from cnnspec.cli import validating
from cnnspec.cli.terminal import report
from cnnspec.diagnostics import UserError

__all__ = ["main"]

INTERRUPTED = 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status.

    Args:
        arguments: without the program's name; by default those of the process.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a notebook may have put something else there
            stream.reconfigure(errors="backslashreplace")
    try:
        given = sys.argv[1:] if arguments is None else list(arguments)
        if validating.is_plain(given):  # on every keystroke of an editor, perhaps
            return validating.validate(given[1:])
        from cnnspec.cli.commands import app

        app(given, prog_name="cnnspec")
    except UserError as error:
        report(error.diagnostics)
        return error.exit_status
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        return _silenced()
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    return 0


def _silenced() -> int:
    """The reader of our output has gone, as in `| head`; not worth a word."""
    with suppress(OSError, ValueError):
        # Python flushes at exit and would complain about what is still buffered.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 1
