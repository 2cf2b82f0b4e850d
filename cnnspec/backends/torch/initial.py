"""The emitted torch file's own initial values, by `torch.nn.init`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from cnnspec.backends.exceptions import by_name
from cnnspec.backends.holders import Holder, holders
from cnnspec.backends.torch.cells.column import COLUMN
from cnnspec.backends.writer import Code, Writer, call, code, literal
from cnnspec.graph import Graph
from cnnspec.ops import initializer as init
from cnnspec.ops.activation import PRelu
from cnnspec.ops.base import Op, Param
from cnnspec.ops.conv import Conv
from cnnspec.ops.conv_transpose import ConvTranspose
from cnnspec.ops.dense import Dense
from cnnspec.ops.norm import Norm
from cnnspec.ops.rbf import Rbf
from cnnspec.ops.scale import LayerScale


def spell(param: Param, target: str) -> Code | None:
    """The statement that sets `target`; a matrix or kernel has fans that torch sees as well."""
    made = param.init
    match made:
        case init.Zeros():
            return call("nn.init.zeros_", Code(target))
        case init.Ones():
            return call("nn.init.ones_", Code(target))
        case init.Constant():
            return call("nn.init.constant_", Code(target), made.value)
        case init.Normal():
            return call("nn.init.normal_", Code(target), mean=made.mean, std=made.std)
        case init.Uniform():
            return call("nn.init.uniform_", Code(target), made.low, made.high)
        case init.TruncatedNormal():
            return _truncated(target, made.std, made.mean)
        case init.Orthogonal():
            gain = {} if made.gain == 1 else {"gain": made.gain}
            return call("nn.init.orthogonal_", Code(target), **gain)
        case init.Scaled():
            return _scaled(made, param, target)
        case _:
            raise TypeError(f"no spelling for {made!r}")


def _truncated(target: str, std: float, mean: float = 0.0) -> Code:
    bounds = {"a": mean - 2 * std, "b": mean + 2 * std}
    return call("nn.init.trunc_normal_", Code(target), mean=mean, std=std, **bounds)


def _scaled(made: init.Scaled, param: Param, target: str) -> Code:
    fans = (param.fan_in, param.fan_out)
    if getattr(made, "truncated", False):
        return _truncated(target, made.std(*fans) / init.TRUNCATION)
    normal = isinstance(made, (init.HeNormal, init.GlorotNormal, init.LecunNormal))
    if len(param.shape) < 2:  # torch cannot see the fans of a vector
        if normal:
            return call("nn.init.normal_", Code(target), std=made.std(*fans))
        limit = made.limit(*fans)
        return call("nn.init.uniform_", Code(target), -limit, limit)
    kind = "normal_" if normal else "uniform_"
    if isinstance(made, (init.HeNormal, init.HeUniform)):
        options: dict[str, object] = {} if made.mode == "fan_in" else {"mode": made.mode}
        if made.slope:
            options["a"] = made.slope
        else:
            options["nonlinearity"] = "relu"
        return call(f"nn.init.kaiming_{kind}", Code(target), **options)
    if isinstance(made, (init.GlorotNormal, init.GlorotUniform)):
        gain = {} if made.gain == 1 else {"gain": made.gain}
        return call(f"nn.init.xavier_{kind}", Code(target), **gain)
    if isinstance(made, init.TorchDefault):
        # sqrt(6 / ((1 + a^2) * fan)) with a = sqrt(5) is 1 / sqrt(fan).
        return call("nn.init.kaiming_uniform_", Code(target), a=Code("math.sqrt(5)"))
    return call(f"nn.init.kaiming_{kind}", Code(target), nonlinearity="linear")


def native_default(op: Op, param: Param) -> bool:
    """Whether the module starts this parameter as the spec wants, without being told."""
    starts = COLUMN.starts(type(op))
    if starts is not None:
        return param.init == starts.get(param.name)
    if isinstance(op, (Conv, ConvTranspose, Dense)):
        return isinstance(param.init, init.TorchDefault)
    if isinstance(op, Norm):
        return param.init == (init.Ones() if param.name == "weight" else init.Zeros())
    if isinstance(op, PRelu):
        return param.init == init.Constant(value=0.25)
    if isinstance(op, Rbf):
        return param.init == init.Normal()
    if isinstance(op, LayerScale):
        return param.init == init.Constant(value=1e-6)
    return False


def module_class(node: Holder) -> str | None:
    """The class that a loop over modules finds this node by."""
    if isinstance(node.op, Conv):
        return f"nn.Conv{len(node.shape) - 1}d"
    if isinstance(node.op, ConvTranspose):
        return f"nn.ConvTranspose{len(node.shape) - 1}d"
    return "nn.Linear" if isinstance(node.op, Dense) else None


def write(graph: Graph, writer: Writer) -> None:
    """Set initial values: one loop for what most layers do, a line for each exception."""
    owned = (node for node in graph.nodes if node.owner is None and node.params)
    owners = [holder for node in owned for holder in holders(node)]
    by_class: dict[str, list[Holder]] = {}
    for node in owners:
        name = module_class(node)
        if name is not None:
            by_class.setdefault(name, []).append(node)
    common = {name: _common(nodes) for name, nodes in by_class.items()}
    groups: dict[tuple[str, ...], list[str]] = {}
    for name, lines in common.items():
        if len(by_class[name]) > 1 or len(by_class) > 1:
            groups.setdefault(lines, []).append(name)
    written = {name for names in groups.values() for name in names}
    groups = {lines: names for lines, names in groups.items() if lines}
    if groups:
        with writer.indented("for module in self.modules():"):
            keyword = "if"
            for lines, names in groups.items():
                classes = names[0] if len(names) == 1 else f"({', '.join(sorted(names))})"
                with writer.indented(f"{keyword} isinstance(module, {classes}):"):
                    members = [node for name in names for node in by_class[name]]
                    _write_lines(writer, lines, members)
                keyword = "elif"
    exceptions: list[tuple[str, str]] = []
    for node in owners:
        name = module_class(node)
        done = common[name] if name in written else None
        for param in node.params:
            if param.statistic:
                continue
            line = spell(param, f"module.{param.name}")
            if done is not None and (
                line in done
                or (
                    native_default(node.op, param)
                    and not any(f"module.{param.name}" in entry for entry in done)
                )
            ):
                continue
            if done is None and native_default(node.op, param):
                continue
            exceptions.append((node.id, str(line)))
    named, rest = by_name(exceptions, [node.id for node in owners])
    if named:
        with writer.indented("for name, module in self.named_modules():"):
            for end, statements in named.items():
                with writer.indented(f"if name.endswith({literal(end)}):"):
                    for statement in statements:
                        writer.line(statement)
    for id, statement in rest:
        writer.line(statement.replace("(module.", f"({live(id)}.", 1))


def _common(nodes: Sequence[Holder]) -> tuple[str, ...]:
    """The statements that most of these nodes need."""
    counted: dict[str, Counter[Code | None]] = {}
    for node in nodes:
        for param in node.params:
            line = None if native_default(node.op, param) else spell(param, f"module.{param.name}")
            counted.setdefault(param.name, Counter())[line] += 1
    best = (counter.most_common(1)[0][0] for counter in counted.values())
    return tuple(str(line) for line in best if line is not None)


def _write_lines(writer: Writer, lines: tuple[str, ...], nodes: Sequence[Holder]) -> None:
    biased = [any(p.name == "bias" for p in node.params) for node in nodes]
    for line in lines:
        if "module.bias" in line and not all(biased):
            with writer.indented("if module.bias is not None:"):
                writer.line(line)
        else:
            writer.line(line)


def live(path: str) -> str:
    """How emitted code reaches a module: `self.features[0].conv`."""
    return "self" + "".join(_step(part) for part in path.split("."))


def _step(part: str) -> str:
    return f"[{code(int(part))}]" if part.isdigit() else f".{part}"
