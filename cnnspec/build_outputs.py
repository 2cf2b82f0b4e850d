"""The end of a network: its outputs, their losses, and what reaches none of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING

from cnnspec.diagnostics import Label, did_you_mean
from cnnspec.document import Path
from cnnspec.faults import Faults, quoted
from cnnspec.graph import Graph, Input, Node, Output, Value
from cnnspec.ops.base import Op
from cnnspec.spec import Layer, Spec
from cnnspec.wires import Known, Names, Unknown, look_up

if TYPE_CHECKING:
    from cnnspec.training import Loss, Training


def resolve_outputs(
    spec: Spec, faults: Faults, names: Names, last: Known | None
) -> tuple[Output, ...]:
    """The outputs that the spec names, or the last layer; without those at fault."""
    if spec.outputs is None:
        if isinstance(last, Input):  # every layer was taken out
            faults.add("output-is-input", ("layers",), "no layer is left", key=True)
            return ()
        return () if last is None or isinstance(last, Unknown) else (Output("output", last),)
    found = []
    for entry in spec.outputs:
        value = look_up(faults, names, entry.layer, entry.path)
        if isinstance(value, Input):
            faults.add("output-is-input", entry.path, "an output is the value of a layer")
        elif not isinstance(value, Unknown):
            found.append(Output(entry.name, value, entry.training_only))
    if found and all(output.training_only for output in found):
        faults.add(
            "training-only-outputs",
            ("outputs",),
            "every output is `training_only`, so that inference would have none",
            help="leave it out of at least one",
            key=True,
        )
    return tuple(found)


def resolve_training(spec: Spec, faults: Faults, outputs: tuple[Output, ...]) -> Training | None:
    """The `train:` section with one loss for each output; None without one, or with a fault."""
    section = spec.train
    if section is None or not outputs:
        return None
    from cnnspec.training import Training

    # An output whose layer has a fault is still one that the spec names.
    names = [entry.name for entry in spec.outputs or ()] or [output.name for output in outputs]
    losses = _losses(section.loss, faults, names)
    for output in outputs:
        if output.name in losses:
            _fits(losses[output.name], output, spec, faults)
    if len(losses) < len(outputs):
        return None
    return Training(
        losses,
        section.optimizer,
        section.schedule,
        section.batch,
        section.epochs,
        section.clip,
        section.groups,
        section.average,
        section.accumulate,
        section.stopping,
    )


def report_groups(faults: Faults, graph: Graph) -> None:
    """Report groups of parameters that mean nothing here, and training that changes nothing."""
    if graph.training is None:
        return
    from cnnspec.training.groups import matches

    params = graph.params()
    names = [name for name, param in params.items() if not param.statistic]
    frozen = graph.frozen()
    if not any(params[name].trainable and name not in frozen for name in names):
        faults.add(
            "nothing-to-train",
            ("train",),
            "all parameters are frozen" if names else "the network has no parameters to train",
            help="take `train:` out, or " + ("train some" if names else "add a layer with weights"),
            key=True,
        )
    for i, group in enumerate(graph.training.groups):
        for j, pattern in enumerate(group.match):
            if not any(matches(pattern, name) for name in names):
                at: Path = ("train", "groups", i, "match")
                faults.add(
                    "group-matches-nothing",
                    (*at, j) if len(group.match) > 1 else at,
                    f"no parameter is called {quoted(pattern)}, and nothing above one",
                    help=did_you_mean(pattern, [*names, *_above(names)]),
                )


def _above(names: Iterable[str]) -> list[str]:
    """The layers and blocks that parameters belong to."""
    found: dict[str, None] = {}
    for name in names:
        parts = name.split(".")
        found |= dict.fromkeys(".".join(parts[:n]) for n in range(1, len(parts)))
    return list(found)


def _losses(
    written: Loss | Mapping[str, Loss], faults: Faults, names: list[str]
) -> Mapping[str, Loss]:
    path: Path = ("train", "loss")
    from cnnspec.training import Loss

    if isinstance(written, Loss):
        if len(names) == 1:
            return {names[0]: written}
        faults.add(
            "loss-per-output",
            path,
            f"the network has {len(names)} outputs, and `loss` is for one",
            help="give a mapping: {" + ", ".join(f"{n}: {written.key}" for n in names) + "}",
        )
        return {}
    for name in written:
        if name not in names:
            faults.add(
                "unknown-output",
                (*path, name),
                f"there is no output {quoted(name)}",
                help=did_you_mean(name, names),
                key=True,
            )
    missing = [name for name in names if name not in written]
    if missing:
        outputs = ", ".join(f"output `{name}`" for name in missing)
        faults.add("loss-per-output", path, f"there is no loss for {outputs}", key=True)
    return {name: written[name] for name in names if name in written}


def _fits(loss: Loss, output: Output, spec: Spec, faults: Faults) -> None:
    """Report a loss that can teach the output nothing, or has options for other channels."""
    assert spec.train is not None
    path: Path = ("train", "loss")
    if isinstance(spec.train.loss, Mapping):
        path = (*path, output.name)
    channels = output.value.shape[0]
    if channels < loss.least_channels:
        faults.add(
            "loss-does-not-fit",
            path,
            f"`{loss.key}` is over the channels, and output `{output.name}` has {channels} channel",
            help="give the last layer one unit for each class, or use `binary_cross_entropy`",
        )
        return
    for option, count in loss.by_channel.items():
        if count != channels:
            faults.add(
                "loss-does-not-fit",
                (*path, loss.key, option),
                f"`{option}` has {count} numbers, and output `{output.name}` has {channels} "
                "channels",
            )


def report_unused(
    faults: Faults,
    inputs: Iterable[Input],
    nodes: Iterable[Node[Op]],
    outputs: Iterable[Output],
    written: Callable[[str], tuple[Faults, Layer]],
    missed: Mapping[str, Label],
) -> None:
    """Report values that nothing reads, the last one of a dead branch only.

    Args:
        faults: of the network.
        inputs: of the network.
        nodes: in order.
        outputs: of the network.
        written: the layer of a node, and the faults to report it with.
        missed: by id of a value, the `when` that has taken out a layer which would read it.
    """
    nodes = list(nodes)
    read: set[str] = {value.id for node in nodes for value in node.inputs}
    read |= {output.value.id for output in outputs}
    for node in nodes:
        if node.id not in read:
            own, layer = written(node.id)
            own.add(
                "unused-layer",
                layer.fields,
                f"`{node.id}` reaches no output",
                help="give it the same `when:`"
                if node.id in missed
                else "read it with `from:`, name it in `outputs:`, or take it out",
                key=True,
                secondary=_missed(missed, node),
            )
    for entry in inputs:
        if entry.id not in read:
            faults.add(
                "unused-input",
                input_path(faults, entry),
                f"input `{entry.name}` reaches no output",
                help="read it with `from:`, or take it out",
                secondary=_missed(missed, entry),
            )


def _missed(missed: Mapping[str, Label], value: Value) -> tuple[Label, ...]:
    return (missed[value.id],) if value.id in missed else ()


def input_path(faults: Faults, entry: Value) -> Path:
    """Where the shape of an input stands."""
    written = faults.document.value
    named = isinstance(written, dict) and isinstance(written.get("input"), dict)
    return ("input", entry.id) if named else ("input",)
