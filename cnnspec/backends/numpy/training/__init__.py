"""The training functions of the emitted NumPy file."""

from __future__ import annotations

from cnnspec.backends import training as common
from cnnspec.backends.numpy.training import losses, optimizers, updates
from cnnspec.backends.training import options, rate
from cnnspec.backends.writer import Code, Writer, call, literal
from cnnspec.graph import Graph

NAMES = (
    "LOSS_WEIGHTS",
    "MAX_NORM",
    "PENALTY",
    "SEED",
    "after_update",
    "clip",
    "learning_rate",
    "loss_gradient",
    "loss_sum",
    "make_optimizer",
    "parameter_options",
    "penalty",
    "penalty_gradient",
    "train_step",
    "trained_gradients",
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
    if common.penalties(graph):
        updates.write_penalty(graph, writer)
        writer.blank(2)
    if options.has(graph):
        options.write(graph, writer)
        writer.blank(2)
    if options.freezes(graph):
        updates.write_trained(writer)
        writer.blank(2)
    _make_optimizer(graph, writer)
    writer.blank(2)
    rate.write(writer, training)
    writer.blank(2)
    updates.write_clip(writer, training.clip)
    writer.blank(2)
    if updates.follows(graph):
        updates.write_after_update(graph, writer)
        writer.blank(2)
    _train_step(graph, writer, random=random)


def _write_by_output(graph: Graph, writer: Writer, part: int) -> None:
    training = common.section(graph)
    entries = {}
    for name, loss in training.losses.items():
        key = literal(name)
        pair = ("outputs", "targets")
        if len(training.losses) > 1:
            pair = (f"outputs[{key}]", f"targets[{key}]")
        entries[name] = Code(f"{losses.spelled(loss, *pair)}[{part}]")
    if common.by_mode(graph):
        common.write_by_mode(graph, writer, entries)
        return
    listed = ", ".join(f"{literal(name)}: {entry}" for name, entry in entries.items())
    writer.line(f"return {{{listed}}}")


def _make_optimizer(graph: Graph, writer: Writer) -> None:
    made = common.section(graph).optimizer
    name, arguments = optimizers.spelled(made)
    if made.weight_decay:
        arguments["weight_decay"] = made.weight_decay
    if made.decoupled and common.decays(graph):
        arguments["decoupled"] = True
    if options.has(graph):
        arguments["options"] = Code(options.NAME)
    with writer.indented("def make_optimizer(model):"):
        writer.line('"""The optimizer; `train_step` gives it the learning rate."""')
        if common.section(graph).average is not None:
            trained = " if parameter_options(n) is not None" if options.freezes(graph) else ""
            copies = f"n: p.copy() for n, p in model.parameters().items(){trained}"
            writer.line(f"model.averages = {{{copies}}}")
        writer.line(f"return {call(name, Code('model'), **arguments)}")


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
        weighted = common.weighted(common.section(graph))
        scale = "LOSS_WEIGHTS[name] * gradients[name]" if weighted else "gradients[name]"
        if len(graph.outputs) == 1:
            name = literal(graph.outputs[0].name)
            scale = scale.replace("name", name)
            writer.line(f"backward({scale} / losses[{name}][1])")
        else:
            writer.line(
                f"backward({{name: {scale} / weight for name, (_, weight) in losses.items()}})"
            )
        writer.line(f"loss = {common.total_loss(graph)}")
        found = updates.gradients(graph)
        writer.line(f"optimizer.step(clip({found}), learning_rate(update, updates_per_epoch))")
        if updates.follows(graph):
            writer.line("after_update(model)")
        writer.line("return loss")
