"""Which variable of a Keras layer is which parameter, and the functions of the file that know."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from cnnspec.backends.base import Slot
from cnnspec.backends.keras.cells import conv_family, norm
from cnnspec.backends.writer import Writer, literal
from cnnspec.graph import Graph, Node
from cnnspec.ops.base import Op, Param
from cnnspec.ops.norm import Norm
from cnnspec.ops.rbf import Rbf

VARIABLES = {
    "kernel": "weight",
    "depthwise_kernel": "depthwise.weight",
    "pointwise_kernel": "pointwise.weight",
    "bias": "bias",
    "gamma": "weight",
    "beta": "bias",
    "moving_mean": "running_mean",
    "moving_variance": "running_var",
    "weight": "weight",
}
"""Name of a variable of a Keras layer -> its canonical name; a separable layer's bias is not."""


def variable(node: Node[Op], param: Param) -> str:
    """The name of a parameter in its Keras layer."""
    found = norm.variable(node, param) or conv_family.variable(node, param)
    if found is not None:
        return found
    if param.name == "weight" and _has_kernel(node.op, param):
        return "kernel"
    return param.name


def _has_kernel(op: Op, param: Param) -> bool:
    return len(param.shape) > 1 and not isinstance(op, (Norm, Rbf))


def slots(graph: Graph) -> dict[str, Slot]:
    """Where each parameter lives, by its canonical name."""
    found = {}
    for node in graph.nodes:
        if node.owner is not None:
            continue
        for param in node.params:
            letters, own = param.layout, None
            name = variable(node, param)
            if name.endswith("kernel"):
                # The first axis becomes the last one, and space comes first.
                letters = letters[2:] + letters[1::-1]
                own = conv_family.apart(node, param)
                if own is not None:
                    letters = letters[:-2] + letters[:-3:-1]
            elif name in ("gamma", "beta"):
                letters = norm.letters(param)
            path = f"{node.id}/{name}"
            found[f"{node.id}.{param.name}"] = Slot(path, letters, param.layout, param.shape, own)
    return found


def takes_apart(graph: Graph) -> bool:
    """Whether `weights_by_name` gives a variable's axes as well."""
    return any(slot.own is not None for slot in slots(graph).values())


def entries(values: Mapping[str, str]) -> str:
    """What stands between the braces of a dict."""
    return ", ".join(f"{literal(name)}: {value}" for name, value in values.items())


def write(graph: Graph, writer: Writer) -> None:
    """Functions that read and write canonical names and layouts; the model is written already."""
    repeated = any("Repeated(" in line for line in writer.lines)
    _WeightFiles(graph, "all_layers(model)" if repeated else "model.layers").write(writer)


class _WeightFiles:
    def __init__(self, graph: Graph, layers: str) -> None:
        self.layers = layers
        owned = [
            (node, param) for node in graph.nodes if node.owner is None for param in node.params
        ]
        self.used = {variable(node, param) for node, param in owned}
        apart = [(n, p, own) for n, p in owned if (own := conv_family.apart(n, p)) is not None]
        self.apart = bool(apart)
        self.multiplied = any(own[-1] > 1 for _, _, own in apart)
        name = conv_family.layer_name
        self.alone = sorted({name(n) for n, p, _ in apart if variable(n, p) == "kernel"})
        self.renamed = sorted({name(n) for n, p in owned if p.name == "pointwise.bias"})
        self.wide = any(variable(n, p) == "gamma" and len(p.shape) > 1 for n, p in owned)

    def write(self, writer: Writer) -> None:
        table = {name: literal(own) for name, own in VARIABLES.items() if name in self.used}
        table |= {name: literal(name) for name in sorted(self.used - VARIABLES.keys())}
        found = "(variable, axes)" if self.apart else "variable"
        writer.blank(2)
        writer.line(f"CANONICAL = {{{entries(table)}}}")
        writer.blank(2)
        with writer.indented("def weights_by_name(model):"):
            if self.apart:
                writer.line('"""Canonical name -> variable, and its axes of outputs and inputs."""')
            else:
                writer.line('"""Canonical name -> variable."""')
            writer.line("found = {}")
            with (
                writer.indented(f"for layer in {self.layers}:"),
                writer.indented("for variable in layer.weights:"),
            ):
                self._entry(writer, found)
            writer.line("return found")
        writer.blank(2)
        with writer.indented("def load_weights(model, path):"):
            writer.line('"""Load a safetensors file of canonical names and layouts."""')
            writer.line("from safetensors.numpy import load_file")
            writer.blank()
            writer.line("state, variables = load_file(path), weights_by_name(model)")
            with writer.indented("if state.keys() != variables.keys():"):
                differing = "sorted(state.keys() ^ variables.keys())"
                writer.line(f'raise ValueError(f"{{path}} differs in {{{differing}}}")')
            with writer.indented(f"for name, {found} in variables.items():"):
                writer.line("value = state[name]")
                self._move(writer, "(0, 1)", "axes" if self.apart else "(-1, -2)")
                if self.wide:
                    _move_channels(writer, 0, -1)
                value = "value.reshape(variable.shape)" if self.multiplied else "value"
                writer.line(f"variable.assign({value})")
        writer.blank(2)
        with writer.indented("def save_weights(model, path):"):
            writer.line('"""Save parameters and running statistics under canonical names."""')
            writer.line("from safetensors.numpy import save_file")
            writer.blank()
            writer.line("state = {}")
            with writer.indented(f"for name, {found} in weights_by_name(model).items():"):
                writer.line("value = variable.numpy()")
                here = "axes" if self.apart else "(-1, -2)"
                self._move(writer, here, "(0, 1)", joined=self.multiplied)
                if self.wide:
                    _move_channels(writer, -1, 0)
                writer.line("state[name] = np.ascontiguousarray(value)")
            writer.line("save_file(state, path)")

    def _entry(self, writer: Writer, found: str) -> None:
        """One variable under its canonical name."""
        name = "CANONICAL[variable.name]"
        if self.apart:
            writer.line(f"apart = {' or '.join(self._kinds())}")
            found = "(variable, (-2, -1) if apart else (-1, -2))"
        if self.renamed:
            writer.line(f"name = {name}")
            with writer.indented(f'if name == "bias" and isinstance(layer, {_one(self.renamed)}):'):
                writer.line('name = "pointwise.bias"')
            name = "name"
        writer.line(f'found[f"{{layer.name}}.{{{name}}}"] = {found}')

    def _kinds(self) -> Iterator[str]:
        if self.alone:
            yield f"isinstance(layer, {_one(self.alone)})"
        if "depthwise_kernel" in self.used:
            yield 'variable.name == "depthwise_kernel"'

    def _move(self, writer: Writer, here: str, there: str, *, joined: bool = False) -> None:
        kernels = sorted(name for name in self.used if name.endswith("kernel"))
        if not kernels:
            return
        condition = f"variable.name == {literal(kernels[0])}"
        if len(kernels) > 1:
            condition = 'variable.name.endswith("kernel")'
        with writer.indented(f"if {condition}:"):
            if joined:
                with writer.indented("if axes == (-2, -1):"):
                    writer.line("value = value.reshape(*value.shape[:-2], -1, 1)")
            writer.line(f"value = np.moveaxis(value, {here}, {there})")


def _one(classes: list[str]) -> str:
    return classes[0] if len(classes) == 1 else f"({', '.join(classes)})"


def _move_channels(writer: Writer, here: int, there: int) -> None:
    """Of a norm's weight and bias with several axes."""
    with writer.indented('if variable.name in ("gamma", "beta"):'):
        writer.line(f"value = np.moveaxis(value, {here}, {there})")
