"""A back end's column: for each op class, the cell that spells it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from cnnspec import plugins
from cnnspec.backends.base import Style
from cnnspec.backends.writer import Code
from cnnspec.diagnostics import Diagnostic, Label, SpecError
from cnnspec.graph import Graph, Node
from cnnspec.ops.base import Op
from cnnspec.ops.initializer import Initializer


@dataclass(frozen=True, slots=True)
class Spelling:
    """How one node is spelled.

    Attributes:
        layer: constructor of the object that the model keeps; None where it keeps nothing.
        call: from its inputs' expressions to its own; None where the layer is simply called.
        split: for a part of a `split`, from the input's expression and the channels of every part
            to one call that gives them all; None where each part is spelled for itself.
        any_size: whether it is right for any input size, even if the op is not.
    """

    layer: Code | None = None
    call: Callable[..., Code] | None = None
    split: Callable[[Code, tuple[int, ...]], Code] | None = None
    any_size: bool = False


@dataclass(frozen=True, slots=True)
class Unsupported:
    """A cell that says why a back end cannot express an op."""

    reason: str


Cell = Callable[[Node[Any], Style], Spelling]
CellT = TypeVar("CellT", bound=Cell)


@dataclass(frozen=True, slots=True)
class Carried:
    """What comes with an op that a plug-in spells.

    Attributes:
        helpers: modules whose definitions the file carries, those in use and what they need.
        starts: how its layer starts a parameter that it is told nothing about.
    """

    helpers: tuple[Path, ...]
    starts: Mapping[str, Initializer]


class Column:
    """The cells of one back end, keyed by op class; a second cell for an op raises.

    Cells of plug-ins are imported when an op is asked for that has none yet.

    Args:
        backend: its name.
        base: another column, whose cells stand where this one has none.
    """

    def __init__(self, backend: str, base: Column | None = None) -> None:
        self.backend = backend
        self.base = base
        self._cells: dict[type[Op], Cell | Unsupported] = {}
        self._carried: dict[type[Op], Carried] = {}

    def __call__(self, *ops: type[Op]) -> Callable[[CellT], CellT]:
        """Decorator: the function spells these ops."""

        def register(cell: CellT) -> CellT:
            for op in ops:
                self._add(op, cell)
            return cell

        return register

    def unsupported(self, op: type[Op], reason: str) -> None:
        """State that this back end cannot express an op."""
        self._add(op, Unsupported(reason))

    def _add(self, op: type[Op], cell: Cell | Unsupported) -> None:
        if not issubclass(op, Op):
            raise TypeError(f"{op!r} is no op")
        if op in self._cells:
            raise ValueError(
                f"{self.backend} has two cells for {op.key!r}: "
                f"{_owner(self._cells[op])} and {_owner(cell)}"
            )
        self._cells[op] = cell

    def carry(self, op: type[Op], *helpers: Path, **starts: Initializer) -> None:
        """State what an op of a plug-in needs in a file, and how its layer starts.

        Args:
            op: its class.
            helpers: modules; what the cell's code names is copied from them, and what that needs.
                They may use the names that the back end's files import, and nothing else.
            starts: parameter -> what the layer's constructor leaves in it. Initial values that
                are equal to these are not written, all others are.
        """
        if op in self._carried:
            raise ValueError(f"{self.backend} carries {op.key!r} already")
        self._carried[op] = Carried(helpers, starts)

    def helpers(self, graph: Graph) -> tuple[Path, ...]:
        """The modules that a file with this graph carries beside the back end's own, in order."""
        found = dict.fromkeys(
            path
            for op in dict.fromkeys(type(node.op) for node in graph.nodes)
            if op in self._carried
            for path in self._carried[op].helpers
        )
        return tuple(found)

    def starts(self, op: type[Op]) -> Mapping[str, Initializer] | None:
        """What `carry` has said about its parameters; None for an op that it was not called for."""
        carried = self._carried.get(op)
        return None if carried is None else carried.starts

    def get(self, op: type[Op]) -> Cell | Unsupported | None:
        """The cell of an op, or None.

        Raises:
            SetupError: a plug-in's cells cannot be imported.
        """
        if op not in self._cells:
            plugins.load_all(plugins.CELLS, self.backend)
        found = self._cells.get(op)
        return self.base.get(op) if found is None and self.base is not None else found

    def __iter__(self) -> Iterator[type[Op]]:
        return iter(self._cells)

    def spell(self, node: Node[Op], style: Style) -> Spelling:
        """Spell one node; `require` has made sure that there is a cell."""
        cell = self.get(type(node.op))
        assert cell is not None
        assert not isinstance(cell, Unsupported)
        return cell(node, style)

    def require(self, graph: Graph) -> None:
        """Raise SpecError, once for each op, where the graph has what cannot be expressed."""
        found: dict[str, Diagnostic] = {}
        for node in graph.nodes:
            cell = self.get(type(node.op))
            if cell is None or isinstance(cell, Unsupported):
                reason = "it has no spelling there" if cell is None else cell.reason
                where = None if node.origin is None else Label(node.origin.span)
                found.setdefault(
                    node.op.key,
                    Diagnostic(
                        "unsupported-op",
                        f"`{node.op.key}` is not supported by the {self.backend} backend: {reason}",
                        where,
                    ),
                )
        if found:
            raise SpecError(found.values())


def _owner(cell: Cell | Unsupported) -> str:
    if isinstance(cell, Unsupported):
        return f"`unsupported` ({cell.reason})"
    return f"{cell.__module__}.{getattr(cell, '__qualname__', type(cell).__qualname__)}"
