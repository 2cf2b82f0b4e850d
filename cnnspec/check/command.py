"""`cnnspec check`: reads specs and data, prints and writes the report, says the exit status."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Literal

from cnnspec import files
from cnnspec.check.api import named, require
from cnnspec.check.cache import Cache
from cnnspec.check.data import write_results
from cnnspec.check.engines import TIMEOUT, engines
from cnnspec.check.files import Request, check_file
from cnnspec.check.formats import format_report
from cnnspec.check.jobs import in_jobs
from cnnspec.check.minimize import each, folders, refuse_directory
from cnnspec.check.options import EXIT_STATUS, Options, Report, SpecReport
from cnnspec.check.report import library_line, tally, to_line, to_text
from cnnspec.check.run import needs_process
from cnnspec.diagnostics import Diagnostic, SetupError, UserError
from cnnspec.render import render
from cnnspec.spec_files import listed

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
    weights: str | None = None,
    device: str = "cpu",
    timeout: float = TIMEOUT,
    parameters: Mapping[str, object] | None = None,
    reduce: bool = False,
    graph: bool = False,
    layers: Literal["exact", "native"] = "exact",
    optimize: Literal["inference"] | None = None,
    jobs: int = 1,
    in_process: bool = False,
    self_test: int | None = None,
    minimize: str | None = None,
    force: bool = False,
    outputs: Sequence[tuple[str, str]] = (),
    cache: str | None = None,
    out: Say = print,
    say: Say = print,
    color: bool = False,
) -> int:
    """Check specs; prints the report with `out`, progress with `say`; returns the exit status.

    `form` is what is printed; `outputs` are more forms of the report, each with the file that it is
    written to, whole or not at all; `cache` is a directory of earlier results.
    With `self_test` so many faults are planted into the texts of each, to see that it finds them.

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
        optimize=optimize,
        save=save is not None,
        in_process=in_process,
        device=device,
        timeout=timeout,
    )
    for _, path in outputs:
        _require_writable(path, specs, force=force)
    printed_only = form == "text" and not outputs
    whole = Report()
    started = time.monotonic()
    try:
        request = Request(named(options), inputs, weights, parameters or {})
        paths = _paths(specs, request, whole, save=save is not None)
        if self_test is not None:
            from cnnspec.check.selftest.command import command as plant

            if outputs or form not in ("text", "json"):
                message = "`--self-test` is printed as text or JSON"
                raise SetupError(Diagnostic("self-test-alone", message))
            return plant(paths, request, self_test, form=form, out=out, color=color)
        for folder in () if minimize is None else folders(paths, Path(minimize)):
            refuse_directory(folder, force=force)
        found: dict[int, SpecReport] = {}
        remembered = None if cache is None else Cache(cache)
        for index, report in _checked(paths, request, 1 if in_process else jobs, remembered):
            found[index] = report
            if report.status == "environment" and printed_only and len(paths) == 1:
                raise SetupError(report.diagnostics)  # there is no report to be part of
            if save is not None and report.saved:
                write_results(Path(save), report.saved, force=force)
                if form == "text":
                    say(f"wrote {save}")
            if form == "text":
                # One spec after the other: a long list shows what it is doing.
                if len(paths) > 1 and report.agree:
                    out(to_line(report))
                else:
                    out(to_text(Report([report]), color=color) + "\n")
        if remembered is not None and remembered.warnings:
            say(render(remembered.warnings))
        whole.specs = [found[index] for index in range(len(paths))]
        cases = _minimized(paths, whole.specs, request, minimize, force=force)
        for text in cases:
            if form == "text":
                out(text + "\n")
    except UserError as fault:
        if printed_only:
            raise
        whole.diagnostics = list(fault.diagnostics)
        if form == "text":
            say(render(fault.diagnostics))
    if form != "text":
        out(format_report(whole, form))
    elif len(whole.specs) > 1 or (whole.libraries and whole.specs):
        for library in whole.libraries:
            out(library_line(library))
        out(f"{tally(whole)}, in {time.monotonic() - started:.0f} s")
    for kind, path in outputs:
        text = format_report(whole, kind) + "\n"
        # Names of files may have bytes that are no text.
        files.write_bytes(path, text.encode("utf-8", "backslashreplace"), force=force)
        say(f"wrote {path}")
    return EXIT_STATUS[whole.status]


def _minimized(
    paths: Sequence[str],
    reports: Sequence[SpecReport],
    request: Request,
    folder: str | None,
    *,
    force: bool,
) -> Iterator[str]:
    """A minimal case of each report that has a difference, in words."""
    if folder is not None:
        for report, case in each(paths, reports, request, Path(folder), force=force):
            yield "\n".join(case.lines()) if case else f"note: {report.notes[-1]}"


def _paths(specs: Sequence[str], request: Request, whole: Report, *, save: bool) -> list[str]:
    """The files to check; libraries go into the report."""
    require(request.options, inputs=request.inputs is not None)
    if not specs:
        raise SetupError(Diagnostic("nothing-compared", "there is no spec to check"))
    paths, whole.libraries = listed(specs)
    if save and len(paths) > 1:
        raise SetupError(Diagnostic("save-one", "`--save` takes the results of one spec"))
    return paths


def _require_writable(path: str, specs: Sequence[str], *, force: bool) -> None:
    """Refuse, before long work, a report that could not be written."""
    if os.path.realpath(path) in {os.path.realpath(spec) for spec in specs}:
        raise SetupError(
            Diagnostic("report-is-spec", f"the report would be written over the spec `{path}`")
        )
    files.require_writable(path, force=force)


def _checked(
    paths: Sequence[str], request: Request, jobs: int, cache: Cache | None
) -> Iterator[tuple[int, SpecReport]]:
    """Every file's report as soon as there is one, with its index."""
    waiting = list(range(len(paths)))
    if cache is not None:
        for index in tuple(waiting):
            known = cache.find(paths[index], request)
            if known is not None:
                waiting.remove(index)
                yield index, known
    for place, report in _run([paths[index] for index in waiting], request, jobs):
        if cache is not None:
            cache.keep(paths[waiting[place]], request, report)
        yield waiting[place], report


def _run(paths: Sequence[str], request: Request, jobs: int) -> Iterator[tuple[int, SpecReport]]:
    if not paths:
        return
    if min(jobs, len(paths)) > 1:
        yield from in_jobs(paths, request, min(jobs, len(paths)))
        return
    options = request.options
    with engines(
        needs_process(options), in_process=options.in_process, timeout=options.timeout
    ) as made:
        for index, path in enumerate(paths):
            yield index, check_file(path, request, made)
