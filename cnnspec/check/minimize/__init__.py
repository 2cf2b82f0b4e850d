"""The smallest network, on the smallest data, that shows a difference between back ends.

`each` does it for what `cnnspec check` has found, in fresh engines of the two that differ.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from cnnspec.check.data import read_inputs
from cnnspec.check.engines import engines
from cnnspec.check.files import Request, built_of
from cnnspec.check.minimize.minimize import Minimized, minimize
from cnnspec.check.minimize.search import narrow
from cnnspec.check.minimize.write import refuse_directory
from cnnspec.check.options import SpecReport
from cnnspec.check.run import needs_process
from cnnspec.diagnostics import UserError


def each(
    files: Sequence[str],
    reports: Sequence[SpecReport],
    request: Request,
    folder: Path,
    *,
    force: bool = False,
) -> Iterator[tuple[SpecReport, Minimized | None]]:
    """Minimise the first difference of every report that has one.

    Args:
        files: of the specs.
        reports: one for each; those that get a minimal case, or a note why not, are changed.
        request: how they were checked.
        folder: for the case, or, of several specs, for a directory of each that differs.
        force: whether earlier cases may be replaced.

    Yields:
        A report, and its minimal case; None where its last note says why there is none.

    Raises:
        SetupError: a directory cannot be written.
    """
    for file, report, target in zip(files, reports, folders(files, folder), strict=True):
        if report.first_difference is None:
            continue
        refuse_directory(target, force=force)
        try:
            graph = built_of(file, request).graph
            options = request.options
            if request.inputs is not None:
                options = replace(options, inputs=read_inputs(request.inputs, graph))
        except UserError:
            report.notes.append("no minimal case was made: the spec has changed on disk")
            yield report, None
            continue
        needed = needs_process(narrow(options, report.first_difference.comparison))
        with engines(needed, in_process=options.in_process, timeout=options.timeout) as made:
            found = minimize(graph, report, options, made, target, force=force)
        yield report, found


def folders(files: Sequence[str], folder: Path) -> list[Path]:
    """Where the case of each file goes: a directory of its name, if there are several."""
    if len(files) == 1:
        return [folder]
    found: list[Path] = []
    for file in files:
        name = stem = Path(file).stem
        number = 1
        while folder / name in found:
            number += 1
            name = f"{stem}-{number}"
        found.append(folder / name)
    return found


__all__ = ["Minimized", "each", "folders", "minimize", "refuse_directory"]
