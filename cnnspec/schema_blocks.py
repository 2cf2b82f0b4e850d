"""`define:` and `parameters:`, of a spec and of the files that it includes."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping

from cnnspec import names, plugins
from cnnspec.diagnostics import Label, Span
from cnnspec.document import Document, Path
from cnnspec.expressions import WORDS
from cnnspec.faults import Faults, quoted
from cnnspec.graph import REQUIRED
from cnnspec.ops import lookup
from cnnspec.parameters import fitted, refuse_unknown
from cnnspec.schema_fields import missing_field, read_name, read_value, unknown_field, wrong_type
from cnnspec.schema_layers import LAYER_FIELDS, SEQUENCE, Reader
from cnnspec.spec import Block, Layer, OutputEntry, Parameter
from cnnspec.templates import FAULT, Known, Template, resolve

FIELDS = ("parameters", "inputs", "outputs", "layers")
REQUIRED_WORD = "required"

TAKEN = frozenset(("self", "x", "in_channels", "name", "training", *names.MEANT))
"""What the constructors and methods of emitted classes call something else."""


def read_parameters(
    faults: Faults, documents: Iterable[Document], given: Mapping[str, object]
) -> Known:
    """The values of the top-level `parameters:`, each file's after those of what it includes.

    A default may depend on parameters above it.

    Args:
        faults: where to report.
        documents: in order, the root last.
        given: values by name that replace defaults.

    Raises:
        SetupError: a value is for no parameter, or of another type than the default.
    """
    found: dict[str, object] = {}
    known = Known(found)
    places: dict[str, Span] = {}
    for document in documents:
        own = faults.of(document)
        if not isinstance(document.value, dict) or "parameters" not in document.value:
            continue
        written = document.value["parameters"]
        path: Path = ("parameters",)
        for name, value in _entries(own, written, path):
            at = (*path, name)
            span = document.key_span(at)
            _parameter_name(own, name, at, ())
            if _twice(own, places, name, at, "parameter"):
                continue
            places[name] = span
            default = _default(own, value, at, known)
            if name in given and default is not FAULT:
                found[name] = fitted(name, given[name], default)
            elif default is REQUIRED:
                own.add(
                    "missing-argument",
                    at,
                    f"parameter `{name}` is required",
                    help=f"`-p {name}=VALUE` on the command line, `parameters=` in Python",
                    key=True,
                )
                found[name] = 1
            else:
                found[name] = 1 if default is FAULT else default
    refuse_unknown(given, list(found))
    return known


def read_blocks(faults: Faults, documents: Iterable[Document], known: Known) -> dict[str, Block]:
    """Every block; all their names and parameters are read before the layers of any."""
    heads: dict[str, Block] = {}
    places: dict[str, Span] = {}
    for document in documents:
        own = faults.of(document)
        if not isinstance(document.value, dict) or "define" not in document.value:
            continue
        path: Path = ("define",)
        for name, fields in _entries(own, document.value["define"], path):
            at = (*path, name)
            if _block_name(own, name, at) and not _twice(own, places, name, at, "block"):
                places[name] = document.key_span(at)
                heads[name] = _head(own, name, fields, at, known)
    return {name: _with_layers(faults, head, heads, known) for name, head in heads.items()}


def unused_parameters(faults: Faults, documents: Iterable[Document], used: Iterable[str]) -> None:
    """Warn of top-level parameters that nothing reads."""
    if faults.errors:  # what reads one may not have been understood
        return
    for document in documents:
        written = document.value.get("parameters") if isinstance(document.value, dict) else None
        for name in written if isinstance(written, dict) else ():
            if name not in used:
                _warn_unused(faults.of(document), name, ("parameters", name), "nothing")


def _entries(faults: Faults, value: object, path: Path) -> Iterable[tuple[str, object]]:
    if isinstance(value, dict):
        return value.items()
    what = "a mapping from names to values" if path[-1] == "parameters" else "a mapping"
    wrong_type(faults, path, f"`{path[-1]}` is {what}")
    return ()


def _twice(faults: Faults, places: Mapping[str, Span], name: str, at: Path, what: str) -> bool:
    if name not in places:
        return False
    faults.add(
        "defined-twice",
        at,
        f"{what} {quoted(name)} is defined twice",
        key=True,
        secondary=(Label(places[name], "first defined here"),),
    )
    return True


def _block_name(faults: Faults, name: str, at: Path) -> bool:
    """Whether layers of this name can mean the block."""
    read_name(faults, name, at, key=True, attribute=False)
    op = lookup(name)
    if name == SEQUENCE or (op is not None and plugins.built_in(op)):
        faults.add(
            "block-is-op",
            at,
            f"{quoted(name)} is an op, and cannot be the name of a block",
            help="give the block another name",
            key=True,
        )
        return False
    if op is not None or name in plugins.names(plugins.OPS):
        faults.add(
            "block-hides-op",
            at,
            f"{quoted(name)} is also an op of a plug-in, which this block hides",
            key=True,
            severity="warning",
        )
    return True


def _head(faults: Faults, name: str, fields: object, at: Path, known: Known) -> Block:
    """A block without its layers."""
    nothing = Block(name, faults.document, at, (), ("input",), None)
    if not isinstance(fields, dict):
        wrong_type(faults, at, "a block is a mapping", "it has `layers`, and may have `parameters`")
        return nothing
    for field in fields:
        if field not in FIELDS:
            unknown_field(faults, at, f"block {quoted(name)}", field, FIELDS)
    if "layers" not in fields:
        missing_field(faults, at, f"block {quoted(name)}", "layers")
    inputs = _inputs(faults, fields["inputs"], (*at, "inputs")) if "inputs" in fields else None
    inputs = inputs or ("input",)
    parameters = []
    path: Path = (*at, "parameters")
    if "parameters" in fields:
        for parameter, value in _entries(faults, fields["parameters"], path):
            place = (*path, parameter)
            _parameter_name(faults, parameter, place, inputs)
            default = _default(faults, value, place, known)
            parameters.append(Parameter(parameter, default))
    outputs = None
    if "outputs" in fields:
        outputs = _outputs(faults, fields["outputs"], (*at, "outputs"))
    return Block(name, faults.document, at, tuple(parameters), inputs, outputs)


def _with_layers(faults: Faults, head: Block, blocks: Mapping[str, Block], known: Known) -> Block:
    own = faults.of(head.document)
    fields = _written(head)
    if "layers" not in fields:
        return head
    inner = known.of_block([parameter.name for parameter in head.parameters])
    layers = Reader(own, blocks, inner).layers(fields["layers"], (*head.path, "layers"))
    for parameter in head.parameters:
        if parameter.name not in inner.used and not faults.errors:
            at = (*head.path, "parameters", parameter.name)
            _warn_unused(own, parameter.name, at, f"block `{head.name}`")
    _unused_inputs(own, head, layers)
    return dataclasses.replace(head, layers=layers)


def _unused_inputs(faults: Faults, block: Block, layers: Iterable[Layer]) -> None:
    """Report inputs that no layer reads; an only one is read by the first layer."""
    read = {name for layer in layers for name in layer.sources or ()}
    if len(block.inputs) == 1 or faults.errors or any(isinstance(n, Template) for n in read):
        return
    for i, name in enumerate(block.inputs):
        if name not in read:
            faults.add(
                "unused-input",
                (*block.path, "inputs", i),
                f"no layer of block `{block.name}` reads its input `{name}`",
                help="read it with `from:`, or take it out",
            )


def _written(block: Block) -> Mapping[str, object]:
    value: object = block.document.value
    for part in block.path:
        assert isinstance(value, dict)
        value = value[str(part)]
    return value if isinstance(value, dict) else {}


def _warn_unused(faults: Faults, name: str, at: Path, reader: str) -> None:
    faults.add(
        "unused-parameter",
        at,
        f"parameter `{name}` is not used"
        if reader == "nothing"
        else f"{reader} does not use its parameter `{name}`",
        help="take it out",
        key=True,
        severity="warning",
    )


def _default(faults: Faults, value: object, at: Path, known: Known) -> object:
    if value == REQUIRED_WORD:
        return REQUIRED
    found = resolve(faults, value, at, known)
    return found if found is FAULT else read_value(faults, found, at)


def _parameter_name(faults: Faults, name: str, at: Path, inputs: Iterable[str]) -> None:
    if names.fault(name, attribute=False) is not None:
        read_name(faults, name, at, key=True, attribute=False)
        return
    if name in LAYER_FIELDS:
        reason = "every layer has a field of this name"
    elif name in WORDS:
        reason = "it is a word of expressions"
    elif name in TAKEN - names.MEANT or name in [f"{entry}_channels" for entry in inputs]:
        reason = "emitted classes call something else so"
    else:
        return
    faults.add("bad-name", at, f"{quoted(name)} cannot name a parameter: {reason}", key=True)


def _inputs(faults: Faults, value: object, path: Path) -> tuple[str, ...] | None:
    if not isinstance(value, tuple) or not value:
        wrong_type(faults, path, "`inputs` of a block is a list of names", "such as [x, skip]")
        return None
    found: list[str] = []
    for i, name in enumerate(value):
        at = (*path, i)
        if name == "input" and len(value) == 1:
            found.append(name)
        elif isinstance(name, str) and name in found:
            faults.add("duplicate-name", at, f"two inputs are called {quoted(name)}")
        elif (read := read_name(faults, name, at, attribute=False)) is not None:
            found.append(read)
    return tuple(found)


def _outputs(faults: Faults, value: object, path: Path) -> tuple[OutputEntry, ...] | None:
    if isinstance(value, str):
        return (OutputEntry("output", value, path),)
    if not isinstance(value, dict) or not value:
        wrong_type(
            faults,
            path,
            "`outputs` of a block is the name of a layer, or a mapping from names to layers",
        )
        return None
    found = []
    for name, layer in value.items():
        at = (*path, name)
        read_name(faults, name, at, key=True, attribute=False)
        if isinstance(layer, str):
            found.append(OutputEntry(name, layer, at))
        else:
            wrong_type(faults, at, "an output of a block is the name of a layer")
    return tuple(found)
