"""`cnnspec check`: reads specs and data, prints the report, says the exit status."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from cnnspec.build import build
from cnnspec.check.api import check_graph, require, status_of
from cnnspec.check.engines import engines
from cnnspec.check.options import EXIT_STATUS, Options, Report, SpecReport
from cnnspec.check.report import tally, to_json, to_text
from cnnspec.check.run import needs_process
from cnnspec.diagnostics import DataError, Diagnostic, SetupError, Span, UserError
from cnnspec.document import read
from cnnspec.files import write_bytes
from cnnspec.graph import Graph
from cnnspec.ops.base import show
from cnnspec.schema import read_spec
from cnnspec.weights import write_weights

Array = npt.NDArray[Any]
Say = Callable[[str], None]


def command(
    specs: Sequence[str],
    *,
    backends: tuple[str, ...],
    form: str,
    dtype: str | None,
    seed: int | None,
    steps: int,
    inputs: str | None,
    save: str | None,
    sources: Sequence[tuple[str, str, str | None]],
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
        in_process=in_process,
    )
    require(options)
    if not specs:
        raise SetupError(Diagnostic("nothing-compared", "there is no spec to check"))
    if save is not None and len(specs) > 1:
        raise SetupError(Diagnostic("save-one", "`--save` takes the results of one spec"))
    report = Report()
    spans: dict[str, Span] = {}
    with engines(needs_process(options), in_process=in_process) as made:
        for spec in specs:
            try:
                graph = build(read_spec(read(spec))).graph
                given = None if inputs is None else read_inputs(inputs, graph)
                one = check_graph(graph, spec, _with_inputs(options, given), made)
            except UserError as fault:
                if isinstance(fault, SetupError) and form == "text" and len(specs) == 1:
                    raise  # there is no report to be part of
                one = SpecReport(spec, status_of(fault), diagnostics=list(fault.diagnostics))
            report.specs.append(one)
            _remember(one, spans, graph if one.first_difference is not None else None)
            if save is not None and one.saved:
                _save(Path(save), one.saved, force=force)
                if form == "text":
                    say(f"wrote {save}")
            if form == "text":
                # One spec after the other: a long list shows what it is doing.
                out(to_text(Report([one]), color=color, spans=spans) + "\n")
            if one.status == "engine_failed" and len(specs) > 1:
                for engine in made.values():
                    engine.revive()
    if form == "json":
        out(to_json(report))
    elif len(report.specs) > 1:
        out(tally(report))
    return EXIT_STATUS[report.status]


def _with_inputs(options: Options, inputs: Mapping[str, Array] | None) -> Options:
    from dataclasses import replace

    return options if inputs is None else replace(options, inputs=inputs)


def _remember(report: SpecReport, spans: dict[str, Span], graph: Graph | None) -> None:
    found = report.first_difference
    if found is None or graph is None:
        return
    try:
        origin = graph.node(found.node).origin
    except KeyError:
        return
    if origin is not None:
        spans[report.spec] = origin.span


def read_inputs(path: str, graph: Graph) -> dict[str, Array]:
    """Inputs by name from an .npz file: N, C, then space.

    Raises:
        SetupError: the file cannot be read.
        DataError: it is no .npz, a name or a shape is wrong, or a value is not finite.
    """
    if not os.path.exists(path):
        raise SetupError(Diagnostic("file-not-found", f"there is no file `{path}`"))
    try:
        with open(path, "rb") as stream, np.load(stream, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
    except OSError as fault:
        raise SetupError(
            Diagnostic("file-unreadable", f"`{path}` cannot be read: {fault}")
        ) from None
    except Exception as fault:  # a broken archive raises whatever its parts raise
        raise DataError(Diagnostic("bad-inputs", f"`{path}` is no .npz file: {fault}")) from None
    faults = []
    count: int | None = None
    for entry in graph.inputs:
        array = arrays.get(entry.name)
        if array is None:
            names = ", ".join(f"`{name}`" for name in arrays) or "nothing"
            faults.append(
                Diagnostic("bad-inputs", f"`{path}` has no `{entry.name}`", help=f"it has {names}")
            )
        elif array.dtype.kind not in "fiu":
            faults.append(
                Diagnostic("bad-inputs", f"`{entry.name}` in `{path}` has dtype {array.dtype}")
            )
        elif array.ndim < 1 or array.shape[1:] != entry.shape:
            faults.append(
                Diagnostic(
                    "bad-inputs",
                    f"`{entry.name}` in `{path}` has shape {show(array.shape)}, "
                    f"and the network needs Nx{show(entry.shape)}",
                )
            )
        elif not np.all(np.isfinite(array)):
            faults.append(
                Diagnostic(
                    "not-finite", f"`{entry.name}` in `{path}` has values that are not finite"
                )
            )
        elif len(array) < 2:
            faults.append(
                Diagnostic("bad-inputs", f"`{entry.name}` in `{path}` has fewer than 2 samples")
            )
        elif count is not None and len(array) != count:
            faults.append(
                Diagnostic("bad-inputs", f"the inputs in `{path}` have different batch sizes")
            )
        else:
            count = len(array)
    unknown = sorted(set(arrays) - {entry.name for entry in graph.inputs})
    faults += [
        Diagnostic("bad-inputs", f"the network has no input `{name}`, which `{path}` has")
        for name in unknown
    ]
    if faults:
        raise DataError(faults)
    return {entry.name: arrays[entry.name].astype(np.float64) for entry in graph.inputs}


def _save(folder: Path, saved: Mapping[str, Mapping[str, Array]], *, force: bool) -> None:
    """weights.safetensors, inputs.npz and outputs.npz."""
    import io

    folder.mkdir(parents=True, exist_ok=True)
    write_weights(folder / "weights.safetensors", dict(saved["weights"]), force=force)
    for name in ("inputs", "outputs"):
        buffer = io.BytesIO()
        np.savez(buffer, **dict(saved[name]))  # type: ignore[arg-type] # its own options are no arrays
        write_bytes(folder / f"{name}.npz", buffer.getvalue(), force=force)
