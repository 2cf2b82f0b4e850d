"""The training functions of the emitted torch file."""

from __future__ import annotations

from cnnspec.backends import training as common
from cnnspec.backends.torch.training import losses, optimizers, updates
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
    "decay_weights",
    "learning_rate",
    "loss_sum",
    "make_optimizer",
    "parameter_options",
    "penalty",
    "train_step",
)


def write(graph: Graph, writer: Writer, *, random: bool) -> None:
    """Loss, optimizer, learning rate, clipping and the step that is made of them."""
    training = common.section(graph)
    writer.blank(2)
    common.write_loss_weights(writer, training)
    _loss_sum(graph, writer)
    writer.blank(2)
    if common.penalties(graph):
        updates.write_penalty(graph, writer)
        writer.blank(2)
    if options.has(graph):
        options.write(graph, writer)
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


def _loss_sum(graph: Graph, writer: Writer) -> None:
    training = common.section(graph)
    with writer.indented("def loss_sum(outputs, targets):"):
        writer.line('"""Sum of the loss over a batch and its weight, for each output."""')
        if len(training.losses) == 1:
            ((name, loss),) = training.losses.items()
            total, weight = losses.spelled(loss, "outputs", "targets")
            writer.line(f"return {{{literal(name)}: ({total}, {weight})}}")
            return
        entries = {}
        for name, loss in training.losses.items():
            key = literal(name)
            total, weight = losses.spelled(loss, f"outputs[{key}]", f"targets[{key}]")
            entries[name] = Code(f"({total}, {weight})")
        if common.by_mode(graph):
            common.write_by_mode(graph, writer, entries)
            return
        listed = ", ".join(f"{literal(name)}: {entry}" for name, entry in entries.items())
        writer.line(f"return {{{listed},}}")


def _make_optimizer(graph: Graph, writer: Writer) -> None:
    made = common.section(graph).optimizer
    name, arguments = optimizers.spelled(made)
    own = not made.decoupled or isinstance(made, optimizers.DECOUPLED)
    if made.weight_decay and own:
        arguments["weight_decay"] = made.weight_decay
    hooked = common.decays(graph) and not own
    if hooked:
        updates.write_decay(writer, made.weight_decay)
        writer.blank(2)
    with writer.indented("def make_optimizer(model):"):
        writer.line('"""The optimizer; `train_step` sets its learning rate before each update."""')
        parameters = Code("model.parameters()")
        if options.has(graph):
            updates.write_groups(graph, writer, decay="decay" if hooked else "weight_decay")
            parameters = Code("list(groups.values())")
        constructor = call(name, parameters, lr=made.lr, **arguments)
        average = common.section(graph).average
        if not hooked and average is None:
            writer.line(f"return {constructor}")
            return
        writer.line(f"optimizer = {constructor}")
        if hooked:
            writer.line("optimizer.register_step_pre_hook(decay_weights)")
        if average is not None:
            trained = " if p.requires_grad" if options.freezes(graph) else ""
            copies = f"n: p.detach().clone() for n, p in model.named_parameters(){trained}"
            writer.line(f"model.averages = {{{copies}}}")
        writer.line("return optimizer")


def _train_step(graph: Graph, writer: Writer, *, random: bool) -> None:
    signature = "model, optimizer, inputs, targets, update, updates_per_epoch"
    with writer.indented(f"def train_step({signature}):"):
        writer.line('"""One update; returns the loss before it."""')
        writer.line("model.train()")
        if random:
            writer.line("set_position(model, update)")
        with writer.indented("for group in optimizer.param_groups:"):
            scale = ' * group["scale"]' if common.scales(graph) else ""
            writer.line(f'group["lr"] = learning_rate(update, updates_per_epoch){scale}')
        writer.line("optimizer.zero_grad()")
        method = "model.logits" if common.has_logits(graph) else "model"
        writer.line(f"losses = loss_sum({method}({common.given_inputs(graph)}), targets)")
        writer.line(f"loss = {common.total_loss(graph)}")
        writer.line("loss.backward()")
        writer.line("clip([p.grad for p in model.parameters() if p.grad is not None])")
        writer.line("optimizer.step()")
        if updates.follows(graph):
            writer.line("after_update(model)")
        writer.line("return loss.item()")
