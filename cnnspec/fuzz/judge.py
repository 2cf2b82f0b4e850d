"""One network through all back ends: what is wrong with it, if anything."""

from __future__ import annotations

import traceback
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from cnnspec.build import build
from cnnspec.check.api import check_graph
from cnnspec.check.engines import Engine
from cnnspec.check.options import Difference, Options, SpecReport
from cnnspec.diagnostics import SetupError, SpecError, UserError
from cnnspec.document import parse
from cnnspec.fuzz.options import Verdict, Way
from cnnspec.graph import Graph
from cnnspec.ops.base import Op
from cnnspec.render import render
from cnnspec.schema import read_spec

NAME = "fuzz.yaml"
UNDECIDED = frozenset({"not-finite", "nothing-compared", "unsupported-op", "not-enough-memory"})
"""What makes a network say nothing, and is nobody's fault."""


def graph_of(text: str) -> Graph:
    """The network of a spec's text.

    Raises:
        SpecError: it is none.
    """
    return build(read_spec(parse(text, NAME))).graph


def judge(text: str, options: Options, engines: Mapping[str, Engine]) -> Verdict:
    """Check one network; a fault of ours is a verdict too.

    Args:
        text: of the spec.
        options: of the check.
        engines: one for each back end; those that have died live again afterwards.
    """
    try:
        graph = graph_of(text)
    except SpecError as fault:
        return _refused(fault)
    except Exception as fault:  # whatever a valid network raises is a case
        return _crashed(fault)
    try:
        found = _verdict(check_graph(graph, NAME, options, engines), graph)
    except Exception as fault:  # as above
        found = _crashed(fault)
    for engine in engines.values():
        engine.revive()
    return replace(found, nodes=len(graph.nodes))


def _verdict(report: SpecReport, graph: Graph) -> Verdict:
    codes = {diagnostic.code for diagnostic in report.diagnostics}
    if report.status == "agree":
        return Verdict("agree")
    if report.status == "disagree":
        assert report.first_difference is not None
        return _disagrees(report.first_difference, graph)
    if report.status == "engine_failed":
        failed = next(d for d in report.diagnostics if d.code == "engine-failed")
        name, _, message = failed.message.partition(": ")
        return Verdict(
            "engine_failed",
            Way("engine_failed", _raised(message, failed.notes), (name,)),
            "\n".join([failed.message, *failed.notes]),
            {"backends": [name], "ops": sorted({node.op.key for node in graph.nodes})},
        )
    if codes and codes <= UNDECIDED:
        return Verdict("undecided", message=report.diagnostics[0].message)
    if report.status == "environment":
        return Verdict("setup", diagnostics=tuple(report.diagnostics))
    return _refused(SpecError(report.diagnostics))


def _raised(message: str, notes: tuple[str, ...]) -> str:
    """What an engine failed of, without the numbers that frameworks put into their texts.

    Of a traceback that is the name of the exception, which follows the last frame.
    """
    for trace in notes:
        *_, last = trace.rpartition('\n  File "')
        for line in last.splitlines()[1:]:
            if line and not line.startswith(" "):
                return line.partition(":")[0]
    return message.partition(":")[0]


def _disagrees(found: Difference, graph: Graph) -> Verdict:
    one = found.comparison
    # NumPy is the reference, so that the other one is to blame.
    blamed = tuple(name for name in one.backends if name not in ("numpy", "spec"))
    about: dict[str, Any] = {
        "backends": list(blamed),
        "quantity": one.quantity,
        "mode": one.mode,
        "dtype": one.dtype,
        "training": one.training,
    }
    op = ""
    nodes = {node.id: node for node in graph.nodes}
    if found.node in nodes:
        node = nodes[found.node]
        op = node.op.key
        shape = node.inputs[0].shape
        about |= {"op": op, "rank": len(shape) - 1, "fields": _fields(node.op)}
        about |= {"shape": list(shape), "output": list(node.shape)}
        about |= {"channels": shape[0], "width": node.shape[-1]}
    lines = [
        f"{one.quantity} of `{one.name}`"
        + (f" at `{found.node}` ({op})" if op else "")
        + f", {one.mode.replace('_', ' ')}, {one.dtype}: {' and '.join(one.backends)} disagree"
    ]
    if one.worst is not None:
        worst = one.worst
        lines.append(
            f"at {list(worst.index)}: {worst.a!r} and {worst.b!r}, "
            f"{abs(worst.a - worst.b):.3g} apart, bound {worst.bound:.3g}"
        )
    way = Way("disagree", op, blamed, one.dtype)
    return Verdict("disagree", way, "\n".join(lines), about)


def _fields(op: Op) -> dict[str, Any]:
    """Those that are plain values."""
    plain = (bool, int, float, str, tuple, type(None))
    return {name: value for name, value in op.fields().items() if isinstance(value, plain)}


def _refused(fault: UserError) -> Verdict:
    """A spec that should have been valid."""
    codes = ", ".join(sorted({d.code for d in fault.diagnostics}))
    if isinstance(fault, SetupError):
        return Verdict("setup", diagnostics=fault.diagnostics)
    return Verdict("refused", Way("refused", codes), render(fault.diagnostics, "concise"))


def _crashed(fault: Exception) -> Verdict:
    """An exception of ours, told by its type and the last place in our own source."""
    ours = [
        frame
        for frame in traceback.extract_tb(fault.__traceback__)
        if "/cnnspec/" in frame.filename.replace("\\", "/")
    ]
    where = f"{ours[-1].filename.rpartition('cnnspec')[2]}:{ours[-1].name}" if ours else ""
    text = "".join(traceback.format_exception(fault))
    return Verdict("crash", Way("crash", f"{type(fault).__name__} in {where}"), text.rstrip())
