"""docs/ops.md as text: what the op classes and the back ends' cells say, and what was measured."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable, Iterator, Sequence

from cnnspec.backends import BUILT_IN
from cnnspec.backends.base import Dtype
from cnnspec.ops.base import Op, Param
from cnnspec.ops.initializer import Initializer, holds_initializer, parts
from cnnspec.testing.docs.cases import SHAPES, Case, cases_of, documented, shape_of
from cnnspec.testing.docs.kinks import derivatives
from cnnspec.testing.docs.measure import (
    COLUMNS,
    DIRECTIONS,
    Key,
    Measured,
    expresses,
    network,
)
from cnnspec.testing.docs.spelling import spelled
from cnnspec.testing.docs.takes import takes

HEAD = """\
# Ops

<!-- `make docs` writes this page. Do not edit it: the texts are those of the op classes. -->

Every op of the language: its formula, fields, shapes, parameters and gradient, how each back end
spells it, and how far the back ends were measured to lie apart. `x` is the input and `y` the
output; shapes have no batch, and channels come first. The fields that every layer has (`name`,
`from`, `when`, `repeat`, `first`, `last`, `share`, `expect`) are not repeated here.

**Layouts** name the axes of a parameter as it is stored, in every back end: O filters, I channels
of the input, C channels, D H W space (two axes are H W, one is W).

**Spelling** is what `compile` writes for an input of {shape}, or of the rank that the op takes;
two ways are a module and a function. A name without `nn.`, `F.`, `torch.` or `layers.` in front
is a helper that is written into the file, because the framework has nothing that means the same.
Options that differ from a row above in arguments only are left out, and so are layers' names.

**Agreement** is the largest relative disagreement that was measured, max|a - b| / max|a| over
each tensor, rounded up to a power of ten, after a factor of two for other machines' order of
sums; what differs at all differs by a unit in the last place. In each cell the first number is
that of outputs and running statistics, the second that of the gradients of inputs and parameters.
Each layer works on its own, on equal inputs and cotangents, in inference and in training, for
every number of spatial axes in the second column. In float64 torch and Keras are held against the
NumPy reference, in float32 all three against the reference in float64. 0 is exact. The tests
measure again, and fail if a number is larger than its row.

"""

MISSING = "?"


def page(measured: Measured) -> str:
    """The whole page.

    Args:
        measured: powers of ten, one for each number of a cell; a missing one is written as `?`.
    """
    ops = documented()
    links = " ".join(f"[`{op.key}`](#{op.key})" for op in ops)
    sections = [section(op, measured) for op in ops]
    return HEAD.format(shape="x".join(map(str, SHAPES[2]))) + "\n\n".join([links, *sections]) + "\n"


def section(op: type[Op], measured: Measured) -> str:
    """What the page says about one op."""
    formula, _, rest = (inspect.getdoc(op) or "").partition("\n\n")
    found = [f"## {op.key}", f"```text\n{formula}\n```"]
    found += [_joined(paragraph) for paragraph in rest.split("\n\n") if paragraph]
    found.append("\n".join(_facts(op)))
    rows = cases_of(op)
    found += [_fields(op), _parameters(op, rows[0]), _spelling(rows), _agreement(rows, measured)]
    return "\n\n".join(part for part in found if part)


def _joined(paragraph: str) -> str:
    return " ".join(paragraph.split())


def _facts(op: type[Op]) -> Iterator[str]:
    least, most = op.arity
    many = {(1, 1): "one", (2, 2): "two", (2, None): "two or more"}
    yield f"- **Inputs**: {many.get((least, most), f'{least} to {most}')}, {_ranks(op)}"
    yield f"- **Shape**: {_joined(inspect.getdoc(op.infer) or '')}"
    yield f"- **Gradient**: {_gradient(op)}"
    if op.random:
        yield (
            "- **Random** in training only. `compile` writes the framework's own random numbers, "
            "`compile --reproducible`, `check` and `train` masks that are the same everywhere."
        )


def _ranks(op: type[Op]) -> str:
    ranks = sorted({rank for case in cases_of(op) for rank in case.ranks})
    if ranks == [0]:
        return "without spatial axes"
    first, last = ranks[0], ranks[-1]
    return f"with {first} to {last} spatial axes" if last > first else f"with {first}"


def _gradient(op: type[Op]) -> str:
    if op.kinks:
        jumps = [f"{_number(value)} at {_number(kink)}" for kink, value in derivatives(op)]
        return f"the derivative jumps; as everywhere in cnnspec it is {' and '.join(jumps)}."
    if op.selects:
        return "of equal values the first gets all of it, in every back end."
    return "no kinks and no ties."


def _number(value: float) -> str:
    return f"{value:.5g}"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _fields(op: type[Op]) -> str:
    schemas = op.model_json_schema().get("properties", {})
    rows = []
    for name, info in op.model_fields.items():
        default = "required" if info.is_required() else f"`{_value(info.default)}`"
        kind = takes(schemas[name])
        if holds_initializer(info.annotation):
            kind = "an initializer" if info.default is not None else "an initializer, or `null`"
        rows.append((f"`{name}`", kind, default))
    return _table(("field", "takes", "default"), rows) if rows else "It has no fields of its own."


def _value(value: object) -> str:
    """A value as a spec has it."""
    if isinstance(value, Initializer):
        given = ", ".join(f"{name}: {_value(entry)}" for name, entry in parts(value))
        return f"{value.key}: {{{given}}}" if given else value.key
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return str(value)


def _parameters(op: type[Op], case: Case) -> str:
    rank = representative(case)
    shapes = [shape_of(source, rank) for source in case.sources]
    params = case.made.infer(*shapes).params
    rows = [(f"`{p.name}`", f"`{p.layout}`", f"`{_value(p.init)}`", _kind(p)) for p in params]
    return _table(("parameter", "layout", "starts as", ""), rows) if rows else ""


def _kind(param: Param) -> str:
    return "running statistic" if param.statistic else "trained" if param.trainable else "fixed"


def representative(case: Case) -> int:
    """The number of spatial axes that the page shows a case with: two, or the nearest below."""
    return max((rank for rank in case.ranks if rank <= 2), default=min(case.ranks))


def _spelling(rows: Sequence[Case]) -> str:
    found: dict[tuple[str, ...], tuple[str, ...]] = {}
    for case in rows:
        graph, _ = network({"layer": case}, representative(case))
        parts = tuple(node.shape[0] for node in graph.nodes)
        texts = tuple(spelled(graph.nodes[0], name, parts) for name in BUILT_IN)
        kind = tuple(_called(text) for text in texts)
        found.setdefault(kind, (case.label, *texts))
    return _table(("spelling", *BUILT_IN), found.values())


def _called(text: str) -> str:
    """What a spelling calls, without its arguments and its number of axes."""
    called = " ".join(re.findall(r"[A-Za-z_][\w.]*(?=\()|[+*/-](?= )", text))
    return re.sub(r"\d[dD]\b", "", called)


def _agreement(rows: Sequence[Case], measured: Measured) -> str:
    head = ["agreement", "axes", *(f"{name} {dtype}" for dtype, name in COLUMNS)]
    lines = []
    for case in rows:
        axes = f"{case.ranks[0]}-{case.ranks[-1]}" if len(case.ranks) > 1 else str(case.ranks[0])
        cells = [_cell(case, dtype, name, measured) for dtype, name in COLUMNS]
        lines.append([case.label, axes, *cells])
    return _table(head, lines)


def _cell(case: Case, dtype: Dtype, backend: str, measured: Measured) -> str:
    if not expresses(backend, case):
        return "unsupported"
    keys = [Key(case.op.key, case.label, dtype, backend, way) for way in DIRECTIONS]
    return " / ".join(_power(measured[key]) if key in measured else MISSING for key in keys)


def _power(value: float) -> str:
    return f"{value:.0e}".replace("e-0", "e-") if value else "0"


def read_measured(text: str) -> Measured:
    """The numbers of a page."""
    found: Measured = {}
    op, inside = "", False
    for line in text.splitlines():
        if line.startswith("## "):
            op = line.removeprefix("## ")
        inside = line.startswith("| agreement |") or (inside and line.startswith("|"))
        entries = [entry.strip() for entry in line.strip("|").split(" | ")]
        if not inside or entries[0] in ("agreement", "---"):
            continue
        option, _, *cells = entries
        for (dtype, backend), cell in zip(COLUMNS, cells, strict=True):
            numbers = cell.split(" / ")
            if len(numbers) == len(DIRECTIONS) and MISSING not in numbers:
                for way, number in zip(DIRECTIONS, numbers, strict=True):
                    found[Key(op, option, dtype, backend, way)] = float(number)
    return found
