"""`share:` - whose parameters a layer, or every layer of a block, uses."""

from __future__ import annotations

from dataclasses import dataclass

from cnnspec.document import Path
from cnnspec.faults import Faults, quoted
from cnnspec.graph import Input, Node, Scope
from cnnspec.ops.base import Inferred, Op, Shape, show
from cnnspec.spec import Layer
from cnnspec.window import Window
from cnnspec.wires import Names, Unknown, look_up, name_label


@dataclass(frozen=True, slots=True, eq=False)
class Twin:
    """What a layer shares its parameters with.

    Attributes:
        target: the layer above, or the layer inside it that this one corresponds to.
        faults: where to report what does not fit.
        path: of `share`.
        name: as `share` gives it.
        other: the layer above as written.
    """

    target: Node[Op] | Scope
    faults: Faults
    path: Path
    name: str
    other: Layer

    def part(self, position: int) -> Twin | None:
        """What the child at a position of a scope shares with.

        None where a fault has left children out, which is told already.
        """
        assert isinstance(self.target, Scope), "a node has no children"
        if position >= len(self.target.children):
            return None
        child = self.target.children[position]
        return Twin(child, self.faults, self.path, self.name, self.other)

    @property
    def scope(self) -> Scope:
        """The scope whose children are shared, that of the first owner."""
        assert isinstance(self.target, Scope), "a node is shared with a node"
        return self.target if self.target.owner is None else self.target.owner

    def refuse(self, message: str, *, show_other: bool = True) -> None:
        """Report that it cannot be shared with."""
        labels = (name_label(self.faults, self.other, "this one"),) if show_other else ()
        self.faults.add("cannot-share", self.path, message, secondary=labels)


def find_twin(
    faults: Faults, names: Names, layer: Layer, name: str, *, sequence: bool
) -> Twin | None:
    """What `share` names; None with a fault, or where the named layer has one."""
    path: Path = (*layer.fields, "share")
    if sequence:
        faults.add(
            "cannot-share",
            path,
            "a layer inside a `sequence` cannot share: it would get two state-dict keys",
            help="take the layer out of the sequence",
            key=True,
        )
        return None
    value = look_up(faults, names, name, path, reader=layer)
    if isinstance(value, Unknown):
        return None
    other = names.layers.get(name)
    if other is None:
        what = "an input" if isinstance(value, Input) else "an output of a layer"
        faults.add("cannot-share", path, f"{quoted(name)} is {what}")
        return None
    child = names.children.get(name)
    if child is None:
        label = name_label(faults, other, "this one")
        message = f"{quoted(name)} is left out here, and has no parameters"
        faults.add("cannot-share", path, message, secondary=(label,))
        return None
    twin = Twin(child, faults, path, name, other)
    if isinstance(child, Scope) and child.kind != "block":
        kinds = {"sequence": "a sequence", "repeat": "repeated", "split": "a split"}
        twin.refuse(f"{quoted(name)} is {kinds[child.kind]}, and no single layer")
        return None
    return twin


def owner_of(twin: Twin, path: str, op: Op, shape: Shape, inferred: Inferred) -> Node[Op] | None:
    """The node whose parameters a node with this op and input uses; None with a fault."""
    target = twin.target
    whole = twin.other.block  # then every layer of the block is shared, those without any too
    shown = f"`{target.id}`" if whole and isinstance(target, Node) else quoted(twin.name)
    if isinstance(target, Scope) or target.op != op:
        twin.refuse(f"{shown} is another op or has other fields")
    elif not inferred.params and not whole:
        twin.refuse(f"`{op.key}` has no parameters to share", show_other=False)
    elif [p.shape for p in target.params] != [p.shape for p in inferred.params]:
        own = ", ".join(f"{p.name} {show(p.shape)}" for p in inferred.params)
        others = ", ".join(f"{p.name} {show(p.shape)}" for p in target.params)
        this = f"`{path}`" if whole else "this layer"
        twin.refuse(f"{shown} has {others}, and {this} needs {own}")
    elif op.one_rank and len(target.shape) != len(inferred.shape):
        message = f"`{op.key}` serves inputs of one number of axes, and these are "
        twin.refuse(message + f"{show(target.shape)} and {show(inferred.shape)}")
    elif (one := op.window(target.inputs[0].shape)) != (other := op.window(shape)):
        assert one is not None
        assert other is not None
        pads = f"{shown} pads {_sides(one)}, and this layer would pad {_sides(other)}"
        twin.refuse(f"{pads}, as its input has another size")
    else:
        return target if target.owner is None else target.owner
    return None


def _sides(window: Window) -> str:
    return " x ".join(f"[{before}, {after}]" for before, after in window.pads)
