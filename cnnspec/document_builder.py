"""Builds plain values and the places of their keys and values, whatever the notation.

Nothing here recurses and every size is bounded: the text is untrusted.
"""

from __future__ import annotations

import math
import re
from bisect import bisect_right
from collections.abc import Iterator, Mapping
from typing import NoReturn, TypeAlias

from cnnspec.diagnostics import Diagnostic, Label, Source, Span, SpecError, closest

Value: TypeAlias = "bool | int | float | str | tuple[Value, ...] | dict[str, Value] | None"
Path: TypeAlias = tuple[str | int, ...]

MAX_DEPTH = 100
MAX_ALIASED = 100_000
MAX_INTEGER = 2**63 - 1
MAX_FAULTS = 100

# What editors and YAML 1.2 call a line break; U+0085, U+2028 and U+2029 are not.
LINE_BREAK = re.compile(r"\r\n|[\r\n]")

_SURROGATE = re.compile("[\ud800-\udfff]")


class Positions:
    """Offsets into a text as lines and columns; the table is made when it is first asked for."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self._starts: list[int] = []

    def span(self, start: int, end: int) -> Span:
        """The characters from offset `start` up to `end`, which are within the text."""
        if not self._starts:
            breaks = LINE_BREAK.finditer(self.source.text)
            self._starts = [0, *(match.end() for match in breaks)]
        line = bisect_right(self._starts, start)
        last = bisect_right(self._starts, end)
        column = start - self._starts[line - 1] + 1
        return Span(self.source, line, column, last, end - self._starts[last - 1] + 1)


class Node:
    """Where a value and its key stand, as offsets: a tenth of the size of two tables of spans."""

    __slots__ = ("children", "end", "key_end", "key_start", "start")

    def __init__(
        self, start: int, end: int, children: dict[str, Node] | list[Node] | None = None
    ) -> None:
        self.start = start
        self.end = end
        self.key_start = -1  # no key: the root, or an item of a sequence
        self.key_end = -1
        self.children = children


class Spans(Mapping[Path, Span]):
    """The spans of values, or of keys, by path; made from the tree of nodes when asked for."""

    def __init__(self, positions: Positions, root: Node, *, keys: bool) -> None:
        self._positions = positions
        self._root = root
        self._keys = keys

    def __getitem__(self, path: Path) -> Span:
        node: Node | None = self._root
        for step in path:
            children = node.children if node is not None else None
            if isinstance(children, dict) and isinstance(step, str):
                node = children.get(step)
            elif isinstance(children, list) and isinstance(step, int) and 0 <= step < len(children):
                node = children[step]
            else:
                node = None
        if node is None or (self._keys and node.key_start < 0):
            raise KeyError(path)
        if self._keys:
            return self._positions.span(node.key_start, node.key_end)
        return self._positions.span(node.start, node.end)

    def __iter__(self) -> Iterator[Path]:
        pending: list[tuple[Path, Node]] = [((), self._root)]
        while pending:
            path, node = pending.pop()
            if not self._keys or node.key_start >= 0:
                yield path
            below: list[tuple[Path, Node]] = []
            if isinstance(node.children, dict):
                below = [((*path, key), child) for key, child in node.children.items()]
            elif node.children is not None:
                below = [((*path, i), child) for i, child in enumerate(node.children)]
            pending.extend(reversed(below))

    def __len__(self) -> int:
        return sum(1 for _ in self)


class Built:
    """A finished value; `size` and `height` count its nodes and levels, aliases expanded."""

    __slots__ = ("height", "node", "size", "value")

    def __init__(self, value: Value, node: Node, size: int = 1, height: int = 0) -> None:
        self.value = value
        self.node = node
        self.size = size
        self.height = height


class Open:
    """A mapping or sequence whose end has not been read yet."""

    __slots__ = ("anchor", "children", "end", "height", "key", "mapping", "size", "start", "values")

    def __init__(self, start: int, *, mapping: bool, anchor: str | None) -> None:
        self.start = start
        self.end = start  # of the last child
        self.mapping = mapping
        self.anchor = anchor
        self.values: list[Value] | dict[str, Value] = {} if mapping else []
        self.children: dict[str, Node] | list[Node] = {} if mapping else []
        self.key: tuple[str | None, int, int] | None = None  # the key whose value comes next
        self.size = 1
        self.height = 1


class Builder:
    """Builds values from the parts that a parser reports, and collects the faults in them."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.positions = Positions(source)
        self.root: Built | None = None
        self._stack: list[Open] = []
        self._anchors: dict[str, Built | None] = {}  # None: not finished
        self._aliased = 0
        self._faults: list[Diagnostic] = []

    @property
    def innermost(self) -> Open | None:
        """The collection that the next value goes into; None at the top."""
        return self._stack[-1] if self._stack else None

    def label(self, start: int, end: int, message: str = "") -> Label:
        """A label on a range of offsets, cut to the text."""
        size = len(self.source.text)
        return Label(self.positions.span(min(start, size), min(max(start, end), size)), message)

    def fault(self, diagnostic: Diagnostic) -> None:
        """Note a fault and go on, unless there are too many to be read."""
        self._faults.append(diagnostic)
        if len(self._faults) >= MAX_FAULTS:
            self._give_up()

    def stop(self, diagnostic: Diagnostic) -> NoReturn:
        """Report a fault after which there is nothing to be gained from reading on."""
        self._faults.append(diagnostic)
        self._give_up()

    def finish(self) -> Built:
        """The root value.

        Raises:
            SpecError: there were faults, or there is no value.
        """
        if self._faults:
            self._give_up()
        if self.root is None:
            self.stop(
                Diagnostic(
                    "empty-document",
                    "the file is empty",
                    self.label(0, 0),
                    help="a spec starts with `cnnspec: 1`",
                )
            )
        return self.root

    def open(self, start: int, *, mapping: bool, anchor: str | None = None) -> None:
        """Start a mapping or sequence; in a mapping every second value is a key."""
        self._check_depth(1, start, start + 1)
        if anchor is not None:
            self._anchors[anchor] = None
        self._stack.append(Open(start, mapping=mapping, anchor=anchor))

    def close(self, end: int | None = None) -> None:
        """End the innermost collection; without `end` it ends where its last child does."""
        top = self._stack.pop()
        node = Node(top.start, top.end if end is None else end, top.children)
        value = tuple(top.values) if isinstance(top.values, list) else top.values
        self._add(Built(value, node, top.size, top.height), top.anchor)

    def scalar(self, value: Value, start: int, end: int, anchor: str | None = None) -> None:
        """Add a value that has no parts."""
        if isinstance(value, str) and not value.isascii() and _SURROGATE.search(value):
            self.fault(
                Diagnostic(
                    "lone-surrogate",
                    "string has half of a surrogate pair",
                    self.label(start, end),
                    help="write the character itself, or both halves of the pair",
                )
            )
            value = ""
        self._add(Built(value, Node(start, end)), anchor)

    def alias(self, name: str, start: int, end: int) -> None:
        """Add the value anchored as `name` once more; it is shared, but counted in full."""
        if name not in self._anchors:
            # Comparing texts takes quadratic time, and these may be as long as the file.
            known = [anchor for anchor in self._anchors if len(anchor) <= 40][:100]
            guess = closest(brief(name), known)
            self.fault(
                Diagnostic(
                    "alias-unknown",
                    f"no value above is anchored as `&{brief(name)}`",
                    self.label(start, end),
                    help=f"did you mean `*{guess}`?" if guess else "",
                )
            )
            self._add(Built(None, Node(start, end)))
            return
        target = self._anchors[name]
        if target is None:
            self.stop(
                Diagnostic(
                    "alias-recursive",
                    f"`*{brief(name)}` stands inside the value that it stands for",
                    self.label(start, end),
                )
            )
        self._check_depth(target.height, start, end)
        self._aliased += target.size
        if self._aliased > MAX_ALIASED:
            self.stop(
                Diagnostic(
                    "alias-bomb",
                    f"aliases stand for more than {MAX_ALIASED:,} values",
                    self.label(start, end),
                    help="use a block with `define:` and `repeat:` instead of aliases of aliases",
                )
            )
        node = Node(start, end, target.node.children)
        self._add(Built(target.value, node, target.size, target.height))

    def integer(self, text: str, start: int, end: int, base: int = 10) -> int:
        """The integer written as `text`; a fault and 0 if it needs more than 64 bits."""
        # Python refuses to convert more than 4300 digits, and takes quadratic time up to there.
        digits = text.lstrip("+-0ox")
        number = int(digits or "0", base) if len(digits) <= 64 else MAX_INTEGER + 1
        if number > MAX_INTEGER:
            self.fault(
                Diagnostic(
                    "number-too-large",
                    f"integer {brief(text)} is not within 2^63 - 1",
                    self.label(start, end),
                )
            )
            return 0
        return -number if text.startswith("-") else number

    def number(self, number: float, start: int, end: int) -> float:
        """The number written at `start`; a fault and 0 if it is infinite or no number."""
        if not math.isfinite(number):
            text = self.source.text[start:end]
            self.fault(
                Diagnostic(
                    "number-not-finite",
                    f"number {brief(text)} is not finite in double precision",
                    self.label(start, end),
                    help="numbers go up to about 1.8e308; quotes make it a string",
                )
            )
            return 0.0
        return number

    def _check_depth(self, more: int, start: int, end: int) -> None:
        if len(self._stack) + more > MAX_DEPTH:
            self.stop(
                Diagnostic(
                    "nesting-too-deep",
                    f"values are nested more than {MAX_DEPTH} deep",
                    self.label(start, end),
                )
            )

    def _add(self, built: Built, anchor: str | None = None) -> None:
        if anchor is not None:
            self._anchors[anchor] = built
        if not self._stack:
            self.root = built
            return
        top = self._stack[-1]
        node = built.node
        top.end = node.end
        top.size += built.size
        top.height = max(top.height, built.height + 1)
        if isinstance(top.values, list) and isinstance(top.children, list):
            top.values.append(built.value)
            top.children.append(node)
        elif isinstance(top.values, dict) and isinstance(top.children, dict):
            if top.key is None:
                top.key = (self._key(top.children, built), node.start, node.end)
                return
            key, node.key_start, node.key_end = top.key
            if key is not None:
                top.values[key] = built.value
                top.children[key] = node
            top.key = None

    def _key(self, seen: dict[str, Node], built: Built) -> str | None:
        key, node = built.value, built.node
        if not isinstance(key, str):
            written = brief(self.source.text[node.start : node.end])
            shown = f"key `{written}`" if written else "empty key"
            quotable = written and not isinstance(key, (tuple, dict))
            self.fault(
                Diagnostic(
                    "key-not-string",
                    f"{shown} is {_kind(key)}, not a string",
                    self.label(node.start, node.end),
                    help=f'write "{written}" in quotes' if quotable else "",
                )
            )
            return None
        first = seen.get(key)
        if first is None:
            return key
        self.fault(
            Diagnostic(
                "duplicate-key",
                f"key `{brief(key)}` is given twice",
                self.label(node.start, node.end, "again here"),
                (self.label(first.key_start, first.key_end, "first here"),),
                help="keep one of them",
            )
        )
        return None

    def _give_up(self) -> NoReturn:
        def place(diagnostic: Diagnostic) -> tuple[int, int]:
            assert diagnostic.primary is not None
            return diagnostic.primary.span.line, diagnostic.primary.span.column

        raise SpecError(sorted(self._faults, key=place))


def _kind(value: Value) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "a boolean"
    if isinstance(value, (int, float)):
        return "a number"
    return "a sequence" if isinstance(value, tuple) else "a mapping"


def brief(text: str, limit: int = 40) -> str:
    """The text on one line, cut to what fits into a message."""
    line = LINE_BREAK.split(text[: limit + 1], maxsplit=1)[0]
    return text if line == text and len(text) <= limit else line[: limit - 3] + "..."
