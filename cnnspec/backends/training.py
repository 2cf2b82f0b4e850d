"""What the training functions of all emitted files have in common."""

from __future__ import annotations

from collections.abc import Mapping

from cnnspec.backends.writer import Code, Writer, literal
from cnnspec.graph import Graph
from cnnspec.training import Adam, Constant, Exponential, Optimizer, Schedule, Sgd, Training


def section(graph: Graph) -> Training:
    """The graph's training section, where it is known to have one."""
    assert graph.training is not None
    return graph.training


def weighted(training: Training) -> bool:
    """Whether any output's loss has a weight."""
    return any(loss.weight != 1 for loss in training.losses.values())


def write_loss_weights(writer: Writer, training: Training) -> None:
    """The constant LOSS_WEIGHTS, where there is need for it."""
    if weighted(training):
        entries = (f"{literal(n)}: {literal(loss.weight)}" for n, loss in training.losses.items())
        writer.line(f"LOSS_WEIGHTS = {{{', '.join(entries)}}}")
        writer.blank(2)


def total_loss(training: Training) -> Code:
    """The loss as an expression of `losses`, the answer of `loss_sum`."""
    if weighted(training):
        return Code("sum(LOSS_WEIGHTS[name] * s / w for name, (s, w) in losses.items())")
    return Code("sum(s / w for s, w in losses.values())")


def write_by_mode(graph: Graph, writer: Writer, entries: Mapping[str, Code]) -> None:
    """What `loss_sum` returns, where inference has fewer outputs than training.

    Args:
        graph: the network.
        writer: inside the function.
        entries: for each output an expression over `outputs` and `targets`, both by name.
    """
    only = {output.name for output in graph.outputs if output.training_only}
    kept = [name for name in entries if name not in only]
    if len(kept) == 1:
        with writer.indented("if not isinstance(outputs, dict):  # inference has one output"):
            key = literal(kept[0])
            writer.line(f"outputs, targets = {{{key}: outputs}}, {{{key}: targets}}")
    made = ", ".join(f"{literal(name)}: {entries[name]}" for name in kept)
    writer.line(f"found = {{{made}}}")
    for name in entries:
        if name in only:
            with writer.indented(f"if {literal(name)} in outputs:"):
                writer.line(f"found[{literal(name)}] = {entries[name]}")
    writer.line("return found")


def by_mode(graph: Graph) -> bool:
    """Whether inference has fewer outputs than training."""
    return any(output.training_only for output in graph.outputs)


def write_learning_rate(writer: Writer, training: Training) -> None:
    """The function `learning_rate`."""
    with writer.indented("def learning_rate(update, updates_per_epoch):"):
        writer.line('"""Learning rate of an update, which is counted from 0."""')
        writer.line(f"return {rate(training.optimizer, training.schedule)}")


def write_clip(writer: Writer) -> None:
    """The function `clip`."""
    with writer.indented("def clip(gradients):"):
        writer.line('"""Gradients as the optimizer gets them: unchanged."""')
        writer.line("return gradients")


def rate(made: Optimizer, schedule: Schedule) -> Code:
    """The learning rate as an expression of `update` and `updates_per_epoch`."""
    if isinstance(schedule, Exponential):
        # Spaces around the power as formatters want them: none between two simple operands.
        epochs = schedule.every == "epoch"
        power = " ** (update // updates_per_epoch)" if epochs else "**update"
        return Code(f"{literal(made.lr)} * {literal(schedule.gamma)}{power}")
    assert isinstance(schedule, Constant)
    return literal(made.lr)


def optimizer_options(made: Optimizer, names: Mapping[str, str] | None = None) -> dict[str, object]:
    """An optimizer's arguments besides the rate; `names` says what a back end calls them."""
    options: dict[str, object] = {}
    if isinstance(made, Sgd):
        for field in ("momentum", "dampening", "nesterov"):
            if getattr(made, field):
                options[field] = getattr(made, field)
    else:
        assert isinstance(made, Adam)
        options["betas"] = made.betas
        options["eps"] = made.eps
    if made.weight_decay:
        options["weight_decay"] = made.weight_decay
    return {(names or {}).get(name, name): value for name, value in options.items()}


def given_inputs(graph: Graph) -> Code:
    """The arguments of a forward pass, out of what a training step is given."""
    if len(graph.inputs) == 1:
        return Code("inputs")
    return Code(", ".join(f"inputs[{literal(entry.name)}]" for entry in graph.inputs))


def has_logits(graph: Graph) -> bool:
    """Whether the loss reads other values than the outputs."""
    logits = graph.logits()
    return any(logits[output.name] is not output.value for output in graph.outputs)
