"""Wrong training: the optimizer's numbers, the schedule, the loss, the order of an update."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from cnnspec.check.selftest.arguments import changed, number
from cnnspec.check.selftest.operators import operator
from cnnspec.check.selftest.source import Mutant, Region, Source


def function(source: Source, name: str) -> Iterator[tuple[ast.expr | ast.stmt, Region]]:
    """What stands in one of the training functions."""
    for node, region in source.inside("training"):
        inner = [item for item in source.enclosing(node) if isinstance(item, ast.FunctionDef)]
        if inner and inner[-1].name == name and source.parents[inner[-1]] is source.tree:
            yield node, region


@operator("number of the optimizer")
def _optimizer(source: Source) -> Iterator[Mutant]:
    """Momentum, betas, eps, decay; the rate itself is set before each update."""
    for node, region in function(source, "make_optimizer"):
        value = number(node)
        if isinstance(value, float) and not _rate(source, node):
            yield source.replacing("number of the optimizer", node, changed(value), region)
        if isinstance(node, ast.Constant) and isinstance(node.value, bool):
            yield source.replacing("number of the optimizer", node, repr(not node.value), region)


def _rate(source: Source, node: ast.AST) -> bool:
    parent = source.parents[node]
    if isinstance(parent, ast.keyword):
        return parent.arg in ("lr", "learning_rate")
    return isinstance(parent, ast.Call) and parent.args[:1] == [node]


@operator("number of the schedule")
def _schedule(source: Source) -> Iterator[Mutant]:
    for node, region in function(source, "learning_rate"):
        value = number(node)
        if isinstance(value, float):
            yield source.replacing("number of the schedule", node, changed(value), region)


@operator("schedule one update ahead")
def _ahead(source: Source) -> Iterator[Mutant]:
    for node, region in function(source, "learning_rate"):
        if isinstance(node, ast.Name) and node.id == "update":
            yield source.replacing("schedule one update ahead", node, "(update + 1)", region)


@operator("loss divided otherwise")
def _loss(source: Source) -> Iterator[Mutant]:
    """A mean for a sum, or a count of something else."""
    for node, region in function(source, "loss_sum"):
        if isinstance(node, ast.Constant) and node.value == "sum":
            yield source.replacing("loss divided otherwise", node, '"mean"', region)
        text = source.text.source(node)
        if text.endswith(".numel()"):
            new = f"(1 + {text})"
            yield source.replacing("loss divided otherwise", node, new, region)
    for node, region in source.inside("training"):
        text = source.text.source(node)
        if text in ("losses.sum()", "ops.sum(losses)"):
            new = text.replace("sum", "mean")
            yield source.replacing("loss divided otherwise", node, new, region)


@operator("step of an update left out")
def _statement(source: Source) -> Iterator[Mutant]:
    """Gradients that are not forgotten, masks that are not moved on."""
    left_out = ("zero_grad()", "zero_gradients()", "set_position(model, update)", "at(update)")
    for node, region in function(source, "train_step"):
        if isinstance(node, ast.Expr) and source.text.source(node).endswith(left_out):
            yield source.replacing("step of an update left out", node, "pass", region)


@operator("an update in inference mode")
def _inference(source: Source) -> Iterator[Mutant]:
    for node, region in function(source, "train_step"):
        text = source.text.source(node)
        if isinstance(node, ast.Call) and text == "model.train()":
            yield source.replacing("an update in inference mode", node, "model.eval()", region)
        if (
            isinstance(node, ast.Constant)
            and node.value is True
            and getattr(source.parents[node], "arg", "") == "training"
        ):
            yield source.replacing("an update in inference mode", node, "False", region)
