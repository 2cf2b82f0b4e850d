"""`cnnspec fuzz`: runs, writes what it finds, says the exit status."""

from __future__ import annotations

from collections.abc import Callable

from cnnspec.fuzz import case as cases
from cnnspec.fuzz.options import Case, FuzzOptions
from cnnspec.fuzz.progress import Progress, Terminal
from cnnspec.fuzz.report import to_json, to_text
from cnnspec.fuzz.run import fuzz

Say = Callable[[str], None]

INTERRUPTED = 130


def command(
    options: FuzzOptions,
    *,
    form: str,
    directory: str | None,
    force: bool,
    out: Say,
    terminal: bool,
) -> int:
    """Fuzz; prints the report with `out`; returns the exit status.

    Args:
        options: what to do.
        form: "text" or "json".
        directory: where cases are written; None for nowhere.
        force: whether files may be replaced.
        out: prints.
        terminal: whether somebody watches.

    Raises:
        UserError: the request makes no sense, or the surroundings lack something.
    """
    if directory is not None:
        cases.refuse_existing(options, directory, force=force)
    progress = Terminal() if terminal else Progress()

    def found(case: Case) -> None:
        if directory is not None:  # at once: what is found is not lost with what comes later
            cases.write(options, case, directory, force=force)

    try:
        report = fuzz(options, tell=progress, found=found)
    finally:
        progress.close()
    out(to_json(report) if form == "json" else to_text(report))
    if report.cases:
        return 1
    return INTERRUPTED if report.interrupted else 0
