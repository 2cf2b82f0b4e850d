"""What is checked: the specs that paths stand for, and one of them after the other."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from cnnspec.build import build
from cnnspec.check.api import check_graph, status_of
from cnnspec.check.data import read_inputs
from cnnspec.check.engines import Engine
from cnnspec.check.options import Options, SpecReport
from cnnspec.diagnostics import Diagnostic, SetupError, Span, UserError
from cnnspec.document import read
from cnnspec.graph import Graph
from cnnspec.schema import is_library, read_spec
from cnnspec.weights import read_weights

SUFFIXES = (".yaml", ".yml", ".json")


@dataclass(frozen=True, slots=True)
class Request:
    """How each of several files is checked.

    Attributes:
        options: of the check.
        inputs: an .npz file of inputs, instead of random ones.
        weights: a safetensors file, instead of those drawn from the seed.
        parameters: values of the spec's top-level parameters.
    """

    options: Options
    inputs: str | None = None
    weights: str | None = None
    parameters: Mapping[str, object] = field(default_factory=dict)


def listed(paths: Sequence[str]) -> tuple[list[str], list[str]]:
    """The specs that paths stand for, and the libraries of blocks that are left out.

    A directory stands for every file of a spec's suffix in it and below it, by name; files and
    directories whose name starts with a dot, and links to directories, are passed over. Of these
    files only, those that are libraries are left out: a file that is named is always checked.

    Raises:
        SetupError: a directory has no spec in it.
    """
    specs: list[str] = []
    libraries: list[str] = []
    for path in paths:
        if not os.path.isdir(path):
            specs.append(path)
            continue
        before = len(specs)
        for file in _below(path):
            (libraries if _is_library(file) else specs).append(file)
        if len(specs) == before:
            raise SetupError(
                Diagnostic(
                    "no-specs",
                    f"there is no spec in the directory `{path}`",
                    help="specs end in .yaml, .yml or .json; libraries of blocks are left out",
                )
            )
    return specs, libraries


def _below(path: str) -> list[str]:
    found = []
    for folder, folders, files in os.walk(path):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        found += [
            os.path.join(folder, name)
            for name in sorted(files)
            if name.endswith(SUFFIXES) and not name.startswith(".")
        ]
    return found


def _is_library(path: str) -> bool:
    try:
        return is_library(read(path))
    except UserError:  # it is told when the file is checked
        return False


def graph_of(path: str, request: Request) -> Graph:
    """The network of a file.

    Raises:
        UserError: it is none.
    """
    return build(read_spec(read(path), dict(request.parameters))).graph


def check_file(
    path: str, request: Request, made: Mapping[str, Engine]
) -> tuple[SpecReport, Span | None]:
    """Check one file; also returns the place of the first layer that differs.

    An engine that has failed can be used again afterwards.
    """
    try:
        graph = graph_of(path, request)
        options = request.options
        if request.inputs is not None:
            options = replace(options, inputs=read_inputs(request.inputs, graph))
        if request.weights is not None:
            options = replace(options, weights=read_weights(request.weights, graph))
        report = check_graph(graph, path, options, made)
    except UserError as fault:
        return SpecReport(path, status_of(fault), diagnostics=list(fault.diagnostics)), None
    if report.status == "engine_failed":
        for engine in made.values():
            engine.revive()
    return report, _place(report, graph)


def _place(report: SpecReport, graph: Graph) -> Span | None:
    if report.first_difference is None:
        return None
    try:
        origin = graph.node(report.first_difference.node).origin
    except KeyError:
        return None
    return None if origin is None else origin.span
