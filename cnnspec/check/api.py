"""`check` as a function: specs or graphs in, a report out."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy.typing as npt

from cnnspec.backends.runtimes import runnable
from cnnspec.build import build
from cnnspec.check.bounds import UNIT
from cnnspec.check.data import fit_inputs
from cnnspec.check.engines import Engine, engines
from cnnspec.check.options import DEVICES, Options, Report, SpecReport, Status
from cnnspec.check.run import needs_process, run
from cnnspec.diagnostics import DataError, Diagnostic, SetupError, SpecError, UserError
from cnnspec.document import read
from cnnspec.graph import Graph
from cnnspec.quantities import DEFAULT_BACKENDS
from cnnspec.schema import read_spec

Array = npt.NDArray[Any]


def check(
    *specs: str | os.PathLike[str] | Graph,
    backends: Sequence[str] = DEFAULT_BACKENDS,
    dtype: str | None = None,
    seed: int | None = None,
    steps: int | None = None,
    inputs: Mapping[str, Array] | None = None,
    weights: Mapping[str, Array] | None = None,
    device: str = "cpu",
    sources: Mapping[str, tuple[str, str | None]] | None = None,
    reduce: bool = False,
    graph: bool = False,
    layers: Literal["exact", "native"] = "exact",
    optimize: Literal["inference"] | None = None,
    in_process: bool = False,
    timeout: float = 600.0,
) -> Report:
    """Check that back ends agree on specs: outputs, gradients, running statistics and steps.

    Args:
        *specs: paths, or graphs.
        backends: at least two, or one and a `sources` entry.
        dtype: "float64", "float32" or "bfloat16" alone; by default the first two.
        seed: instead of that of the spec.
        steps: training steps to compare; 5 unless told, or 2 of a network of more than
            2 * 10^7 weights, or of 10^9 multiply-accumulates of a batch.
        inputs: by name, float64, N, C, space; random ones by default.
        weights: by canonical name; drawn ones by default.
        device: "cpu" or "cuda", of all engines but NumPy.
        sources: back end -> (file, name or None), an edited or hand-written file to check.
        reduce: run each network on its smallest inputs instead of those of its size.
        graph: let engines compile a step before they run it (Keras: `tf.function`).
        layers: "native" checks the frameworks' own layers, to judge them; see `Style`.
        optimize: "inference" checks the optimized network, and that it computes in inference what
            the original does with the same weights.
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
        weights=weights,
        device=device,
        sources=dict(sources or {}),
        reduce=reduce,
        graph=graph,
        layers=layers,
        optimize=optimize,
        in_process=in_process,
        timeout=timeout,
    )
    options = named(options)
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
    faults += _unsuited(options)
    if faults:
        raise SetupError(faults)


def named(options: Options) -> Options:
    """The same request with one name for each back end: `keras:tensorflow` is `keras`.

    Raises:
        SetupError: there is no such back end, or it has no such engine.
    """
    sources = {runnable(name).name: source for name, source in options.sources.items()}
    backends = tuple(runnable(name).name for name in options.backends)
    return replace(options, backends=backends, sources=sources)


def _unsuited(options: Options) -> list[Diagnostic]:
    """What is asked for and cannot be had, of all engines or of some."""
    faults = []
    for dtype in options.dtypes:
        if dtype not in UNIT:
            known = ", ".join(f"`{name}`" for name in UNIT)
            faults.append(
                Diagnostic(
                    "unknown-dtype", f"nothing is checked in `{dtype}`", help=f"there is {known}"
                )
            )
    if options.device not in DEVICES:
        known = " and ".join(f"`{name}`" for name in DEVICES)
        faults.append(
            Diagnostic("unknown-device", f"there is no device `{options.device}`, but {known}")
        )
    if options.sources and "bfloat16" in options.dtypes:
        faults.append(
            Diagnostic(
                "source-unused",
                "`--source` is compared as a whole, and bfloat16 layer by layer only",
                help="leave one of the two out",
            )
        )
    for name in dict.fromkeys(options.backends):
        found = runnable(name)
        judged = options.layers == "native"  # that it has no float64 is what there is to see
        lacking = "float64" in options.dtypes and "float32" not in options.dtypes
        if found.single and lacking and not judged:
            faults.append(
                Diagnostic(
                    "single-engine",
                    f"`{name}` is not checked in float64",
                    notes=(found.single,),
                    help="--dtype float32, or no --dtype: it is then checked in float32, "
                    "and the others in both",
                )
            )
        if options.in_process and not found.default:
            faults.append(
                Diagnostic(
                    "engine-process",
                    f"`{name}` needs a process of its own, and `--in-process` gives it none",
                    help=f"leave `--in-process` out, or `{name}`",
                )
            )
    return faults


def check_graph(
    graph: Graph, name: str, options: Options, made: Mapping[str, Engine]
) -> SpecReport:
    """Check one graph with engines that are running; faults of the user's become its status."""
    try:
        if options.inputs is not None:
            options = replace(options, inputs=fit_inputs(options.inputs, graph))
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
