"""A back end's column: for each op class, the cell that spells it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

from cnnspec.backends.base import Style
from cnnspec.backends.writer import Code
from cnnspec.diagnostics import Diagnostic, Label, SpecError
from cnnspec.graph import Graph, Node
from cnnspec.ops.base import Op


@dataclass(frozen=True, slots=True)
class Spelling:
    """How one node is spelled.

    Attributes:
        layer: constructor of the object that the model keeps; None where it keeps nothing.
        call: from its inputs' expressions to its own; None where the layer is simply called.
        any_size: whether it is right for any input size, even if the op is not.
    """

    layer: Code | None = None
    call: Callable[..., Code] | None = None
    any_size: bool = False


@dataclass(frozen=True, slots=True)
class Unsupported:
    """A cell that says why a back end cannot express an op."""

    reason: str


Cell = Callable[[Node[Any], Style], Spelling]
CellT = TypeVar("CellT", bound=Cell)


class Column:
    """The cells of one back end, keyed by op class; a second cell for an op raises."""

    def __init__(self, backend: str) -> None:
        self.backend = backend
        self._cells: dict[type[Op], Cell | Unsupported] = {}

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
            raise ValueError(f"{self.backend} already spells {op.key!r}")
        self._cells[op] = cell

    def get(self, op: type[Op]) -> Cell | Unsupported | None:
        """The cell of an op, or None."""
        return self._cells.get(op)

    def __iter__(self) -> Iterator[type[Op]]:
        return iter(self._cells)

    def spell(self, node: Node[Op], style: Style) -> Spelling:
        """Spell one node; `require` has made sure that there is a cell."""
        cell = self._cells[type(node.op)]
        assert not isinstance(cell, Unsupported)
        return cell(node, style)

    def require(self, graph: Graph) -> None:
        """Raise SpecError, once for each op, where the graph has what cannot be expressed."""
        found: dict[str, Diagnostic] = {}
        for node in graph.nodes:
            cell = self._cells.get(type(node.op))
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
