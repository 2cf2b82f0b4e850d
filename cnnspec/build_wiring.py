"""The names and wires of the layers of a scope, and what they share with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from cnnspec.build_nodes import Nodes, Place
from cnnspec.build_sharing import Twin, find_twin
from cnnspec.document import Path
from cnnspec.instances import Instances
from cnnspec.names import fault as name_fault
from cnnspec.quote import quoted
from cnnspec.schema_fields import wrong_type
from cnnspec.schema_layers import SEQUENCE
from cnnspec.spec import Block, Layer, Name
from cnnspec.templates import FAULT, evaluate
from cnnspec.wires import UNKNOWN, Known, look_up


@dataclass(frozen=True, slots=True, eq=False)
class Entry:
    """A layer of a scope with what its parameters decide before anything is wired.

    Attributes:
        layer: as written.
        present: whether `when` leaves it in.
        number: of its instances, None where it is not repeated.
        names: its name, or those of its instances.
    """

    layer: Layer
    present: bool
    number: int | None
    names: tuple[str, ...]


class Wiring(Nodes):
    """Builds nodes, and finds what names stand for.

    Attributes:
        blocks: every block by name.
        instances: evaluates the fields of layers.
    """

    def __init__(self, blocks: Mapping[str, Block]) -> None:
        super().__init__()
        self.blocks = blocks
        self.instances = Instances(blocks)

    # --- names ---------------------------------------------------------------------------------

    def entries(self, place: Place, layers: tuple[Layer, ...]) -> list[Entry]:
        """The layers of a scope, with their names."""
        ordinals: dict[str, int] = {}
        position = 0
        found = []
        for layer in layers:
            present = self.instances.present(place.faults, layer, place.values)
            number = None
            if present:
                number = self.instances.number(place.faults, layer, place.values)
            if layer.name is None and not place.sequence:
                ordinals[layer.key] = ordinals.get(layer.key, 0) + 1
                names: tuple[str, ...] = (f"{layer.key}{ordinals[layer.key]}",)
            elif layer.name is None:
                taken = number or 1
                names = tuple(str(position + i) for i in range(taken))
            elif layer.names_instances:
                names = tuple(
                    self._given(place, layer, {"index": i, "count": number})
                    for i in range(number or 0)
                )
            else:
                names = (self._given(place, layer, {"count": number or 0}),)
            if present and place.sequence:
                several = layer.names_instances or layer.name is None
                position += 1 if number is None else number if several else min(number, 1)
            found.append(Entry(layer, present, number, names))
        return found

    def _given(self, place: Place, layer: Layer, own: Mapping[str, object]) -> str:
        """The name that a layer is given; a stand-in with a fault, which is reported."""
        if isinstance(layer.name, str):
            return layer.name
        path: Path = (*layer.fields, "name")
        found = evaluate(place.faults, layer.name, {**place.values, **own})
        if isinstance(found, str):
            reason = name_fault(found)
            if reason is not None:
                message = f"{quoted(found)} cannot be used as a name: {reason}"
                place.faults.add("bad-name", path, message)
            return found
        if found is not FAULT:
            wrong_type(place.faults, path, "a name is text")
        return layer.key

    # --- wires ---------------------------------------------------------------------------------

    def sources(self, place: Place, layer: Layer, above: Known | None) -> tuple[Known, ...]:
        """The inputs of a layer: what `from` names, or the layer above."""
        path: Path = (*layer.fields, "from")
        if layer.sources is None:
            if above is not None:
                return (above,)
            inputs = place.names.inputs
            place.faults.add(
                "from-required",
                layer.fields,
                "the first layer has to say where its input comes from, "
                "as there are several inputs",
                help="give `from:` one of " + ", ".join(f"`{name}`" for name in inputs),
                key=True,
            )
            return (UNKNOWN,)
        if place.sequence:
            place.faults.add(
                "from-in-sequence",
                path,
                "a layer inside a `sequence` cannot say where its input comes from",
                help="a sequence is a chain; take the layer out of it",
                key=True,
            )
            return (UNKNOWN,)
        listed = place.faults.document.is_list(path)
        found: list[Known] = []
        for i, source in enumerate(layer.sources):
            at = (*path, i) if listed else path
            for name in self.evaluated(place, source, at):
                found.append(look_up(place.faults, place.names, name, at, reader=layer))
        return tuple(found) or (UNKNOWN,)

    def evaluated(self, place: Place, name: Name, path: Path) -> tuple[str, ...]:
        """A name in `from` or `share`, or several where a parameter is a list of them."""
        if isinstance(name, str):
            return (name,)
        found = evaluate(place.faults, name, place.values)
        entries = found if isinstance(found, tuple) else (found,)
        names = tuple(entry for entry in entries if isinstance(entry, str))
        if len(names) < len(entries) and found is not FAULT:
            wrong_type(place.faults, path, "the name of a layer is text")
            return ()
        return names

    def twin(self, place: Place, layer: Layer, position: int) -> tuple[Twin | None, bool]:
        """What a layer shares with, and whether it says so itself."""
        if layer.share is None:
            return (None if place.twin is None else place.twin.part(position)), False
        path: Path = (*layer.fields, "share")
        if layer.key == SEQUENCE and not layer.block:
            place.faults.add(
                "cannot-share",
                path,
                "a sequence has no parameters of its own to share",
                help="share its layers, outside of a sequence",
                key=True,
            )
            return None, True
        names = self.evaluated(place, layer.share, path)
        if len(names) != 1:
            return None, True
        twin = find_twin(place.faults, place.names, layer, names[0], sequence=place.sequence)
        return twin, True

    def single(self, place: Place, layer: Layer, sources: tuple[Known, ...], what: str) -> Known:
        """The only input of a layer; `what` it is says a message if there are several."""
        if len(sources) == 1:
            return sources[0]
        place.faults.add(
            "wrong-arity",
            (*layer.fields, "from"),
            f"{what} has one input, and `from` names {len(sources)}",
        )
        return UNKNOWN
