"""`check` as a function: specs or graphs in, a report out."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy.typing as npt

from cnnspec.backends import BUILT_IN
from cnnspec.backends import get as get_backend
from cnnspec.build import build
from cnnspec.check.engines import Engine, engines
from cnnspec.check.options import DEFAULT_BACKENDS, Options, Report, SpecReport, Status
from cnnspec.check.run import needs_process, run
from cnnspec.diagnostics import DataError, Diagnostic, SetupError, SpecError, UserError
from cnnspec.document import read
from cnnspec.graph import Graph
from cnnspec.schema import read_spec

Array = npt.NDArray[Any]


def check(
    *specs: str | os.PathLike[str] | Graph,
    backends: Sequence[str] = DEFAULT_BACKENDS,
    dtype: str | None = None,
    seed: int | None = None,
    steps: int | None = None,
    inputs: Mapping[str, Array] | None = None,
    sources: Mapping[str, tuple[str, str | None]] | None = None,
    reduce: bool = False,
    graph: bool = False,
    layers: Literal["exact", "native"] = "exact",
    in_process: bool = False,
    timeout: float = 600.0,
) -> Report:
    """Check that back ends agree on specs: outputs, gradients, running statistics and steps.

    Args:
        *specs: paths, or graphs.
        backends: at least two, or one and a `sources` entry.
        dtype: "float64" or "float32" alone; by default both.
        seed: instead of that of the spec.
        steps: training steps to compare; 5 unless told, or 2 of a network of more than
            2 * 10^7 weights, or of 10^9 multiply-accumulates of a batch.
        inputs: by name, float64, N, C, space; random ones by default.
        sources: back end -> (file, name or None), an edited or hand-written file to check.
        reduce: run each network on its smallest inputs instead of those of its size.
        graph: let engines compile a step before they run it (Keras: `tf.function`).
        layers: "native" checks the frameworks' own layers, to judge them; see `Style`.
        in_process: run everything in this process.
        timeout: seconds that an engine may take for one answer.

    Returns:
        A report, true only if everything agrees.

    Raises:
        UserError: a spec cannot be read, or the request makes no sense.
    """
    options = Options(
        backends=tuple(backends),
        dtypes=("float64", "float32") if dtype is None else (dtype,),
        seed=seed,
        steps=steps,
        inputs=inputs,
        sources=dict(sources or {}),
        reduce=reduce,
        graph=graph,
        layers=layers,
        in_process=in_process,
        timeout=timeout,
    )
    require(options)
    graphs = [s if isinstance(s, Graph) else build(read_spec(read(s))).graph for s in specs]
    names = [s.name if isinstance(s, Graph) else os.fspath(s) for s in specs]
    if not graphs:
        raise SetupError(Diagnostic("nothing-compared", "there is no spec to check"))
    report = Report()
    with engines(needs_process(options), in_process=in_process, timeout=timeout) as made:
        for network, name in zip(graphs, names, strict=True):
            report.specs.append(check_graph(network, name, options, made))
    return report


def require(options: Options, *, inputs: bool = False) -> None:
    """Refuse a request that compares nothing.

    Args:
        options: of the check.
        inputs: whether inputs will be given that are not among the options yet.

    Raises:
        SetupError: a back end twice, unknown or missing, too few of them, a bad source, inputs of
            another size than the reduced one.
    """
    faults = []
    for name in options.backends:
        if options.backends.count(name) > 1:
            faults.append(Diagnostic("backend-twice", f"backend `{name}` is listed twice"))
            break
    if len(set(options.backends)) < 2 and not faults:
        faults.append(
            Diagnostic(
                "nothing-compared",
                "a check needs at least two backends",
                help="--backends " + ",".join(DEFAULT_BACKENDS),
            )
        )
    if options.reduce and (inputs or options.inputs is not None):
        faults.append(
            Diagnostic(
                "reduced-inputs",
                "`--reduce` finds the inputs' sizes, and `--inputs` gives inputs of their own",
                help="leave one of the two out",
            )
        )
    for name, (file, _) in options.sources.items():
        if name not in options.backends:
            faults.append(
                Diagnostic("source-unused", f"`--source` names `{name}`, which is not checked")
            )
        elif not Path(file).is_file():
            faults.append(Diagnostic("file-not-found", f"there is no file `{file}`"))
    for name in options.backends:
        if name not in BUILT_IN:
            get_backend(name)
    if faults:
        raise SetupError(faults)


def check_graph(
    graph: Graph, name: str, options: Options, made: Mapping[str, Engine]
) -> SpecReport:
    """Check one graph with engines that are running; faults of the user's become its status."""
    try:
        return run(graph, name, options, made)
    except UserError as fault:
        return SpecReport(name, status_of(fault), diagnostics=list(fault.diagnostics))


def status_of(fault: UserError) -> Status:
    """The report's word for a user's mistake."""
    if isinstance(fault, SpecError):
        return "invalid_spec"
    if isinstance(fault, DataError):
        return "invalid_data"
    return "environment"
