"""The training functions of the emitted Keras file."""

from __future__ import annotations

from cnnspec.backends import training as common
from cnnspec.backends.text import folded
from cnnspec.backends.writer import Code, Writer, call, literal
from cnnspec.graph import Graph
from cnnspec.training import CrossEntropy, Loss, Optimizer, Sgd

NAMES = (
    "LOSSES",
    "LOSS_WEIGHTS",
    "MeanLoss",
    "SEED",
    "compile_model",
    "learning_rate",
    "loss_sum",
    "make_optimizer",
    "train_step",
)


def write(graph: Graph, writer: Writer, *, random: bool) -> None:
    """Loss, optimizer, learning rate, compilation and the step that is made of them."""
    training = common.section(graph)
    weighted = common.weighted(training)
    several = len(training.losses) > 1
    if several:
        writer.blank(2)
        losses = ", ".join(f"{literal(n)}: {function(x)}" for n, x in training.losses.items())
        writer.line(f"LOSSES = {{{losses}}}")
    if weighted:
        writer.blank(1 if several else 2)
        weights = ", ".join(
            f"{literal(name)}: {literal(loss.weight)}" for name, loss in training.losses.items()
        )
        writer.line(f"LOSS_WEIGHTS = {{{weights}}}")
    writer.blank(2)
    with writer.indented("def loss_sum(outputs, targets):"):
        writer.line('"""Sum of the loss over a batch and its weight, for each output."""')
        if common.by_mode(graph):
            kept = [output.name for output in graph.outputs if not output.training_only]
            if len(kept) == 1:
                key = literal(kept[0])
                with writer.indented("if not isinstance(outputs, dict):  # inference has one"):
                    writer.line(f"outputs, targets = {{{key}: outputs}}, {{{key}: targets}}")
        if several:
            writer.line(
                "return {name: LOSSES[name](outputs[name], targets[name]) for name in outputs}"
            )
        else:
            ((name, loss),) = training.losses.items()
            writer.line(f"return {{{literal(name)}: {function(loss)}(outputs, targets)}}")
    writer.blank(2)
    writer.line("@keras.saving.register_keras_serializable(PACKAGE)")
    with writer.indented("class MeanLoss(keras.losses.Loss):"):
        _mean_loss(writer, several=several)
    writer.blank(2)
    with writer.indented("def make_optimizer(model):"):
        writer.line('"""The optimizer; `train_step` sets its learning rate before each update."""')
        writer.line(f"return {optimizer(training.optimizer)}")
    writer.blank(2)
    common.write_learning_rate(writer, training)
    writer.blank(2)
    _compile(graph, writer, several=several, weighted=weighted)
    writer.blank(2)
    with writer.indented("def train_step(model, inputs, targets, update, updates_per_epoch):"):
        writer.line('"""One update of a compiled model; returns the loss before it."""')
        if random:
            writer.line("set_position(model, update)")
        writer.line("model.optimizer.learning_rate = learning_rate(update, updates_per_epoch)")
        writer.line('return model.train_on_batch(inputs, targets, return_dict=True)["loss"]')


def function(loss: Loss) -> Code:
    """The function that sums this loss."""
    return Code("cross_entropy" if isinstance(loss, CrossEntropy) else "squared_error")


def _mean_loss(writer: Writer, *, several: bool) -> None:
    if several:
        writer.line('"""The mean loss of the output of this name."""')
    else:
        writer.line('"""The mean loss."""')
    writer.blank()
    with writer.indented("def call(self, y_true, y_pred):"):
        writer.line('"""Sum over weight."""')
        if several:
            writer.line("losses = loss_sum({self.name: y_pred}, {self.name: y_true})")
            writer.line("total, weight = losses[self.name]")
        else:
            writer.line("((total, weight),) = loss_sum(y_pred, y_true).values()")
        writer.line("return total / weight")


def _compile(graph: Graph, writer: Writer, *, several: bool, weighted: bool) -> None:
    with writer.indented("def compile_model(model, **options):"):
        what = "`logits_model`" if folded(graph) else "the model"
        writer.line(f'"""Compile {what} for training."""')
        loss = "{name: MeanLoss(name=name) for name in LOSSES}" if several else "MeanLoss()"
        if weighted:
            if several:
                options = "loss_weights=LOSS_WEIGHTS, jit_compile=False, **options"
            else:
                options = "loss_weights=list(LOSS_WEIGHTS.values()), jit_compile=False, **options"
        else:
            options = "jit_compile=False, **options"
        writer.line(f"model.compile(make_optimizer(model), {loss}, {options})")


def optimizer(made: Optimizer) -> Code:
    """The constructor of the emitted optimizer."""
    # Keras' own `weight_decay` is decoupled.
    names = {"eps": "epsilon", "weight_decay": "coupled_decay"}
    name = "SGD" if isinstance(made, Sgd) else "Adam"
    return call(name, made.lr, **common.optimizer_options(made, names))
