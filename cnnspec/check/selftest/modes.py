"""Training and inference mixed up, and what a layer's parameters add."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from cnnspec.check.selftest.operators import operator
from cnnspec.check.selftest.source import Mutant, Source


@operator("training and inference mixed up")
def _mode(source: Source) -> Iterator[Mutant]:
    """A helper that asks for the mode gets the other one."""
    for node, region in source.inside("helper"):
        if not isinstance(node, (ast.If, ast.IfExp)):
            continue
        for asked in ast.walk(node.test):
            own = isinstance(asked, ast.Attribute) and asked.attr == "training"
            if own or (isinstance(asked, ast.Name) and asked.id == "training"):
                assert isinstance(asked, ast.expr)
                new = f"(not {source.text.source(asked)})"
                name = "training and inference mixed up"
                yield source.replacing(name, asked, new, region)


@operator("bias left out")
def _bias(source: Source) -> Iterator[Mutant]:
    """A layer's bias is taken away again (torch, whose layers have no text of their own)."""
    if source.emitted.backend != "torch":
        return
    for node in source.graph.nodes:
        if not any(param.name == "bias" for param in node.params):
            continue
        for piece in source.pieces(node.id):
            if (
                isinstance(piece, ast.Call)
                and isinstance(piece.func, ast.Attribute)
                and source.text.source(piece.func.value) == "self"
                and node.op.key in ("conv", "depthwise_conv", "conv_transpose", "dense")
            ):
                called = source.text.source(piece.func)
                ones = "".join(", 1" for _ in node.shape[1:])
                new = f"{source.text.source(piece)} - {called}.bias.reshape(-1{ones})"
                regions = [r for r in source.regions if node.id in r.nodes and r.kind == "layer"]
                yield source.replacing("bias left out", piece, new, regions[0])
