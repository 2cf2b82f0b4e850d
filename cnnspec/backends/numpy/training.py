"""The training functions of the emitted NumPy file."""

from __future__ import annotations

from cnnspec.backends.torch.training import rate, values
from cnnspec.backends.writer import Code, Writer, call, literal
from cnnspec.graph import Graph
from cnnspec.training import Adam, CrossEntropy, Loss, Optimizer, Sgd

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
    training = graph.training
    assert training is not None
    weighted = any(loss.weight != 1 for loss in training.losses.values())
    writer.blank(2)
    if weighted:
        weights = ", ".join(
            f"{literal(name)}: {literal(loss.weight)}" for name, loss in training.losses.items()
        )
        writer.line(f"LOSS_WEIGHTS = {{{weights}}}")
        writer.blank(2)
    with writer.indented("def loss_sum(outputs, targets):"):
        writer.line('"""Sum of the loss over a batch and its weight, for each output."""')
        writer.line(f"return {_by_output(graph, 0)}")
    writer.blank(2)
    with writer.indented("def loss_gradient(outputs, targets):"):
        writer.line('"""Gradient of each sum with respect to its output."""')
        writer.line(f"return {_by_output(graph, 1)}")
    writer.blank(2)
    with writer.indented("def make_optimizer(model):"):
        writer.line('"""The optimizer; `train_step` gives it the learning rate."""')
        writer.line(f"return {optimizer(training.optimizer)}")
    writer.blank(2)
    with writer.indented("def learning_rate(update, updates_per_epoch):"):
        writer.line('"""Learning rate of an update, which is counted from 0."""')
        writer.line(f"return {rate(training.optimizer, training.schedule)}")
    writer.blank(2)
    with writer.indented("def clip(gradients):"):
        writer.line('"""Gradients as the optimizer gets them: unchanged."""')
        writer.line("return gradients")
    writer.blank(2)
    _train_step(graph, writer, random=random, weighted=weighted)


def loss_expression(loss: Loss, output: str, target: str) -> Code:
    """The kernel of a loss: ((sum, weight), gradient)."""
    kernel = "cross_entropy" if isinstance(loss, CrossEntropy) else "squared_error"
    return call(kernel, Code(output), Code(target))


def _by_output(graph: Graph, part: int) -> Code:
    training = graph.training
    assert training is not None
    entries = []
    for name, loss in training.losses.items():
        key = literal(name)
        pair = ("outputs", "targets")
        if len(training.losses) > 1:
            pair = (f"outputs[{key}]", f"targets[{key}]")
        entries.append(f"{key}: {loss_expression(loss, *pair)}[{part}]")
    return Code("{" + ", ".join(entries) + "}")


def optimizer(made: Optimizer) -> Code:
    """The constructor of the kernel library's optimizer."""
    options: dict[str, object] = {}
    if isinstance(made, Sgd):
        if made.momentum:
            options["momentum"] = made.momentum
        if made.dampening:
            options["dampening"] = made.dampening
        if made.nesterov:
            options["nesterov"] = True
        name = "SGD"
    else:
        assert isinstance(made, Adam)
        options["betas"] = made.betas
        options["eps"] = made.eps
        name = "Adam"
    if made.weight_decay:
        options["weight_decay"] = made.weight_decay
    return call(name, Code("model"), **options)


def _train_step(graph: Graph, writer: Writer, *, random: bool, weighted: bool) -> None:
    signature = "model, optimizer, inputs, targets, update, updates_per_epoch"
    with writer.indented(f"def train_step({signature}):"):
        writer.line('"""One update; returns the loss before it."""')
        if random:
            writer.line("model.at(update)")
        method = "model.logits" if graph.logits() != values(graph) else "model.forward"
        given = "inputs"
        if len(graph.inputs) > 1:
            given = ", ".join(f"inputs[{literal(entry.name)}]" for entry in graph.inputs)
        writer.line(f"outputs, backward = {method}({given}, training=True)")
        writer.line("losses = loss_sum(outputs, targets)")
        writer.line("gradients = loss_gradient(outputs, targets)")
        writer.line("model.zero_gradients()")
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
        if weighted:
            writer.line("return sum(LOSS_WEIGHTS[name] * s / w for name, (s, w) in losses.items())")
        else:
            writer.line("return sum(s / w for s, w in losses.values())")
