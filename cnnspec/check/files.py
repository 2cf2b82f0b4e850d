"""One file after the other is read, built and checked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from cnnspec.build import Built, build
from cnnspec.check.api import check_graph, status_of
from cnnspec.check.data import read_inputs
from cnnspec.check.engines import Engine
from cnnspec.check.options import Options, SpecReport
from cnnspec.diagnostics import UserError
from cnnspec.document import read
from cnnspec.schema import read_spec
from cnnspec.weights import read_weights


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


def built_of(path: str, request: Request) -> Built:
    """The network of a file, and the warnings of it.

    Raises:
        UserError: it is none.
    """
    return build(read_spec(read(path), dict(request.parameters)))


def check_file(path: str, request: Request, made: Mapping[str, Engine]) -> SpecReport:
    """Check one file; warnings of the spec are the last diagnostics of the report.

    An engine that has failed can be used again afterwards.
    """
    try:
        built = built_of(path, request)
        options = request.options
        if request.inputs is not None:
            options = replace(options, inputs=read_inputs(request.inputs, built.graph))
        if request.weights is not None:
            options = replace(options, weights=read_weights(request.weights, built.graph))
        report = check_graph(built.graph, path, options, made)
    except UserError as fault:
        return SpecReport(path, status_of(fault), diagnostics=list(fault.diagnostics))
    report.diagnostics += built.warnings
    if report.status == "engine_failed":
        for engine in made.values():
            engine.revive()
    return report
