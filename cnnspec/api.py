"""The Python interface: a spec in, a graph, source text, or a live model out.

Everything here is re-exported by `cnnspec` itself and imported on first use.
"""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from cnnspec.graph import Graph

if TYPE_CHECKING:
    from cnnspec.backends.base import Array, Backend, Dtype, Emitted, Style
    from cnnspec.build import Built

__all__ = ["Source", "SpecWarning", "build", "emit", "load", "read"]

Source = str | os.PathLike[str] | Mapping[str, Any]
"""A spec: a path, its text (a string with a line break in it), or the same as plain values."""

Weights = str | os.PathLike[str] | Mapping[str, "Array"]
"""A safetensors file, or arrays by canonical name."""


class SpecWarning(UserWarning):
    """A spec is valid and probably not what was meant."""


def read(source: Source, *, parameters: Mapping[str, Any] | None = None) -> Built:
    """A graph, and the warnings found on the way.

    Args:
        source: a path; a text, which is any string with a line break in it; or a mapping as
            `yaml.safe_load` returns it, in which places are those of its JSON form.
        parameters: values for the spec's top-level `parameters:` by name.

    Raises:
        SpecError: the spec is wrong; all faults of the phase that found the first one.
        SetupError: there is no such file, or it cannot be read; or there is no such parameter,
            or its default is of another type.
    """
    from cnnspec import document
    from cnnspec.build import build as build_graph
    from cnnspec.schema import read_spec

    if isinstance(source, Mapping):
        text = json.dumps(source, indent=2, ensure_ascii=False)
        parsed = document.parse(text, "<mapping>", json=True)
    elif isinstance(source, str) and "\n" in source:
        parsed = document.parse(source, "<string>")
    else:
        parsed = document.read(source)
    return build_graph(read_spec(parsed, parameters))


def load(source: Source, *, parameters: Mapping[str, Any] | None = None) -> Graph:
    r"""Load a spec: every layer resolved, with its shape and parameters.

    A spec that is valid and probably not what was meant gives a `SpecWarning`.

    Args:
        source: a path, a text, or a mapping; see `read`.
        parameters: values for the spec's top-level `parameters:` by name.

    Raises:
        SpecError: the spec is wrong; all faults of the phase that found the first one.
        SetupError: there is no such file, or it cannot be read; or there is no such parameter,
            or its default is of another type.

    Example:
        >>> import cnnspec
        >>> graph = cnnspec.load("cnnspec: 1\nname: tiny\ninput: [3]\nlayers: [relu]\n")
        >>> graph.nodes
        (Node('relu1', relu, (3,)),)
    """
    found = read(source, parameters=parameters)
    if found.warnings:
        from cnnspec.render import render

        for warning in found.warnings:
            warnings.warn(render([warning], "concise"), SpecWarning, stacklevel=2)
    return found.graph


def emit(
    network: Graph | Source,
    backend: str | Backend,
    *,
    reproducible: bool = False,
    style: Style | None = None,
) -> Emitted:
    """Write a network as standalone source; `.text` of the result is the file.

    Args:
        network: a graph, or what `load` takes.
        backend: "numpy", "torch", "keras", the name of a plug-in's, or one made by hand.
        reproducible: whether random layers use the masks that are the same in every back end,
            and not the framework's own.
        style: every option of the text; instead of `reproducible`.

    Raises:
        SpecError: the spec is wrong, or has what this back end cannot express.
        SetupError: no such file or back end.
    """
    from cnnspec.backends.base import Style

    if style is None:
        style = Style(random="counter" if reproducible else "framework")
    elif reproducible:
        raise TypeError("give either `style` or `reproducible`")
    return _backend(backend).emit(_graph(network), style)


def build(
    network: Graph | Source,
    backend: str | Backend,
    *,
    weights: Weights | None = None,
    dtype: Dtype = "float32",
    device: str = "cpu",
    reproducible: bool = False,
) -> Any:
    """Make a live model by running the text that `emit` writes, and nothing else.

    Args:
        network: a graph, or what `load` takes.
        backend: "numpy", "torch", "keras", the name of a plug-in's, or one made by hand.
        weights: a safetensors file, or arrays by canonical name; by default the network's
            initial weights, drawn from its seed, the same in every back end.
        dtype: of its parameters, "float32" or "float64".
        device: as the framework calls it.
        reproducible: see `emit`.

    Returns:
        An `nn.Module`, a `keras.Model`, or the NumPy file's model.

    Raises:
        SpecError: the spec is wrong, or has what this back end cannot express.
        DataError: the weights do not fit.
        SetupError: no such file or back end, its framework is not installed, or there is not
            enough memory.
    """
    from cnnspec.initializers import initial_weights

    graph = _graph(network)
    chosen = _backend(backend)
    emitted = emit(graph, chosen, reproducible=reproducible)
    values = initial_weights(graph) if weights is None else _weights(weights, graph)
    session = chosen.open(emitted, dtype=dtype, device=device)
    session.assign(values)
    return session.model


def _graph(network: Graph | Source) -> Graph:
    return network if isinstance(network, Graph) else load(network)


def _backend(backend: str | Backend) -> Backend:
    from cnnspec import backends

    return backends.get(backend) if isinstance(backend, str) else backend


def _weights(weights: Weights, graph: Graph) -> Mapping[str, Array]:
    from cnnspec.weights import fit, read_weights

    if isinstance(weights, Mapping):
        return fit(weights, graph)
    return read_weights(weights, graph)
