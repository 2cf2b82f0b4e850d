"""What else an update of the Keras file does: penalties, groups, clipping, constraints."""

from __future__ import annotations

from cnnspec.backends import training as common
from cnnspec.backends.keras.weights import slots, takes_apart
from cnnspec.backends.training import options
from cnnspec.backends.writer import Writer, literal
from cnnspec.graph import Graph
from cnnspec.training import Clip


def _variables(graph: Graph) -> str:
    """The head of a loop over names and variables."""
    variable = "(variable, _)" if takes_apart(graph) else "variable"
    return f"for name, {variable} in weights_by_name(model).items():"


def write_penalty(graph: Graph, writer: Writer) -> None:
    """The statements that give variables what they cost."""
    with writer.indented(_variables(graph)), writer.indented("if name in PENALTY:"):
        writer.line("variable.regularizer = penalty(*PENALTY[name])")


def write_options(graph: Graph, writer: Writer) -> None:
    """The statements that make `options`, by the path of a variable."""
    writer.line("options = {}")
    with writer.indented(_variables(graph)):
        writer.line("own = parameter_options(name)")
        if options.freezes(graph):
            with writer.indented("if own is None:"):
                writer.line("variable.trainable = False")
            with writer.indented("elif own:"):
                writer.line("options[variable.path] = own")
        else:
            writer.line("options[variable.path] = own")


def write_clip(writer: Writer, clip: Clip) -> None:
    """The function `clip`, in the place of the one that does nothing."""
    with writer.indented("def clip(gradients):"):
        if clip.value is not None:
            limit = literal(clip.value)
            writer.line(f'"""Every element clipped to at most {limit} in size."""')
            writer.line(f"return [ops.clip(g, -{limit}, {limit}) for g in gradients]")
        else:
            assert clip.norm is not None
            limit = literal(clip.norm)
            writer.line(f'"""All gradients, scaled to a norm of at most {limit}."""')
            writer.line("norm = ops.sqrt(sum(ops.sum(ops.square(g)) for g in gradients))")
            writer.line(f"limit = ops.full_like(norm, {limit})")
            writer.line("scale = limit / ops.where(norm > limit, norm, limit)")
            writer.line("return [scale * g for g in gradients]")


def follows(graph: Graph) -> bool:
    """Whether anything comes after an update."""
    return bool(common.constraints(graph)) or common.section(graph).average is not None


def write_class(name: str, writer: Writer) -> str:
    """The optimizer's class with what comes after an update; its name."""
    writer.line("@keras.saving.register_keras_serializable(PACKAGE)")
    with writer.indented(f"class Following{name}(AfterUpdate, {name}):"):
        writer.line(f'"""{name}, with what comes after an update."""')
    return f"Following{name}"


def write_limits(graph: Graph, writer: Writer) -> None:
    """The constant MAX_NORM: the limit, and the axes that an output unit's weights lie along."""
    found = slots(graph)
    with writer.indented("MAX_NORM = {"):
        for name, (limit, _) in common.constraints(graph).items():
            slot = found[name]
            axes = tuple(i for i, letter in enumerate(slot.layout) if letter != "O")
            if slot.own is not None:  # outputs in two axes, the last ones
                axes = tuple(range(len(slot.own) - 2))
            writer.line(f"{literal(name)}: {literal((limit, axes))},")
    writer.line("}")
    writer.blank(2)


def write_by_path(graph: Graph, writer: Writer) -> None:
    """The statements that make `limits`, by the path of a variable."""
    writer.line("limits = {}")
    with writer.indented(_variables(graph)), writer.indented("if name in MAX_NORM:"):
        writer.line("limits[variable.path] = MAX_NORM[name]")
