"""Emitted text as a running module: audited, compiled, and for a trace wrapped in taps.

`instrument` changes the syntax tree of the very same text: each node's expression `e` becomes
`__tap__("conv1", e)`, each of its inputs `__feed__("conv1", 0, x)`; in a class that several block
instances share, `__tap__("conv1", self, e)`. A call that gives several nodes, `split(x, 2)`,
becomes `__parts__(("halves.0", "halves.1"), self, split, x, 2)`, which calls the function for each
of them where these are fed. `remove_taps` takes them out.
"""

from __future__ import annotations

import ast
import itertools
import linecache
import sys
from bisect import bisect_left
from collections.abc import Collection, Iterable, Mapping
from functools import lru_cache
from types import ModuleType
from typing import Any

from cnnspec.backends.base import Place, Range
from cnnspec.diagnostics import DataError, Diagnostic

TAP, FEED, PARTS = "__tap__", "__feed__", "__parts__"

ALLOWED_IMPORTS = frozenset(
    {
        "contextvars",
        "hashlib",
        "keras",
        "math",
        "numpy",
        "safetensors.numpy",
        "safetensors.torch",
        "scipy",
        "torch",
        "torch.nn.functional",
    }
)
FORBIDDEN_NAMES = frozenset(
    {
        "__builtins__",
        "__import__",
        "breakpoint",
        "compile",
        "delattr",
        "eval",
        "exec",
        "getattr",
        "globals",
        "input",
        "locals",
        "open",
        "setattr",
    }
)
ALLOWED_DUNDERS = frozenset({"__init__", "__name__"})

BETWEEN = "\n\n\n"
"""What stands between the definitions of an emitted file."""

_ids = itertools.count()


class AuditError(Exception):
    """Emitted text does what emitted text never does; always a bug of ours, or of a plug-in."""


def audit(text: str, imports: Collection[str] = ALLOWED_IMPORTS) -> ast.Module:
    """Parse emitted text and refuse what no emitter writes.

    Args:
        text: the file.
        imports: the modules that it may import; those of its back end.

    Raises:
        AuditError: an import that is not on the list, a dunder, or a way to run other code.
    """
    require_harmless(text, imports)
    return ast.parse(text)


def require_harmless(text: str, imports: Collection[str] = ALLOWED_IMPORTS) -> None:
    """Refuse what no emitter writes, without a tree of the whole.

    Pieces that are complete modules make, one after the other, a module with the statements of
    all. So each is looked at by itself, and once: most are helpers that many files carry.

    Raises:
        AuditError: as `audit`.
    """
    allowed = frozenset(imports)
    try:
        for piece in text.split(BETWEEN):
            _require_harmless(piece, allowed)
    except (AuditError, SyntaxError, ValueError):  # the whole knows the line, or is one statement
        _require_harmless(text, allowed)


@lru_cache(maxsize=4096)
def _require_harmless(text: str, imports: frozenset[str]) -> None:
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            _audit_import(node, imports)
        if isinstance(node, ast.Attribute) and _dunder(node.attr) and node.attr != "__init__":
            raise AuditError(f"line {node.lineno}: attribute {node.attr}")
        if isinstance(node, ast.Name):
            if node.id in FORBIDDEN_NAMES:
                raise AuditError(f"line {node.lineno}: name {node.id}")
            if _dunder(node.id) and node.id != "__name__":
                raise AuditError(f"line {node.lineno}: name {node.id}")
        if (
            isinstance(node, (ast.FunctionDef, ast.ClassDef, ast.AsyncFunctionDef))
            and _dunder(node.name)
            and node.name not in ALLOWED_DUNDERS
        ):
            raise AuditError(f"line {node.lineno}: definition of {node.name}")


def _audit_import(node: ast.Import | ast.ImportFrom, imports: Collection[str]) -> None:
    if isinstance(node, ast.Import):
        modules = [alias.name for alias in node.names]
    else:
        modules = [node.module or ""]
        if node.level:
            raise AuditError(f"line {node.lineno}: relative import")
    for module in modules:
        if module not in imports:
            raise AuditError(f"line {node.lineno}: import of {module}")


def _dunder(name: str) -> bool:
    return name.startswith("__") and name.endswith("__")


def instrument(tree: ast.Module, places: Mapping[str, Place], context: str = "self") -> ast.Module:
    """A tree with every node's expression, and its inputs, wrapped in taps.

    Args:
        tree: of the text.
        places: of every node.
        context: the variable that tells instances of one block apart; it is handed to the taps of
            expressions that several instances share.
    """
    wraps: dict[Range, dict[_Wrap, None]] = {}
    several: dict[Range, tuple[dict[str, None], str | None]] = {}
    called = {} if context == "self" else _called(places)
    for id, place in places.items():
        if place.module is not None:
            continue
        name = called.get(place.range, relative_name(id, place.instance))
        shared = context if place.instance else None
        if place.part is not None:
            assert isinstance(name, str), "a sequence has no node of several parts"
            several.setdefault(place.range, ({}, shared))[0][name] = None
            continue
        for index, part in enumerate(place.inputs):
            wraps.setdefault(part, {}).setdefault((FEED, name, index, shared))
        # The expression is tapped inside whatever feeds it to a reader in the same range.
        own: _Wrap = (TAP, name, None, shared)
        wraps[place.range] = {own: None, **wraps.get(place.range, {})}
    taps = _Taps(wraps, several)
    made: ast.Module = taps.visit(tree)
    missing = sorted((wraps.keys() | several.keys()) - taps.found)
    if missing:
        raise AssertionError(f"no expression at {missing}")
    return made


def tapped(
    text: str,
    title: str,
    places: Mapping[str, Place],
    imports: Collection[str],
    context: str = "self",
) -> Program:
    """The program of a text with taps.

    The helpers in front of the network have no tap, so they are compiled as they are.

    Args:
        text: as emitted.
        title: for tracebacks.
        places: of every node.
        imports: the modules that it may import.
        context: as of `instrument`.

    Raises:
        AuditError: as `audit`.
    """
    require_harmless(text, imports)
    lines = [p.range.line for p in places.values() if p.module is None]
    start = _line_start(text, min(lines)) if lines else 0
    head = text[: text.rfind(BETWEEN, 0, start) + 1]
    try:
        tree = ast.parse("\n" * head.count("\n") + text[len(head) :])
    except SyntaxError:  # it is no line between definitions, but of a string
        head, tree = "", ast.parse(text)
    return Program(text, title, instrument(tree, places, context), head)


def _line_start(text: str, line: int) -> int:
    start = 0
    for _ in range(line - 1):
        start = text.index("\n", start) + 1
    return start


_Names = tuple[tuple[str, str], ...]
"""Of one expression, by instance; its number in a sequence depends on what is left out above it."""

_Wrap = tuple[str, str | _Names, int | None, str | None]


def _called(places: Mapping[str, Place]) -> dict[Range, _Names]:
    """The names of nodes that one expression computes under another name in some instance."""
    found: dict[Range, dict[str, str]] = {}
    for id, place in places.items():
        if place.module is None and place.part is None and place.instance:
            names = found.setdefault(place.range, {})
            names[place.instance] = relative_name(id, place.instance)
    return {
        place: tuple(names.items()) for place, names in found.items() if len({*names.values()}) > 1
    }


def relative_name(id: str, instance: str) -> str:
    """The name of a node inside its block instance."""
    return id.removeprefix(f"{instance}.") if instance else id


class Executions:
    """Which node an expression or a module stands for, as several instances share it.

    An object that several instances share runs once for each of them, in the order of the text.
    """

    def __init__(self, places: Mapping[str, Place]) -> None:
        self._nodes: dict[tuple[str, str], list[str]] = {}
        for id, place in places.items():
            if place.module is None:
                key = (place.live, relative_name(id, place.instance))
            else:
                key = (place.module, "")
            self._nodes.setdefault(key, []).append(id)
        self._done: dict[tuple[str, str], int] = {}

    def begin(self) -> None:
        """Start a new pass."""
        self._done = {}

    def modules(self) -> list[str]:
        """The paths of modules that compute nodes by themselves."""
        return [path for path, name in self._nodes if not name]

    def node(self, live: str, name: str = "") -> str | None:
        """The id of the node that is about to run; None where the instance does not have it."""
        nodes = self._nodes.get((live, name))
        if nodes is None:
            return None
        return nodes[self._done.get((live, name), 0) % len(nodes)]

    def done(self, live: str, name: str = "") -> str | None:
        """The id of the node that has run; None where the instance does not have it."""
        id = self.node(live, name)
        self._done[live, name] = self._done.get((live, name), 0) + 1
        return id


class _Taps(ast.NodeTransformer):
    """Wraps the expressions at these ranges in calls."""

    def __init__(
        self,
        wraps: Mapping[Range, Mapping[_Wrap, None]],
        several: Mapping[Range, tuple[Mapping[str, None], str | None]],
    ) -> None:
        self.wraps = wraps
        self.several = several
        self.found: set[Range] = set()
        self.lines = sorted({place.line for place in (*wraps, *several)})

    def visit(self, node: ast.AST) -> Any:
        """Wrap from the inside out; most of a file is helpers, where there is nothing to wrap."""
        if isinstance(node, (ast.stmt, ast.expr)):
            assert node.end_lineno is not None
            after = bisect_left(self.lines, node.lineno)
            if after == len(self.lines) or self.lines[after] > node.end_lineno:
                return node
        changed: Any = self.generic_visit(node)
        if not isinstance(node, ast.expr):
            return changed
        assert node.end_lineno is not None
        assert node.end_col_offset is not None
        place = Range(node.lineno, node.col_offset, node.end_lineno, node.end_col_offset)
        if place in self.found:
            return changed
        if place in self.several:
            self.found.add(place)
            return _parts(changed, *self.several[place])
        for function, name, index, context in self.wraps.get(place, ()):
            self.found.add(place)
            first = [_titled(name, context)]
            if index is not None:
                first.append(ast.Constant(index))
            if context is not None:
                first.append(ast.Name(context, ast.Load()))
            call = ast.Call(ast.Name(function, ast.Load()), [*first, changed], [])
            changed = ast.fix_missing_locations(ast.copy_location(call, node))
        return changed


def _titled(name: str | _Names, context: str | None) -> ast.expr:
    """The name of a node, which may depend on the instance that the context names."""
    if isinstance(name, str):
        return ast.Constant(name)
    assert context is not None
    instances = [ast.Constant(instance) for instance, _ in name]
    names = [ast.Constant(own) for _, own in name]
    return ast.Subscript(
        ast.Dict([*instances], [*names]), ast.Name(context, ast.Load()), ast.Load()
    )


def _parts(call: ast.Call, names: Iterable[str], context: str | None) -> ast.Call:
    """The call, handed over as its function and its arguments."""
    titles = ast.Tuple([ast.Constant(name) for name in names], ast.Load())
    owner = ast.Constant(None) if context is None else ast.Name(context, ast.Load())
    made = ast.Call(
        ast.Name(PARTS, ast.Load()), [titles, owner, call.func, *call.args], call.keywords
    )
    return ast.fix_missing_locations(ast.copy_location(made, call))


def remove_taps(tree: ast.Module) -> ast.Module:
    """The tree without taps, to hold an instrumented tree against its text."""

    class Remover(ast.NodeTransformer):
        def visit_Call(self, node: ast.Call) -> ast.AST:
            self.generic_visit(node)
            if isinstance(node.func, ast.Name) and node.func.id in (TAP, FEED):
                return node.args[-1]
            if isinstance(node.func, ast.Name) and node.func.id == PARTS:
                _, _, function, *args = node.args
                return ast.copy_location(ast.Call(function, args, node.keywords), node)
            return node

    cleaned: ast.Module = Remover().visit(tree)
    return cleaned


class Program:
    """A module made of emitted text, registered so that tracebacks and `inspect` show its lines."""

    def __init__(
        self, text: str, title: str, tree: ast.Module | None = None, head: str = ""
    ) -> None:
        """Make it, without running it.

        Args:
            text: of the file.
            title: for tracebacks.
            tree: what is run in the place of the text.
            head: the part of the text that is run in front of the tree.
        """
        self.name = f"cnnspec_emitted_{next(_ids)}"
        self.filename = f"<cnnspec {title} {self.name}>"
        self.text = text
        self.tree = tree
        self.head = head
        self.module = ModuleType(self.name)

    def run(self, **names: object) -> ModuleType:
        """Execute the module with these extra globals."""
        self.module.__file__ = self.filename
        lines = self.text.splitlines(keepends=True)
        linecache.cache[self.filename] = (len(self.text), None, lines, self.filename)
        sys.modules[self.name] = self.module
        vars(self.module).update(names)
        for part in (self.head, self.text if self.tree is None else self.tree):
            code = compile(part, self.filename, "exec", dont_inherit=True)
            exec(code, vars(self.module))  # noqa: S102 - this is the one place that runs emitted text
        return self.module

    def close(self) -> None:
        """Take the module out of the tables again."""
        sys.modules.pop(self.name, None)
        linecache.cache.pop(self.filename, None)


def own_program(path: str, title: str) -> Program:
    """A file of the user's own, run as it is: unaudited, under its own name, beside its imports.

    Raises:
        DataError: it cannot be read, or is no Python.
    """
    import os

    try:
        with open(path, encoding="utf-8") as file:
            text = file.read()
        program = Program(text, title, ast.parse(text))
    except (OSError, UnicodeDecodeError, SyntaxError, ValueError) as fault:
        raise DataError(Diagnostic("bad-source", f"`{path}` cannot be run: {fault}")) from None
    program.filename = os.path.abspath(path)
    sys.path.insert(0, os.path.dirname(program.filename))
    return program


def run_own(program: Program, path: str) -> ModuleType:
    """Run it; whatever it raises is told as its own fault.

    Raises:
        DataError: it raised.
    """
    try:
        return program.run()
    except Exception as fault:  # a program of the user's own may raise anything
        kind = type(fault).__name__
        raise DataError(
            Diagnostic("bad-source", f"`{path}` raised {kind} while it was loaded: {fault}")
        ) from None


def own_entry(module: ModuleType, path: str, name: str) -> Any:
    """The class or function of this name.

    Raises:
        DataError: there is none.
    """
    found = getattr(module, name, None)
    if not callable(found):
        raise DataError(
            Diagnostic(
                "bad-source",
                f"`{path}` has no class or function `{name}`",
                help="name one: `--source BACKEND=FILE:NAME`",
            )
        )
    return found
