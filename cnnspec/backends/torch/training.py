"""The training functions of the emitted torch file."""

from __future__ import annotations

from cnnspec.backends.writer import Code, Writer, call, literal
from cnnspec.graph import Graph
from cnnspec.training import Adam, Constant, CrossEntropy, Exponential, Loss, Optimizer, Sgd

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
    _loss_sum(graph, writer)
    writer.blank(2)
    with writer.indented("def make_optimizer(model):"):
        writer.line('"""The optimizer; `train_step` sets its learning rate before each update."""')
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


def loss_expression(loss: Loss, output: str, target: str) -> tuple[Code, Code]:
    """The sum of a loss over a batch, and its weight."""
    if isinstance(loss, CrossEntropy):
        total = call("F.cross_entropy", Code(output), Code(target), reduction="sum")
    else:
        total = call("F.mse_loss", Code(output), Code(target), reduction="sum")
    return total, Code(f"{target}.numel()")


def _loss_sum(graph: Graph, writer: Writer) -> None:
    training = graph.training
    assert training is not None
    with writer.indented("def loss_sum(outputs, targets):"):
        writer.line('"""Sum of the loss over a batch and its weight, for each output."""')
        if len(training.losses) == 1:
            ((name, loss),) = training.losses.items()
            total, weight = loss_expression(loss, "outputs", "targets")
            writer.line(f"return {{{literal(name)}: ({total}, {weight})}}")
            return
        entries = []
        for name, loss in training.losses.items():
            key = literal(name)
            total, weight = loss_expression(loss, f"outputs[{key}]", f"targets[{key}]")
            entries.append(f"{key}: ({total}, {weight})")
        writer.line(f"return {{{', '.join(entries)},}}")


def optimizer(made: Optimizer) -> Code:
    """The constructor of torch's own optimizer, whose formulas are the spec's."""
    options: dict[str, object] = {"lr": made.lr}
    if isinstance(made, Sgd):
        if made.momentum:
            options["momentum"] = made.momentum
        if made.dampening:
            options["dampening"] = made.dampening
        if made.nesterov:
            options["nesterov"] = True
        name = "torch.optim.SGD"
    else:
        assert isinstance(made, Adam)
        options["betas"] = made.betas
        options["eps"] = made.eps
        name = "torch.optim.Adam"
    if made.weight_decay:
        options["weight_decay"] = made.weight_decay
    return call(name, Code("model.parameters()"), **options)


def rate(made: Optimizer, schedule: object) -> Code:
    """The learning rate as an expression of `update` and `updates_per_epoch`."""
    if isinstance(schedule, Exponential):
        t = "update // updates_per_epoch" if schedule.every == "epoch" else "update"
        exponent = f"({t})" if " " in t else t
        return Code(f"{literal(made.lr)} * {literal(schedule.gamma)} ** {exponent}")
    assert isinstance(schedule, Constant)
    return literal(made.lr)


def _train_step(graph: Graph, writer: Writer, *, random: bool, weighted: bool) -> None:
    signature = "model, optimizer, inputs, targets, update, updates_per_epoch"
    with writer.indented(f"def train_step({signature}):"):
        writer.line('"""One update; returns the loss before it."""')
        writer.line("model.train()")
        if random:
            writer.line("set_position(model, update)")
        with writer.indented("for group in optimizer.param_groups:"):
            writer.line('group["lr"] = learning_rate(update, updates_per_epoch)')
        writer.line("optimizer.zero_grad()")
        method = "model.logits" if graph.logits() != values(graph) else "model"
        given = "inputs"
        if len(graph.inputs) > 1:
            given = ", ".join(f"inputs[{literal(entry.name)}]" for entry in graph.inputs)
        writer.line(f"losses = loss_sum({method}({given}), targets)")
        if weighted:
            writer.line("loss = sum(LOSS_WEIGHTS[name] * s / w for name, (s, w) in losses.items())")
        else:
            writer.line("loss = sum(s / w for s, w in losses.values())")
        writer.line("loss.backward()")
        writer.line("clip([p.grad for p in model.parameters() if p.grad is not None])")
        writer.line("optimizer.step()")
        writer.line("return loss.item()")


def values(graph: Graph) -> dict[str, object]:
    """Output name -> value, without any folding."""
    return {o.name: o.value for o in graph.outputs}
