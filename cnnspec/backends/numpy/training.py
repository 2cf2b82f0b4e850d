"""The training functions of the emitted NumPy file."""

from __future__ import annotations

from cnnspec.backends import training as common
from cnnspec.backends.writer import Code, Writer, call, literal
from cnnspec.graph import Graph
from cnnspec.training import CrossEntropy, Loss, Optimizer, Sgd

NAMES = (
    "LOSS_WEIGHTS",
    "SEED",
    "clip",
    "learning_rate",
    "loss_gradient",
    "loss_sum",
    "make_optimizer",
    "train_step",
)


def write(graph: Graph, writer: Writer, *, random: bool) -> None:
    """Loss and its gradient, optimizer, learning rate, clipping, and the step made of them."""
    training = common.section(graph)
    writer.blank(2)
    common.write_loss_weights(writer, training)
    with writer.indented("def loss_sum(outputs, targets):"):
        writer.line('"""Sum of the loss over a batch and its weight, for each output."""')
        _write_by_output(graph, writer, 0)
    writer.blank(2)
    with writer.indented("def loss_gradient(outputs, targets):"):
        writer.line('"""Gradient of each sum with respect to its output."""')
        _write_by_output(graph, writer, 1)
    writer.blank(2)
    with writer.indented("def make_optimizer(model):"):
        writer.line('"""The optimizer; `train_step` gives it the learning rate."""')
        writer.line(f"return {optimizer(training.optimizer)}")
    writer.blank(2)
    common.write_learning_rate(writer, training)
    writer.blank(2)
    common.write_clip(writer)
    writer.blank(2)
    _train_step(graph, writer, random=random)


def loss_expression(loss: Loss, output: str, target: str) -> Code:
    """The kernel of a loss: ((sum, weight), gradient)."""
    kernel = "cross_entropy" if isinstance(loss, CrossEntropy) else "squared_error"
    return call(kernel, Code(output), Code(target))


def _write_by_output(graph: Graph, writer: Writer, part: int) -> None:
    training = common.section(graph)
    entries = {}
    for name, loss in training.losses.items():
        key = literal(name)
        pair = ("outputs", "targets")
        if len(training.losses) > 1:
            pair = (f"outputs[{key}]", f"targets[{key}]")
        entries[name] = Code(f"{loss_expression(loss, *pair)}[{part}]")
    if common.by_mode(graph):
        common.write_by_mode(graph, writer, entries)
        return
    listed = ", ".join(f"{literal(name)}: {entry}" for name, entry in entries.items())
    writer.line(f"return {{{listed}}}")


def optimizer(made: Optimizer) -> Code:
    """The constructor of the kernel library's optimizer."""
    name = "SGD" if isinstance(made, Sgd) else "Adam"
    return call(name, Code("model"), **common.optimizer_options(made))


def _train_step(graph: Graph, writer: Writer, *, random: bool) -> None:
    signature = "model, optimizer, inputs, targets, update, updates_per_epoch"
    with writer.indented(f"def train_step({signature}):"):
        writer.line('"""One update; returns the loss before it."""')
        if random:
            writer.line("model.at(update)")
        method = "model.logits" if common.has_logits(graph) else "model.forward"
        given = common.given_inputs(graph)
        writer.line(f"outputs, backward = {method}({given}, training=True)")
        writer.line("losses = loss_sum(outputs, targets)")
        writer.line("gradients = loss_gradient(outputs, targets)")
        writer.line("model.zero_gradients()")
        training = common.section(graph)
        weighted = common.weighted(training)
        scale = "LOSS_WEIGHTS[name] * gradients[name]" if weighted else "gradients[name]"
        if len(graph.outputs) == 1:
            name = literal(graph.outputs[0].name)
            scale = scale.replace("name", name)
            writer.line(f"backward({scale} / losses[{name}][1])")
        else:
            writer.line(
                f"backward({{name: {scale} / weight for name, (_, weight) in losses.items()}})"
            )
        writer.line("clip(model.gradients())")
        writer.line("optimizer.step(learning_rate(update, updates_per_epoch))")
        writer.line(f"return {common.total_loss(training)}")
