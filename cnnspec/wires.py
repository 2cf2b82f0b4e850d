"""Names of one scope to values: what `from`, `share` and `outputs` mean."""

from __future__ import annotations

from dataclasses import dataclass, field

from cnnspec.diagnostics import Label, closest
from cnnspec.document import Path
from cnnspec.faults import Faults, quoted
from cnnspec.graph import Node, Scope, Value
from cnnspec.ops.base import Op
from cnnspec.spec import Layer

NAMES_SHOWN = 8
NAMES_SEARCHED = 1000


class Unknown:
    """Stands for a value whose layer has a fault, so that its readers report nothing more."""


UNKNOWN = Unknown()
Known = Value | Unknown


@dataclass(slots=True, eq=False)
class Names:
    """The names of one scope.

    Attributes:
        values: what each name above the present layer stands for.
        layers: the layer that a name was given to; inputs have none.
        children: what was built of it, nothing where it was left out or has a fault.
        later: the first layer of a name in the whole scope.
        inputs: the names of the scope's inputs.
    """

    values: dict[str, Known] = field(default_factory=dict)
    layers: dict[str, Layer] = field(default_factory=dict)
    children: dict[str, Node[Op] | Scope] = field(default_factory=dict)
    later: dict[str, Layer] = field(default_factory=dict)
    inputs: tuple[str, ...] = ()


def name_path(layer: Layer) -> Path:
    """Where a layer's name stands; where it has none, where its op stands (as a key)."""
    return (*layer.fields, "name") if layer.name is not None else layer.fields


def name_label(faults: Faults, layer: Layer, message: str) -> Label:
    """A label at a layer's name, or at its op."""
    path = name_path(layer)
    document = faults.document
    span = document.key_spans.get(path) if layer.name is None else None
    return Label(span or document.span(path), message)


def give_name(faults: Faults, names: Names, layer: Layer, name: str, value: Known) -> None:
    """Let a name of the scope stand for a layer's value, or report that it is taken."""
    path, key = name_path(layer), layer.name is None
    if name in names.layers:
        other = names.layers[name]
        ordinal = "" if layer.name and other.name else " (an unnamed layer is its op and ordinal)"
        faults.add(
            "duplicate-name",
            path,
            f"two layers of this scope are called `{name}`{ordinal}",
            key=key,
            secondary=(name_label(faults, other, "first given here"),),
        )
    elif name in names.inputs:
        faults.add("duplicate-name", path, f"`{name}` is the name of an input", key=key)
    else:
        names.values[name] = value
        names.layers[name] = layer


def look_up(
    faults: Faults, names: Names, name: str, path: Path, *, reader: Layer | None = None
) -> Known:
    """What a name stands for; a fault where it stands for nothing.

    Args:
        faults: where to report.
        names: of the scope.
        name: as written.
        path: where it is written.
        reader: the layer that reads it, None for an output.
    """
    if name in names.values:
        return names.values[name]
    base = name.partition(".")[0]
    if isinstance(names.values.get(base), Unknown):
        return UNKNOWN  # its outputs are not known, because of a fault that is told
    if base != name and base in names.later and base not in names.layers:
        name = base
    if name in names.later and names.later[name] is reader:
        faults.add("later-name", path, f"{quoted(name)} is this layer itself")
    elif name in names.later:
        faults.add(
            "later-name",
            path,
            f"{quoted(name)} comes later; a layer reads layers above it",
            secondary=(name_label(faults, names.later[name], "it comes here"),),
        )
    elif name == "input":
        faults.add(
            "unknown-name",
            path,
            "`input` is a scope's only input, and this one has several",
            help="there is " + ", ".join(f"`{n}`" for n in names.inputs),
        )
    else:
        place = "" if reader is None else " above"
        faults.add(
            "unknown-name",
            path,
            f"there is no layer {quoted(name)}{place}",
            help=_meant(name, names),
        )
    return UNKNOWN


def _meant(name: str, names: Names) -> str:
    scope, dot, _ = name.partition(".")
    if dot and scope in names.layers:
        outputs = [known for known in names.values if known.startswith(f"{scope}.")]
        if outputs:
            return "there is " + ", ".join(f"`{known}`" for known in [scope, *outputs])
        return f"what is inside `{scope}` cannot be seen from here; its value is `{scope}`"
    above = list(names.values)[-NAMES_SEARCHED:]
    guess = closest(name, above)
    if guess is not None:
        return f"did you mean `{guess}`?"
    return "there is " + ", ".join(f"`{n}`" for n in above[-NAMES_SHOWN:]) if above else ""
