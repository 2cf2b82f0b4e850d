"""What else an update of the torch file does: penalties, groups, clipping, constraints."""

from __future__ import annotations

from cnnspec.backends import training as common
from cnnspec.backends.training import options
from cnnspec.backends.writer import Writer, literal
from cnnspec.graph import Graph
from cnnspec.training import Clip


def write_penalty(graph: Graph, writer: Writer) -> None:
    """The function `penalty`."""
    common.write_penalties(graph, writer)
    found = common.penalties(graph).values()
    with writer.indented("def penalty(model):"):
        writer.line('"""Regularization, which is added to the loss: l1 |w| + l2 / 2 w^2."""')
        writer.line("weights = dict(model.named_parameters())")
        terms = []
        if any(each.l1 for each in found):
            terms.append("l1 * weights[name].abs().sum()")
        if any(each.l2 for each in found):
            terms.append("l2 / 2 * weights[name].square().sum()")
        writer.line(f"return sum({' + '.join(terms)} for name, (l1, l2) in PENALTY.items())")


def write_groups(graph: Graph, writer: Writer, *, decay: str) -> None:
    """The statements that sort parameters by how they are trained, into `groups`."""
    writer.line("groups = {}")
    with writer.indented("for name, parameter in model.named_parameters():"):
        writer.line("options = parameter_options(name)")
        if options.freezes(graph):
            writer.line("parameter.requires_grad = options is not None")
            with writer.indented("if options is None:"):
                writer.line("continue")
        entries = ['"params": []']
        if common.scales(graph):
            entries.append('"scale": options.get("lr_scale", 1.0)')
        if common.decays_differ(graph):
            usual = literal(common.section(graph).optimizer.weight_decay)
            entries.append(f'{literal(decay)}: options.get("weight_decay", {usual})')
        made = f"{{{', '.join(entries)}}}"
        writer.line(f"group = groups.setdefault(str(options), {made})")
        writer.line('group["params"].append(parameter)')


def write_decay(writer: Writer, decay: float) -> None:
    """The function `decay_weights`, for optimizers whose own decay is coupled."""
    with writer.indented("def decay_weights(optimizer, args, kwargs):"):
        writer.line('"""Decoupled weight decay, before the update."""')
        with writer.indented("for group in optimizer.param_groups:"):
            writer.line(f'factor = 1 - group["lr"] * group.get("decay", {literal(decay)})')
            with (
                writer.indented('for parameter in group["params"]:'),
                writer.indented("if parameter.grad is not None:"),
            ):
                writer.line("parameter.data.mul_(factor)")


def write_clip(writer: Writer, clip: Clip | None) -> None:
    """The function `clip`."""
    with writer.indented("def clip(gradients):"):
        if clip is None:
            writer.line('"""Gradients as the optimizer gets them: unchanged."""')
            writer.line("return gradients")
        elif clip.value is not None:
            limit = literal(clip.value)
            writer.line(f'"""Clip every element to at most {limit} in size, in place."""')
            with writer.indented("for gradient in gradients:"):
                writer.line(f"gradient.clamp_(-{limit}, {limit})")
            writer.line("return gradients")
        else:
            assert clip.norm is not None
            writer.line(
                f'"""Scale all gradients, in place, to a norm of at most {literal(clip.norm)}."""'
            )
            writer.line("norm = torch.stack([g.square().sum() for g in gradients]).sum().sqrt()")
            with writer.indented("for gradient in gradients:"):
                writer.line(
                    f"gradient.mul_({literal(clip.norm)} / norm.clamp(min={literal(clip.norm)}))"
                )
            writer.line("return gradients")


def follows(graph: Graph) -> bool:
    """Whether anything comes after an update."""
    return bool(common.constraints(graph)) or common.section(graph).average is not None


def write_after_update(graph: Graph, writer: Writer) -> None:
    """The function `after_update`: constraints, then the moving average."""
    limits, average = common.constraints(graph), common.section(graph).average
    if limits:
        common.write_limits(graph, writer)
    writer.line("@torch.no_grad()")
    with writer.indented("def after_update(model):"):
        writer.line(common.after_update_docstring(graph))
        writer.line("weights = dict(model.named_parameters())")
        if limits:
            with writer.indented("for name, (limit, axes) in MAX_NORM.items():"):
                writer.line("norm = weights[name].square().sum(axes, keepdim=True).sqrt()")
                writer.line("weights[name].mul_(limit / norm.clamp(min=limit))")
        if average is not None:
            decay = literal(average.decay)
            with writer.indented("for name, mean in model.averages.items():"):
                writer.line(f"mean.mul_({decay}).add_(weights[name], alpha=1 - {decay})")
