"""The file as written: a Document becomes a Spec, or every fault of its form is reported."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING

from cnnspec.diagnostics import did_you_mean
from cnnspec.document import Document, Path
from cnnspec.faults import Faults, quoted
from cnnspec.ops.base import Shape
from cnnspec.schema_blocks import read_blocks, read_parameters, unused_parameters
from cnnspec.schema_fields import (
    missing_field,
    read_name,
    read_shape,
    read_whole,
    unknown_field,
    wrong_type,
)
from cnnspec.schema_layers import Reader
from cnnspec.schema_nesting import report_nesting
from cnnspec.spec import Layer, OutputEntry, Spec, TrainSection
from cnnspec.templates import FAULT, resolve

if TYPE_CHECKING:
    from cnnspec.data_section import DataSection

__all__ = ["Faults", "Layer", "OutputEntry", "Spec", "TrainSection", "is_library", "read_spec"]

VERSION = 1
MOST_SEED = 2**63 - 1

TOP_LEVEL = (
    "cnnspec", "name", "input", "include", "parameters", "define", "layers", "outputs", "train",
    "data", "seed",
)  # fmt: skip
LIBRARY_LEVEL = ("cnnspec", "define", "parameters", "include")
_EXAMPLES = {
    "cnnspec": "cnnspec: 1",
    "input": "input: [3, 224, 224]",
    "layers": "layers: [flatten, {dense: {units: 10}}]",
}


def read_spec(document: Document, parameters: Mapping[str, object] | None = None) -> Spec:
    """Check the form of a document, and of what it includes.

    Args:
        document: the root spec.
        parameters: values for top-level parameters by name; texts that stand for values, as on a
            command line, are `Written`.

    Raises:
        SpecError: with every fault of form.
        SetupError: there is no such parameter, or its type is another.
    """
    faults = Faults(document)
    spec = _spec(faults, parameters or {})
    faults.raise_any()
    assert spec is not None, "no spec without a fault"
    return dataclasses.replace(spec, warnings=tuple(faults.found))


def is_library(document: Document) -> bool:
    """Whether a document only defines blocks and parameters for others to include."""
    value = document.value
    return isinstance(value, dict) and "cnnspec" in value and not (set(value) - set(LIBRARY_LEVEL))


def _spec(faults: Faults, given: Mapping[str, object]) -> Spec | None:
    value = faults.document.value
    if not isinstance(value, dict):
        faults.add(
            "not-a-spec",
            (),
            "a spec is a mapping",
            help="it starts with `cnnspec: 1`, and has `input:` and `layers:`",
        )
        return None
    if is_library(faults.document) and "define" in value:
        faults.add(
            "is-library",
            ("define",),
            "this is a library of blocks, and no network: it has no `layers`",
            help="name it under `include:` of a spec",
            key=True,
        )
        return None
    _top_level(faults, value)
    libraries: tuple[Document, ...] = ()
    if "include" in value:
        from cnnspec.include import included  # which most specs do without

        libraries = included(faults.document, faults)
    for library in libraries:
        _library(faults.of(library))
    documents = (*libraries, faults.document)
    known = read_parameters(faults, documents, given)
    blocks = read_blocks(faults, documents, known)
    plain = {
        key: resolve(faults, value[key], (key,), known)
        for key in ("name", "input", "outputs", "train", "data", "seed")
        if key in value
    }
    plain = {key: entry for key, entry in plain.items() if entry is not FAULT}
    name: str | None = "network"
    if "name" in plain:
        name = read_name(faults, plain["name"], ("name",), attribute=False)
    inputs = _inputs(faults, plain["input"]) if "input" in plain else ()
    layers: tuple[Layer, ...] = ()
    if "layers" in value:
        layers = Reader(faults, blocks, known).layers(value["layers"], ("layers",))
    if not faults.errors:
        report_nesting(faults, blocks, layers)
    outputs = _outputs(faults, plain["outputs"]) if "outputs" in plain else None
    train = _train(faults, plain["train"]) if "train" in plain else None
    data = _data(faults, plain["data"]) if "data" in plain else None
    seed = read_whole(faults, plain.get("seed", 0), ("seed",), 0, MOST_SEED)
    unused_parameters(faults, documents, known.used_constants)
    return Spec(
        faults.document, name or "network", inputs, layers, outputs, train, seed, blocks, data=data
    )


def _train(faults: Faults, value: object) -> TrainSection | None:
    from cnnspec.schema_train import read_train  # not imported by a spec that has none

    return read_train(faults, value)


def _data(faults: Faults, value: object) -> DataSection | None:
    from cnnspec.schema_data import read_data

    return read_data(faults, value)


def _library(faults: Faults) -> None:
    """Report what an included file cannot have."""
    value = faults.document.value
    if not isinstance(value, dict):
        faults.add("not-a-spec", (), "an included file is a mapping")
        return
    for key in value:
        if key not in LIBRARY_LEVEL:
            faults.add(
                "unknown-key",
                (key,),
                f"an included file has no {quoted(key)}",
                help="there is " + ", ".join(f"`{known}`" for known in LIBRARY_LEVEL),
                key=True,
            )
    if "cnnspec" not in value:
        help = f"such as `{_EXAMPLES['cnnspec']}`"
        faults.add("missing-key", (), "an included file needs `cnnspec`", help=help)
    _version(faults, value)


def _top_level(faults: Faults, value: Mapping[str, object]) -> None:
    for key in value:
        if key not in TOP_LEVEL:
            help = did_you_mean(key, TOP_LEVEL)
            faults.add("unknown-key", (key,), f"a spec has no {quoted(key)}", help=help, key=True)
    for key, example in _EXAMPLES.items():
        if key not in value:
            faults.add("missing-key", (), f"a spec needs `{key}`", help=f"such as `{example}`")
    _version(faults, value)


def _version(faults: Faults, value: Mapping[str, object]) -> None:
    version = value.get("cnnspec", VERSION)
    if isinstance(version, bool) or version != VERSION:
        faults.add(
            "unknown-version",
            ("cnnspec",),
            "this version of the spec language is unknown",
            help=f"this cnnspec reads `cnnspec: {VERSION}`",
        )


def _inputs(faults: Faults, value: object) -> tuple[tuple[str, Shape], ...]:
    path: Path = ("input",)
    if not isinstance(value, dict):
        shape = read_shape(faults, value, path)
        return () if shape is None else (("input", shape),)
    if not value:
        wrong_type(faults, path, "a network needs an input")
    found = []
    for name, entry in value.items():
        at = (*path, name)
        if name != "input":
            read_name(faults, name, at, key=True, attribute=False)
        elif len(value) > 1:
            faults.add(
                "bad-name",
                at,
                "`input` cannot be the name of one of several inputs: "
                "it means a scope's only input",
                key=True,
            )
        shape = read_shape(faults, entry, at)
        if shape is not None:
            found.append((name, shape))
    return tuple(found)


def _outputs(faults: Faults, value: object) -> tuple[OutputEntry, ...]:
    path: Path = ("outputs",)
    if isinstance(value, str):
        return (OutputEntry("output", value, path),)
    if not isinstance(value, dict) or not value:
        wrong_type(
            faults,
            path,
            "`outputs` is the name of a layer, or a mapping from output names to layers",
        )
        return ()
    found = []
    for name, entry in value.items():
        at = (*path, name)
        read_name(faults, name, at, key=True, attribute=False)
        if isinstance(entry, dict):
            found += _output(faults, name, entry, at)
        elif isinstance(entry, str):
            found.append(OutputEntry(name, entry, at))
        else:
            wrong_type(faults, at, "an output is the name of a layer")
    return tuple(found)


def _output(faults: Faults, name: str, fields: Mapping[str, object], at: Path) -> list[OutputEntry]:
    for field in fields:
        if field not in ("from", "training_only"):
            unknown_field(faults, at, "an output", field, ("from", "training_only"))
    training_only = fields.get("training_only", False)
    if not isinstance(training_only, bool):
        wrong_type(faults, (*at, "training_only"), "`training_only` is true or false")
    if "from" not in fields:
        missing_field(faults, at, "an output", "from")
    elif not isinstance(fields["from"], str):
        wrong_type(faults, (*at, "from"), "`from` of an output is the name of a layer")
    else:
        return [OutputEntry(name, fields["from"], (*at, "from"), training_only is True)]
    return []
