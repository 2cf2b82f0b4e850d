"""What else an update of the NumPy file does: penalties, clipping, constraints, averages."""

from __future__ import annotations

from cnnspec.backends import training as common
from cnnspec.backends.training import options
from cnnspec.backends.writer import Code, Writer, literal
from cnnspec.graph import Graph
from cnnspec.training import Clip


def write_penalty(graph: Graph, writer: Writer) -> None:
    """The functions `penalty` and `penalty_gradient`."""
    common.write_penalties(graph, writer)
    found = common.penalties(graph).values()
    lasso, ridge = any(each.l1 for each in found), any(each.l2 for each in found)
    with writer.indented("def penalty(model):"):
        writer.line('"""Regularization, which is added to the loss: l1 |w| + l2 / 2 w^2."""')
        writer.line("weights = model.parameters()")
        terms = ["l1 * np.abs(weights[name]).sum()"] if lasso else []
        terms += ["l2 / 2 * np.square(weights[name]).sum()"] if ridge else []
        writer.line(f"return sum({' + '.join(terms)} for name, (l1, l2) in PENALTY.items())")
    writer.blank(2)
    with writer.indented("def penalty_gradient(model, gradients):"):
        writer.line('"""Gradients with those of the penalty added."""')
        writer.line("weights, found = model.parameters(), dict(gradients)")
        with writer.indented("for name, (l1, l2) in PENALTY.items():"):
            terms = ["l1 * np.sign(weights[name])"] if lasso else []
            terms += ["l2 * weights[name]"] if ridge else []
            writer.line(f"found[name] = found[name] + {' + '.join(terms)}")
        writer.line("return found")


def gradients(graph: Graph) -> Code:
    """What is clipped: the gradients of trained parameters, penalties included."""
    found = "model.gradients()"
    if options.freezes(graph):
        found = "trained_gradients(model)"
    return Code(f"penalty_gradient(model, {found})" if common.penalties(graph) else found)


def write_trained(writer: Writer) -> None:
    """The function `trained_gradients`."""
    with writer.indented("def trained_gradients(model):"):
        writer.line('"""The gradients of parameters that are trained."""')
        writer.line("found = model.gradients().items()")
        writer.line("return {n: g for n, g in found if parameter_options(n) is not None}")


def write_clip(writer: Writer, clip: Clip | None) -> None:
    """The function `clip`."""
    with writer.indented("def clip(gradients):"):
        if clip is None:
            writer.line('"""Gradients as the optimizer gets them: unchanged."""')
            writer.line("return gradients")
        elif clip.value is not None:
            limit = literal(clip.value)
            writer.line(f'"""Every element clipped to at most {limit} in size."""')
            writer.line(
                f"return {{n: np.clip(g, -{limit}, {limit}) for n, g in gradients.items()}}"
            )
        else:
            assert clip.norm is not None
            limit = literal(clip.norm)
            writer.line(f'"""All gradients, scaled to a norm of at most {limit}."""')
            writer.line("norm = math.sqrt(sum(np.square(g).sum() for g in gradients.values()))")
            writer.line(f"scale = {limit} / max(norm, {limit})")
            writer.line("return {n: scale * g for n, g in gradients.items()}")


def follows(graph: Graph) -> bool:
    """Whether anything comes after an update."""
    return bool(common.constraints(graph)) or common.section(graph).average is not None


def write_after_update(graph: Graph, writer: Writer) -> None:
    """The function `after_update`: constraints, then the moving average."""
    limits, average = common.constraints(graph), common.section(graph).average
    if limits:
        common.write_limits(graph, writer)
    with writer.indented("def after_update(model):"):
        writer.line(common.after_update_docstring(graph))
        writer.line("weights = model.parameters()")
        if limits:
            with writer.indented("for name, (limit, axes) in MAX_NORM.items():"):
                writer.line("norm = np.sqrt(np.square(weights[name]).sum(axes, keepdims=True))")
                writer.line("weights[name] *= limit / np.maximum(norm, limit)")
        if average is not None:
            decay = literal(average.decay)
            with writer.indented("for name, mean in model.averages.items():"):
                writer.line(f"mean *= {decay}")
                writer.line(f"mean += (1 - {decay}) * weights[name]")
