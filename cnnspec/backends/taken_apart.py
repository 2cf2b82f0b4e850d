"""Emitted text taken apart: what a definition needs, and modules called without their class."""

from __future__ import annotations

import ast
from collections.abc import Collection, Iterable

Statements = list[ast.stmt]


class Source:
    """A file's imports and definitions by name."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.tree = ast.parse(text)
        self.imports: dict[str, str] = {}
        self.definitions: dict[str, ast.stmt] = {}
        for node in self.tree.body:
            if isinstance(node, ast.Import | ast.ImportFrom):
                for alias in node.names:
                    single = ast.copy_location(_only(node, alias), node)
                    self.imports[alias.asname or alias.name.partition(".")[0]] = ast.unparse(single)
            elif isinstance(node, ast.FunctionDef | ast.ClassDef):
                self.definitions[node.name] = node
            elif isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
                self.definitions[node.targets[0].id] = node

    def needed(self, names: Iterable[str], leave: Collection[str] = ()) -> list[str]:
        """The definitions that these names need, in the order of the file."""
        found: set[str] = set()
        waiting = [name for name in names if name in self.definitions]
        while waiting:
            name = waiting.pop()
            if name not in found and name not in leave:
                found.add(name)
                used = names_in([plain(self.definitions[name])])
                waiting += [other for other in used if other in self.definitions]
        return [name for name in self.definitions if name in found]

    def code(self, name: str) -> str:
        """A definition as text, without what it needs to be saved only."""
        return ast.unparse(plain(self.definitions[name]))

    def import_lines(self, names: Collection[str]) -> list[str]:
        """The import statements for names in use, `import` in front of `from`."""
        lines = {self.imports[name] for name in self.imports if name in names}
        return sorted(lines, key=lambda line: (line.startswith("from"), line))


def _only(node: ast.Import | ast.ImportFrom, alias: ast.alias) -> ast.stmt:
    if isinstance(node, ast.Import):
        return ast.Import([alias])
    return ast.ImportFrom(node.module, [alias], node.level)


UNNEEDED = ("get_config", "load_weights", "save_weights")


def plain(node: ast.stmt) -> ast.stmt:
    """A definition without docstrings, decorators that register, and methods that save."""
    made = ast.parse(ast.unparse(node)).body[0]
    for inner in ast.walk(made):
        if not isinstance(inner, ast.FunctionDef | ast.ClassDef):
            continue
        inner.decorator_list = [d for d in inner.decorator_list if "register" not in ast.unparse(d)]
        body = [s for s in inner.body if not (_is_text(s) or _is_unneeded(s))]
        inner.body = body or [ast.Pass()]
    return made


def _is_text(node: ast.stmt) -> bool:
    return (
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    )


def _is_unneeded(node: ast.stmt) -> bool:
    if _is_initial(node):
        return True
    return isinstance(node, ast.FunctionDef) and node.name in UNNEEDED


def names_in(nodes: Iterable[ast.AST]) -> set[str]:
    """Every name that is read."""
    return {
        inner.id
        for node in nodes
        for inner in ast.walk(node)
        if isinstance(inner, ast.Name) and isinstance(inner.ctx, ast.Load)
    }


class _Freed(ast.NodeTransformer):
    """`self.conv1` as `conv1`, `self.training` as the mode."""

    def __init__(self, training: bool) -> None:
        self.training = training
        self.names: set[str] = set()

    def visit_Attribute(self, node: ast.Attribute) -> ast.expr:
        self.generic_visit(node)
        if isinstance(node.value, ast.Name) and node.value.id == "self":
            if node.attr == "training":
                return ast.Constant(self.training)
            self.names.add(node.attr)
            return ast.Name(node.attr, node.ctx)
        return node


def inlined(cls: ast.stmt, training: bool) -> tuple[Statements, Statements, list[str]] | None:
    """What the constructor and the forward pass of a class do, without the class.

    Returns:
        The assignments of the constructor, those of the forward pass, of which the last is to
        `y`, and the arguments of the forward pass; None where it is more than assignments.
    """
    cls = ast.parse(ast.unparse(cls)).body[0]  # one to change
    assert isinstance(cls, ast.ClassDef)
    methods = {m.name: m for m in cls.body if isinstance(m, ast.FunctionDef)}
    freed = _Freed(training)
    made: Statements = []
    for statement in methods["__init__"].body:
        if isinstance(statement, ast.Assign):
            made.append(freed.visit(statement))
        elif not _is_dispensable(statement):
            return None
    attributes = set(freed.names)
    done: Statements = []
    for statement in methods["forward"].body:
        if isinstance(statement, ast.Assign):
            done.append(freed.visit(statement))
        elif isinstance(statement, ast.Return) and statement.value is not None:
            done.append(_result(freed.visit(statement.value), done))
        elif not (_is_text(statement) or _is_guard(statement)):
            return None
    arguments = [a.arg for a in methods["forward"].args.args[1:]]
    assigned = {t.id for s in done if isinstance(s, ast.Assign) for t in s.targets
                if isinstance(t, ast.Name)}  # fmt: skip
    unknown = freed.names - attributes  # methods of the class
    if unknown or attributes & {*arguments, *assigned, "y", "expected", "np", "torch", "rng"}:
        return None
    if set(arguments) & assigned:  # they are needed again
        return None if len(done) > 1 else (made, done, arguments)
    return made, done, arguments


def _result(value: ast.expr, done: Statements) -> ast.stmt:
    """`y = ` what is returned; what was assigned last is not assigned twice."""
    last = done[-1] if done else None
    if (
        isinstance(value, ast.Name)
        and isinstance(last, ast.Assign)
        and isinstance(last.targets[0], ast.Name)
        and last.targets[0].id == value.id
    ):
        value = done.pop().value  # type: ignore[attr-defined] # it is the assignment above
    return ast.Assign([ast.Name("y", ast.Store())], value, lineno=0)


def _is_dispensable(node: ast.stmt) -> bool:
    """A call of the base class, or of an initializer: weights are given."""
    return ast.unparse(node) == "super().__init__()" or _is_initial(node)


def _is_initial(node: ast.stmt) -> bool:
    """An initializer, or a loop over all modules for one."""
    text = ast.unparse(node)
    if isinstance(node, ast.For):
        return ast.unparse(node.iter) == "self.modules()" and "nn.init." in text
    return isinstance(node, ast.Expr) and text.startswith("nn.init.")


def _is_guard(node: ast.stmt) -> bool:
    """A check that raises."""
    return isinstance(node, ast.If) and all(isinstance(s, ast.Raise) for s in node.body)
