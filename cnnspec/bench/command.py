"""The work of `cnnspec bench`."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from cnnspec.bench.measure import bench
from cnnspec.bench.results import Options
from cnnspec.bench.text import render
from cnnspec.diagnostics import Diagnostic, SetupError
from cnnspec.files import require_writable, write_bytes, write_text
from cnnspec.graph import Graph

__all__ = ["run"]


def run(
    graph: Graph,
    spec: str,
    options: Options,
    *,
    parameters: Sequence[str],
    form: str,
    plot: str | None,
    output: str | None,
    force: bool,
    out: Callable[[str], None],
    tell: Callable[[str], None],
) -> int:
    """Measure, print, and write the files that were asked for; returns the exit status.

    Raises:
        SetupError: before anything is measured where a file cannot be written, and as `bench`.
    """
    if plot is not None and plot == output:
        raise SetupError(
            Diagnostic("file-exists", f"`{plot}` would be written twice", help="two names")
        )
    for path in (plot, output):
        if path is not None:
            require_writable(path, force=force)
    if plot is not None:
        from cnnspec.inspect.drawing import require_drawing

        require_drawing()
    report = bench(graph, spec, options, parameters=parameters, tell=tell)
    tell("")
    out(render(report, form))
    if output is not None:
        write_text(output, render(report, "json") + "\n", force=force)
    if plot is not None:
        from cnnspec.bench.plot import picture

        write_bytes(plot, picture(report), force=force)
    return 1 if report.failed else 0
