"""What the training functions of all emitted files have in common."""

from __future__ import annotations

from collections.abc import Mapping

from cnnspec.backends.writer import Code, Writer, literal
from cnnspec.graph import Graph
from cnnspec.training import Regularize, Training, Vocabulary


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


def total_loss(graph: Graph) -> Code:
    """The loss as an expression of `losses`, the answer of `loss_sum`, and of `model`."""
    made = "sum(s / w for s, w in losses.values())"
    if weighted(section(graph)):
        made = "sum(LOSS_WEIGHTS[name] * s / w for name, (s, w) in losses.items())"
    return Code(f"{made} + penalty(model)" if penalties(graph) else made)


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


def given_inputs(graph: Graph) -> Code:
    """The arguments of a forward pass, out of what a training step is given."""
    if len(graph.inputs) == 1:
        return Code("inputs")
    return Code(", ".join(f"inputs[{literal(entry.name)}]" for entry in graph.inputs))


def has_logits(graph: Graph) -> bool:
    """Whether the loss reads other values than the outputs."""
    logits = graph.logits()
    return any(logits[output.name] is not output.value for output in graph.outputs)


def penalties(graph: Graph) -> dict[str, Regularize]:
    """Weights that cost something, by canonical name."""
    trained = trained_names(graph)
    return {
        f"{node.id}.{param.name}": node.regularize
        for node in graph.nodes
        if node.regularize is not None and node.owner is None
        for param in node.params
        if param.name.endswith("weight") and f"{node.id}.{param.name}" in trained
    }


def constraints(graph: Graph) -> dict[str, tuple[float, str]]:
    """The largest norm of an output unit's weights, and their layout, by canonical name."""
    trained = trained_names(graph)
    return {
        f"{node.id}.{param.name}": (node.constrain.max_norm, param.layout)
        for node in graph.nodes
        if node.constrain is not None and node.owner is None
        for param in node.params
        if param.name.endswith("weight") and f"{node.id}.{param.name}" in trained
    }


def trained_names(graph: Graph) -> frozenset[str]:
    """The parameters that an update changes."""
    frozen = graph.frozen()
    return frozenset(n for n, p in graph.params().items() if p.trainable and n not in frozen)


def given(made: Vocabulary, *fields: str) -> dict[str, object]:
    """The fields of a word that are not zero or false, as arguments."""
    return {field: getattr(made, field) for field in fields if getattr(made, field)}


def scales(graph: Graph) -> bool:
    """Whether learning rates differ among the parameters."""
    return any(group.lr_scale != 1 for group in section(graph).groups)


def decays_differ(graph: Graph) -> bool:
    """Whether weight decays differ among the parameters."""
    return any(group.weight_decay is not None for group in section(graph).groups)


def decays(graph: Graph) -> bool:
    """Whether any parameter has a weight decay."""
    training = section(graph)
    return bool(training.optimizer.weight_decay) or any(g.weight_decay for g in training.groups)


def write_penalties(graph: Graph, writer: Writer) -> None:
    """The constant PENALTY: (l1, l2) of each weight."""
    entries = {name: (each.l1, each.l2) for name, each in penalties(graph).items()}
    _table(writer, "PENALTY", entries)


def write_limits(graph: Graph, writer: Writer) -> None:
    """The constant MAX_NORM: the limit, and the axes that an output unit's weights lie along."""
    entries = {
        name: (limit, tuple(i for i, letter in enumerate(layout) if letter != "O"))
        for name, (limit, layout) in constraints(graph).items()
    }
    _table(writer, "MAX_NORM", entries)


def _table(writer: Writer, name: str, entries: Mapping[str, tuple[object, ...]]) -> None:
    with writer.indented(f"{name} = {{"):
        for key, value in entries.items():
            writer.line(f"{literal(key)}: {literal(value)},")
    writer.line("}")
    writer.blank(2)


def after_update_docstring(graph: Graph) -> str:
    """What comes after an update."""
    parts = ["constraints"] if constraints(graph) else []
    parts += ["the moving average"] if section(graph).average is not None else []
    what = " and ".join(parts)
    return f'"""{what[0].upper()}{what[1:]} of the weights, after each update."""'
