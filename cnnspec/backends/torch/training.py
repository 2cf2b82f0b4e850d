"""The training functions of the emitted torch file."""

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
    "loss_sum",
    "make_optimizer",
    "train_step",
)


def write(graph: Graph, writer: Writer, *, random: bool) -> None:
    """Loss, optimizer, learning rate, clipping and the step that is made of them."""
    training = common.section(graph)
    writer.blank(2)
    common.write_loss_weights(writer, training)
    _loss_sum(graph, writer)
    writer.blank(2)
    with writer.indented("def make_optimizer(model):"):
        writer.line('"""The optimizer; `train_step` sets its learning rate before each update."""')
        writer.line(f"return {optimizer(training.optimizer)}")
    writer.blank(2)
    common.write_learning_rate(writer, training)
    writer.blank(2)
    common.write_clip(writer)
    writer.blank(2)
    _train_step(graph, writer, random=random)


def loss_expression(loss: Loss, output: str, target: str) -> tuple[Code, Code]:
    """The sum of a loss over a batch, and its weight."""
    if isinstance(loss, CrossEntropy):
        total = call("F.cross_entropy", Code(output), Code(target), reduction="sum")
    else:
        total = call("F.mse_loss", Code(output), Code(target), reduction="sum")
    return total, Code(f"{target}.numel()")


def _loss_sum(graph: Graph, writer: Writer) -> None:
    training = common.section(graph)
    with writer.indented("def loss_sum(outputs, targets):"):
        writer.line('"""Sum of the loss over a batch and its weight, for each output."""')
        if len(training.losses) == 1:
            ((name, loss),) = training.losses.items()
            total, weight = loss_expression(loss, "outputs", "targets")
            writer.line(f"return {{{literal(name)}: ({total}, {weight})}}")
            return
        entries = {}
        for name, loss in training.losses.items():
            key = literal(name)
            total, weight = loss_expression(loss, f"outputs[{key}]", f"targets[{key}]")
            entries[name] = Code(f"({total}, {weight})")
        if common.by_mode(graph):
            common.write_by_mode(graph, writer, entries)
            return
        listed = ", ".join(f"{literal(name)}: {entry}" for name, entry in entries.items())
        writer.line(f"return {{{listed},}}")


def optimizer(made: Optimizer) -> Code:
    """The constructor of torch's own optimizer, whose formulas are the spec's."""
    name = "torch.optim.SGD" if isinstance(made, Sgd) else "torch.optim.Adam"
    options = common.optimizer_options(made)
    return call(name, Code("model.parameters()"), lr=made.lr, **options)


def _train_step(graph: Graph, writer: Writer, *, random: bool) -> None:
    signature = "model, optimizer, inputs, targets, update, updates_per_epoch"
    with writer.indented(f"def train_step({signature}):"):
        writer.line('"""One update; returns the loss before it."""')
        writer.line("model.train()")
        if random:
            writer.line("set_position(model, update)")
        with writer.indented("for group in optimizer.param_groups:"):
            writer.line('group["lr"] = learning_rate(update, updates_per_epoch)')
        writer.line("optimizer.zero_grad()")
        method = "model.logits" if common.has_logits(graph) else "model"
        writer.line(f"losses = loss_sum({method}({common.given_inputs(graph)}), targets)")
        writer.line(f"loss = {common.total_loss(common.section(graph))}")
        writer.line("loss.backward()")
        writer.line("clip([p.grad for p in model.parameters() if p.grad is not None])")
        writer.line("optimizer.step()")
        writer.line("return loss.item()")
