"""`cnnspec check`: reads specs and data, prints the report, says the exit status."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Literal

from cnnspec.check.api import require
from cnnspec.check.data import write_results
from cnnspec.check.engines import engines
from cnnspec.check.files import Request, check_file, listed
from cnnspec.check.jobs import in_jobs
from cnnspec.check.options import EXIT_STATUS, Options, Report, SpecReport
from cnnspec.check.report import tally, to_json, to_line, to_text
from cnnspec.check.run import needs_process
from cnnspec.diagnostics import Diagnostic, SetupError, Span

Say = Callable[[str], None]


def command(
    specs: Sequence[str],
    *,
    backends: tuple[str, ...],
    form: str,
    dtype: str | None,
    seed: int | None,
    steps: int | None,
    inputs: str | None,
    save: str | None,
    sources: Sequence[tuple[str, str, str | None]],
    parameters: Mapping[str, object] | None = None,
    reduce: bool = False,
    graph: bool = False,
    layers: Literal["exact", "native"] = "exact",
    jobs: int = 1,
    in_process: bool = False,
    force: bool = False,
    out: Say = print,
    say: Say = print,
    color: bool = False,
) -> int:
    """Check specs; prints the report with `out`, progress with `say`; returns the exit status.

    Raises:
        UserError: the request makes no sense.
    """
    options = Options(
        backends=backends,
        dtypes=("float64", "float32") if dtype is None else (dtype,),
        seed=seed,
        steps=steps,
        sources={name: (file, entry) for name, file, entry in sources},
        reduce=reduce,
        graph=graph,
        layers=layers,
        save=save is not None,
        in_process=in_process,
    )
    require(options, inputs=inputs is not None)
    if not specs:
        raise SetupError(Diagnostic("nothing-compared", "there is no spec to check"))
    files, libraries = listed(specs)
    if save is not None and len(files) > 1:
        raise SetupError(Diagnostic("save-one", "`--save` takes the results of one spec"))
    request = Request(options, inputs, parameters or {})
    started = time.monotonic()
    found: dict[int, SpecReport] = {}
    for index, (report, span) in _checked(files, request, 1 if in_process else jobs):
        found[index] = report
        if report.status == "environment" and form == "text" and len(files) == 1:
            raise SetupError(report.diagnostics)  # there is no report to be part of
        if save is not None and report.saved:
            write_results(Path(save), report.saved, force=force)
            if form == "text":
                say(f"wrote {save}")
        if form == "text":
            # One spec after the other: a long list shows what it is doing.
            spans = {} if span is None else {report.spec: span}
            if len(files) > 1 and report.agree:
                out(to_line(report))
            else:
                out(to_text(Report([report]), color=color, spans=spans) + "\n")
    whole = Report([found[index] for index in range(len(files))], libraries)
    if form == "json":
        out(to_json(whole))
    elif len(files) > 1 or libraries:
        for library in libraries:
            out(f"{library}: a library of blocks, which is not checked")
        out(f"{tally(whole)}, in {time.monotonic() - started:.0f} s")
    return EXIT_STATUS[whole.status]


def _checked(
    files: Sequence[str], request: Request, jobs: int
) -> Iterator[tuple[int, tuple[SpecReport, Span | None]]]:
    """Every file's report as soon as there is one, with its index."""
    if min(jobs, len(files)) > 1:
        yield from in_jobs(files, request, min(jobs, len(files)))
        return
    options = request.options
    with engines(needs_process(options), in_process=options.in_process) as made:
        for index, file in enumerate(files):
            yield index, check_file(file, request, made)
