"""Wrong arguments: numbers, flags and words in what makes a layer, or in the call of a function."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from cnnspec.check.selftest.operators import operator
from cnnspec.check.selftest.source import Mutant, Region, Source

GEOMETRY = {
    "crops", "dilation", "dilation_rate", "groups", "kernel", "output_padding", "pads", "padding",
    "size", "stride", "strides",
}  # fmt: skip
EPS = {
    "BatchNorm": "eps", "BatchNorm1d": "eps", "BatchNorm2d": "eps", "BatchNorm3d": "eps",
    "GroupNorm": "eps", "LayerNorm": "eps", "InstanceNorm1d": "eps", "InstanceNorm2d": "eps",
    "InstanceNorm3d": "eps",
}  # fmt: skip
"""What makes a norm, and what its eps is called, which stays out of the text by default."""
OTHER_WORD = {
    "reflect": "replicate", "replicate": "reflect", "circular": "replicate",
    "bilinear": "nearest", "linear": "nearest", "bicubic": "bilinear", "cubic": "linear",
    "biased": "unbiased", "unbiased": "biased",
}  # fmt: skip
OTHER_FUNCTION = {
    "F.relu": "F.silu", "F.silu": "F.mish", "F.gelu": "F.silu", "F.elu": "F.silu",
    "F.mish": "F.silu", "F.relu6": "F.relu", "F.selu": "F.elu", "F.hardtanh": "F.tanh",
    "torch.tanh": "torch.sigmoid", "torch.sigmoid": "torch.tanh",
    "nn.ReLU": "nn.SiLU", "nn.SiLU": "nn.Mish", "nn.GELU": "nn.SiLU", "nn.Tanh": "nn.Sigmoid",
    "nn.Sigmoid": "nn.Tanh", "nn.ReLU6": "nn.ReLU", "nn.Hardtanh": "nn.Tanh",
    "relu": "relu6", "relu6": "relu", "tanh": "sigmoid", "sigmoid": "tanh", "silu": "mish",
}  # fmt: skip
OTHER_ACTIVATION = {
    "relu": "silu", "relu6": "relu", "silu": "mish", "mish": "silu", "tanh": "sigmoid",
    "sigmoid": "tanh", "softplus": "silu", "hard_sigmoid": "sigmoid", "hard_swish": "silu",
    "softsign": "tanh",
}  # fmt: skip


def number(node: ast.AST) -> float | int | None:
    """The number that a literal stands for; None for anything else, flags included."""
    if isinstance(node, ast.Constant) and type(node.value) in (int, float):
        value = node.value
        assert isinstance(value, (int, float))
        return value
    return None


def changed(value: float | int) -> str:
    """Another number of the same kind: a tenth less, or one more."""
    if isinstance(value, int):
        return repr(value + 1)
    return repr(value * 0.9 if value else 0.1)


def keyword_of(source: Source, node: ast.AST) -> str:
    """The keyword that an argument, or a tuple around it, is given by; empty for a positional."""
    parent = source.parents[node]
    while isinstance(parent, (ast.Tuple, ast.List, ast.UnaryOp)):
        parent = source.parents[parent]
    return parent.arg or "" if isinstance(parent, ast.keyword) else ""


def is_argument(source: Source, node: ast.AST) -> bool:
    """Whether it is an argument of a call, by itself or in a tuple."""
    parent = source.parents[node]
    while isinstance(parent, (ast.Tuple, ast.List, ast.UnaryOp, ast.keyword)):
        parent = source.parents[parent]
    return isinstance(parent, ast.Call)


@operator("number changed")
def _number(source: Source) -> Iterator[Mutant]:
    """A float anywhere in what makes or calls a layer: eps, momentum, slope, probability, scale."""
    for node, region in source.inside("layer"):
        value = number(node)
        if isinstance(value, float) and is_argument(source, node):
            yield source.replacing("number changed", node, changed(value), region)


@operator("geometry changed")
def _geometry(source: Source) -> Iterator[Mutant]:
    """Stride, padding, dilation, groups; where the shape does not survive, the text fails."""
    for node, region in source.inside("layer"):
        value = number(node)
        if isinstance(value, int) and keyword_of(source, node) in GEOMETRY:
            yield source.replacing("geometry changed", node, changed(value), region)


@operator("axes or sides exchanged")
def _exchanged(source: Source) -> Iterator[Mutant]:
    """Two different numbers of a tuple: before and behind, height and width, an order of axes."""
    for node, region in source.inside("layer"):
        if not (isinstance(node, ast.Tuple) and len(node.elts) > 1 and is_argument(source, node)):
            continue
        for first, second in zip(node.elts, node.elts[1:], strict=False):
            a, b = source.text.source(first), source.text.source(second)
            literal = number(first) is not None and number(second) is not None
            pair = isinstance(first, ast.Tuple) and isinstance(second, ast.Tuple)
            if a != b and (literal or pair):
                yield source.replacing("axes or sides exchanged", first, b, region, (second, a))


@operator("dilated instead of dense")
def _dilated(source: Source) -> Iterator[Mutant]:
    """Dilation 2 with one more element of padding, which keeps the shape of a kernel of 3."""
    spelled = {
        "pads": "dilation",
        "padding": "dilation",
    }
    for node, region in source.inside("layer"):
        if not isinstance(node, ast.Call) or _keyword(node, "dilation") is not None:
            continue
        if _keyword(node, "dilation_rate") is not None or not _has_kernel_of_3(node):
            continue
        for name, dilation in spelled.items():
            pads = _keyword(node, name)
            if pads is not None and isinstance(number(pads), int):
                new = f"{int(number(pads) or 0) + 1}, {dilation}=2"
                yield source.replacing("dilated instead of dense", pads, new, region)
            elif isinstance(pads, ast.Constant) and pads.value == "same":
                yield source.replacing(
                    "dilated instead of dense", pads, f"{pads.value!r}, dilation_rate=2", region
                )


def _keyword(call: ast.Call, name: str) -> ast.expr | None:
    return next((k.value for k in call.keywords if k.arg == name), None)


def _has_kernel_of_3(call: ast.Call) -> bool:
    for argument in call.args[1:]:
        sizes = argument.elts if isinstance(argument, ast.Tuple) else [argument]
        if sizes and all(number(size) == 3 for size in sizes):
            return True
    return False


@operator("flag turned")
def _flag(source: Source) -> Iterator[Mutant]:
    """A flag that is no parameter's presence: `ceil_mode`, `align_corners`, `flip`."""
    fixed = {"bias", "affine", "use_bias", "center", "scale", "keepdim", "inplace"}
    for node, region in source.inside("layer"):
        if isinstance(node, ast.Constant) and isinstance(node.value, bool):
            name = keyword_of(source, node)
            if name and name not in fixed:
                yield source.replacing("flag turned", node, repr(not node.value), region)


@operator("another mode")
def _word(source: Source) -> Iterator[Mutant]:
    """Another word: of padding, of interpolation, of the running variance."""
    for node, region in source.inside("layer"):
        if isinstance(node, ast.Constant) and node.value in OTHER_WORD and _plain(source, node):
            new = repr(OTHER_WORD[str(node.value)])
            yield source.replacing("another mode", node, new, region)


def _plain(source: Source, node: ast.AST) -> bool:
    return is_argument(source, node) and keyword_of(source, node) != "name"


@operator("eps of another framework")
def _eps(source: Source) -> Iterator[Mutant]:
    """A norm whose eps stays out of the text gets Keras' 1e-3."""
    for node, region in source.inside("layer"):
        if not isinstance(node, ast.Call):
            continue
        last = source.text.source(node.func).rpartition(".")[2]
        if last in EPS and node.args and _keyword(node, EPS[last]) is None:
            final = [*node.args, *(k.value for k in node.keywords)][-1]
            new = f"{source.text.source(final)}, {EPS[last]}=0.001"
            yield source.replacing("eps of another framework", final, new, region)


@operator("another activation")
def _activation(source: Source) -> Iterator[Mutant]:
    """A function of one element for another one."""
    known = {item.name for item in source.tree.body if isinstance(item, ast.FunctionDef)}
    for node, region in source.inside("layer"):
        if not isinstance(node, ast.Call):
            continue
        name = source.text.source(node.func)
        new = OTHER_FUNCTION.get(name)
        if new is not None and ("." in new or new in known):
            yield source.replacing("another activation", node.func, new, region)
        if name == "layers.Activation":
            yield from _keras_activation(source, node, region)
        if name == "layers.ReLU" and not node.args:
            yield source.replacing("another activation", node.func, "layers.LeakyReLU", region)


def _keras_activation(source: Source, node: ast.Call, region: Region) -> Iterator[Mutant]:
    (word, *_) = node.args
    if isinstance(word, ast.Constant) and word.value in OTHER_ACTIVATION:
        new = repr(OTHER_ACTIVATION[str(word.value)])
        yield source.replacing("another activation", word, new, region)
