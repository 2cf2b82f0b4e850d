"""The training functions of the emitted Keras file."""

from __future__ import annotations

from cnnspec.backends import training as common
from cnnspec.backends.keras.training import optimizers, updates
from cnnspec.backends.text import folded
from cnnspec.backends.training import losses, options, rate
from cnnspec.backends.writer import Code, Writer, call, literal
from cnnspec.graph import Graph

NAMES = (
    "LOSSES",
    "LOSS_WEIGHTS",
    "MAX_NORM",
    "MeanLoss",
    "PENALTY",
    "SEED",
    "Schedule",
    "clip",
    "compile_model",
    "learning_rate",
    "loss_sum",
    "make_optimizer",
    "parameter_options",
    "train_step",
)


def write(graph: Graph, writer: Writer, *, random: bool) -> None:
    """Loss, optimizer, learning rate, compilation and the step that is made of them."""
    training = common.section(graph)
    weighted = common.weighted(training)
    several = len(training.losses) > 1
    if several:
        writer.blank(2)
        made = ", ".join(f"{literal(n)}: {losses.function(x)}" for n, x in training.losses.items())
        writer.line(f"LOSSES = {{{made}}}")
    if weighted:
        writer.blank(1 if several else 2)
        weights = ", ".join(
            f"{literal(name)}: {literal(loss.weight)}" for name, loss in training.losses.items()
        )
        writer.line(f"LOSS_WEIGHTS = {{{weights}}}")
    writer.blank(2)
    _loss_sum(graph, writer, several=several)
    writer.blank(2)
    writer.line("@keras.saving.register_keras_serializable(PACKAGE)")
    with writer.indented("class MeanLoss(keras.losses.Loss):"):
        _mean_loss(writer, several=several)
    writer.blank(2)
    if training.clip is not None:
        updates.write_clip(writer, training.clip)
        writer.blank(2)
    if options.has(graph):
        options.write(graph, writer)
        writer.blank(2)
    _make_optimizer(graph, writer)
    writer.blank(2)
    rate.write(writer, training)
    writer.blank(2)
    _compile(graph, writer, several=several, weighted=weighted)
    writer.blank(2)
    with writer.indented("def train_step(model, inputs, targets, update, updates_per_epoch):"):
        writer.line('"""One update of a compiled model; returns the loss before it."""')
        if random:
            writer.line("set_position(model, update)")
        writer.line("model.optimizer.learning_rate = learning_rate(update, updates_per_epoch)")
        writer.line('return model.train_on_batch(inputs, targets, return_dict=True)["loss"]')
    writer.blank(2)
    _schedule(writer, random=random)


def _schedule(writer: Writer, *, random: bool) -> None:
    with writer.indented("class Schedule(keras.callbacks.Callback):"):
        writer.line(
            '"""Makes the updates of `model.fit(..., shuffle=False)` those of `train_step`."""'
        )
        writer.blank()
        with writer.indented("def __init__(self, updates_per_epoch, update=0):"):
            writer.line("super().__init__()")
            writer.line("self.updates_per_epoch, self.update = updates_per_epoch, update")
        writer.blank()
        with writer.indented("def on_train_batch_begin(self, batch, logs=None):"):
            writer.line('"""Set what depends on the update, and count it."""')
            with writer.indented('if keras.backend.backend() == "jax":'):
                writer.line("self.model.jax_state_sync()  # else `fit` overwrites what is set")
            if random:
                writer.line("set_position(self.model, self.update)")
            rate = "learning_rate(self.update, self.updates_per_epoch)"
            writer.line(f"self.model.optimizer.learning_rate = {rate}")
            writer.line("self.update += 1")


def _loss_sum(graph: Graph, writer: Writer, *, several: bool) -> None:
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
            ((name, loss),) = common.section(graph).losses.items()
            made = losses.spelled(loss, "outputs", "targets")
            writer.line(f"return {{{literal(name)}: {made}}}")


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


def _make_optimizer(graph: Graph, writer: Writer) -> None:
    training = common.section(graph)
    made = training.optimizer
    name, arguments = optimizers.spelled(made)
    # Keras' own `weight_decay` is decoupled.
    if made.weight_decay:
        arguments["decay"] = made.weight_decay
    if made.decoupled and common.decays(graph):
        arguments["decoupled"] = True
    if updates.follows(graph):
        name = updates.write_class(name, writer)
        writer.blank(2)
        if common.constraints(graph):
            updates.write_limits(graph, writer)
            arguments["limits"] = Code("limits")
        if training.average is not None:
            arguments["average"] = training.average.decay
    with writer.indented("def make_optimizer(model):"):
        writer.line('"""The optimizer; `train_step` sets its learning rate before each update."""')
        if options.has(graph):
            updates.write_options(graph, writer)
            arguments["options"] = Code("options")
        if common.constraints(graph):
            updates.write_by_path(graph, writer)
        constructor = call(name, made.lr, **arguments)
        if training.average is None:
            writer.line(f"return {constructor}")
            return
        writer.line(f"optimizer = {constructor}")
        writer.line("optimizer.build(model.trainable_variables)  # averages start at the weights")
        writer.line("return optimizer")


def _compile(graph: Graph, writer: Writer, *, several: bool, weighted: bool) -> None:
    if common.penalties(graph):
        common.write_penalties(graph, writer)
    with writer.indented("def compile_model(model, **options):"):
        what = "`logits_model`" if folded(graph) else "the model"
        writer.line(f'"""Compile {what} for training."""')
        if common.penalties(graph):
            updates.write_penalty(graph, writer)
        loss = "{name: MeanLoss(name=name) for name in LOSSES}" if several else "MeanLoss()"
        if weighted:
            if several:
                options = "loss_weights=LOSS_WEIGHTS, jit_compile=False, **options"
            else:
                options = "loss_weights=list(LOSS_WEIGHTS.values()), jit_compile=False, **options"
        else:
            options = "jit_compile=False, **options"
        writer.line(f"model.compile(make_optimizer(model), {loss}, {options})")
