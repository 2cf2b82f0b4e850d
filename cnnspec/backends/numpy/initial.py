"""The emitted NumPy file's own initial values."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from cnnspec.backends.exceptions import by_name
from cnnspec.backends.holders import Holder, holders
from cnnspec.backends.numpy.cells.column import COLUMN
from cnnspec.backends.writer import Code, Writer, call, literal
from cnnspec.graph import Graph
from cnnspec.ops import initializer as init
from cnnspec.ops.activation import PRelu
from cnnspec.ops.base import Op, Param
from cnnspec.ops.norm import Norm
from cnnspec.ops.scale import LayerScale

KINDS = ("Conv", "ConvTranspose", "Dense")


def spell(param: Param, target: str) -> Code | None:
    """The statement that fills `target`; None where the layer starts so by itself."""
    made, array, rng = param.init, Code(f'{target}.parameters["{param.name}"]'), Code("rng")
    fans, vector = (param.fan_in, param.fan_out), len(param.shape) < 2
    match made:
        case init.Zeros():
            return call("zeros", array)
        case init.Ones():
            return call("ones", array)
        case init.Constant():
            return call("constant", array, made.value)
        case init.Normal():
            return call("normal", array, rng, std=made.std, mean=made.mean)
        case init.Uniform():
            return call("uniform", array, rng, made.low, made.high)
        case init.TruncatedNormal():
            return call("truncated_normal", array, rng, std=made.std, mean=made.mean)
        case init.Orthogonal():
            gain = {} if made.gain == 1 else {"gain": made.gain}
            return call("orthogonal", array, rng, **gain)
        case init.Scaled() if getattr(made, "truncated", False):
            return call("truncated_normal", array, rng, std=made.std(*fans) / init.TRUNCATION)
        case init.TorchDefault():
            limit = made.limit(*fans)
            return call("uniform", array, rng, -limit, limit)
        case init.HeUniform() | init.GlorotUniform() | init.LecunUniform() if vector:
            limit = made.limit(*fans)
            return call("uniform", array, rng, -limit, limit)
        case init.Scaled() if vector:
            return call("normal", array, rng, std=made.std(*fans))
        case init.HeNormal() | init.HeUniform():
            options: dict[str, object] = {"slope": made.slope} if made.slope else {}
            if made.mode == "fan_out":
                options["fan"] = "out"
            return call(made.key, array, rng, **options)
        case init.GlorotNormal() | init.GlorotUniform():
            gain = {} if made.gain == 1 else {"gain": made.gain}
            return call(made.key, array, rng, **gain)
        case init.Scaled():
            return call(made.key, array, rng)
        case _:
            raise TypeError(f"no spelling for {made!r}")


def native_default(op: Op, param: Param) -> bool:
    """Whether the layer's constructor leaves the parameter so."""
    starts = COLUMN.starts(type(op))
    if starts is not None:
        return param.init == starts.get(param.name)
    if isinstance(op, PRelu):
        return param.init == init.Constant(value=0.25)
    if isinstance(op, LayerScale):
        return param.init == init.Constant(value=1e-6)
    if isinstance(op, Norm) and param.name == "weight":
        return param.init == init.Ones()
    return param.init == init.Zeros()


def lines_of(node: Holder, target: str) -> list[str]:
    """The statements that one layer needs."""
    return [
        str(spell(param, target))
        for param in node.params
        if not param.statistic and not native_default(node.op, param)
    ]


def write(graph: Graph, writer: Writer) -> bool:
    """One loop for what most layers need, a line for each exception; whether any was written."""
    owned = (node for node in graph.nodes if node.owner is None and node.params)
    owners = [holder for node in owned for holder in holders(node)]
    looped: dict[tuple[str, ...], list[str]] = {}
    done: dict[str, tuple[str, ...]] = {}
    biased: set[str] = set()
    for kind in KINDS:
        nodes = [node for node in owners if type(node.op).__name__ == kind]
        if nodes and all(any(p.name == "bias" for p in node.params) for node in nodes):
            biased.add(kind)
        if len(nodes) > 1:
            common = _most_common([tuple(lines_of(node, "layer")) for node in nodes])
            if common and not any("-" in line and "uniform" in line for line in common):
                looped.setdefault(common, []).append(kind)
                done[kind] = common
    if looped:
        with writer.indented("for _, layer in self.layers():"):
            for index, (lines, kinds) in enumerate(looped.items()):
                classes = kinds[0] if len(kinds) == 1 else f"({', '.join(kinds)})"
                keyword = "elif" if index else "if"
                with writer.indented(f"{keyword} isinstance(layer, {classes}):"):
                    for line in lines:
                        if '"bias"' in line and not biased.issuperset(kinds):
                            with writer.indented('if "bias" in layer.parameters:'):
                                writer.line(line)
                        else:
                            writer.line(line)
    wrote = bool(looped)
    exceptions: list[tuple[str, str]] = []
    for node in owners:
        in_loop = done.get(type(node.op).__name__, ())
        for param in node.params:
            if param.statistic or str(spell(param, "layer")) in in_loop:
                continue
            given = any(f'"{param.name}"' in line for line in in_loop)
            # What the loop has filled, and should be the default, is filled again.
            if given or not native_default(node.op, param):
                exceptions.append((node.id, str(spell(param, "layer"))))
    named, rest = by_name(exceptions, [node.id for node in owners])
    if named:
        with writer.indented("for path, layer in self.layers():"):
            for end, statements in named.items():
                with writer.indented(f"if path.endswith({literal(end)}):"):
                    for statement in statements:
                        writer.line(statement)
    for id, statement in rest:
        writer.line(statement.replace("(layer.", f"({live(id)}.", 1))
    wrote = wrote or bool(exceptions)
    return wrote


def _most_common(choices: Sequence[tuple[str, ...]]) -> tuple[str, ...]:
    return Counter(choices).most_common(1)[0][0]


def live(path: str) -> str:
    """How emitted code reaches a layer; parts of a sequence go by `part`."""
    found = "self"
    for name in path.split("."):
        found += f".child({literal(name)})" if name.isdigit() else f".{name}"
    return found
