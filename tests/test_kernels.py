"""Kernels other than windows, and the rules their text keeps."""

from __future__ import annotations

import ast
import builtins
import hashlib
import symtable
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import special

from cnnspec.backends.numpy import kernels
from cnnspec.backends.numpy.kernels import activation, initializer
from cnnspec.backends.numpy.kernels.annotations import Array, Forward
from cnnspec.backends.numpy.kernels.base import Layer, Model, Sequential
from cnnspec.backends.numpy.kernels.conv import Conv
from cnnspec.backends.numpy.kernels.dense import Dense
from cnnspec.backends.numpy.kernels.dropout import CounterDropout, CounterModel, Dropout, philox
from cnnspec.backends.numpy.kernels.loss import cross_entropy, squared_error
from cnnspec.backends.numpy.kernels.merge import add, concat
from cnnspec.backends.numpy.kernels.moments import Adam
from cnnspec.backends.numpy.kernels.norm import BatchNorm, rescale
from cnnspec.backends.numpy.kernels.optimizer import SGD
from cnnspec.backends.numpy.kernels.pool import max_pool
from cnnspec.backends.numpy.kernels.rbf import Rbf
from cnnspec.backends.numpy.kernels.reshape import flatten

FOLDER = Path(kernels.__file__).parent
ANNOTATIONS = "annotations.py"

# --- the text ----------------------------------------------------------------------------------


def sources() -> Iterator[tuple[str, ast.Module]]:
    for path in sorted(FOLDER.glob("*.py")):
        if path.name not in {ANNOTATIONS, "__init__.py"}:
            yield path.name, ast.parse(path.read_text(encoding="utf-8"))


class Strip(ast.NodeTransformer):
    """Remove annotations."""

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        self.generic_visit(node)
        node.returns = None
        return node

    def visit_arg(self, node: ast.arg) -> ast.AST:
        node.annotation = None
        return node

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST:
        assert node.value is not None
        return ast.copy_location(ast.Assign([node.target], node.value), node)


def definitions() -> dict[str, str]:
    found: dict[str, str] = {}
    for file, tree in sources():
        for node in tree.body:
            if isinstance(node, ast.FunctionDef | ast.ClassDef):
                assert node.name not in found, f"{file}: {node.name} is defined twice"
                stripped = ast.fix_missing_locations(Strip().visit(ast.Module([node], [])))
                found[node.name] = ast.unparse(stripped)
    return found


def names(table: symtable.SymbolTable) -> Iterator[tuple[str, bool]]:
    """Every name used in a scope or below: (name, whether it is a global)."""
    for symbol in table.get_symbols():
        if table.get_type() != "module" and (symbol.is_global() or symbol.is_local()):
            yield symbol.get_name(), symbol.is_global()
    for child in table.get_children():
        yield from names(child)


def test_every_file_holds_imports_functions_and_classes_only() -> None:
    allowed = {"math", "hashlib", "contextvars", "numpy", "scipy"}
    allowed |= {"typing", "collections.abc", "__future__"}
    for file, tree in sources():
        assert ast.get_docstring(tree), file
        for node in tree.body[1:]:
            if isinstance(node, ast.Import):
                assert {a.name for a in node.names} <= allowed, file
            elif isinstance(node, ast.ImportFrom):
                assert str(node.module).startswith("cnnspec.") or node.module in allowed, file
            else:
                assert isinstance(node, ast.FunctionDef | ast.ClassDef), (file, node.lineno)
        for part in ast.walk(tree):
            if isinstance(part, ast.FunctionDef | ast.ClassDef):
                assert not part.decorator_list, (file, part.name)
            if isinstance(part, ast.Attribute) and part.attr.startswith("__"):
                assert part.attr == "__init__", (file, part.lineno)


def test_free_names_are_numpy_builtins_or_other_kernels() -> None:
    found = definitions()
    allowed = {"np", "math", "hashlib", "contextvars", "special", *dir(builtins), *found}
    for name, text in found.items():
        for used, is_global in names(symtable.symtable(text, name, "exec")):
            if is_global:
                assert used in allowed, f"{name} uses {used}"


def test_no_local_name_hides_a_kernel() -> None:
    found = definitions()
    for name, text in found.items():
        tree = ast.parse(text)
        methods = {n.name for n in ast.walk(tree) if isinstance(n, ast.FunctionDef)} | {name}
        for used, is_global in names(symtable.symtable(text, name, "exec")):
            assert is_global or used not in found or used in methods, f"{name} hides {used}"


def base_first(text: str) -> int:
    """Classes after the classes they derive from."""
    head = text.partition("\n")[0]
    bases = {"class Layer:", "class Model:", "class Optimizer:"}
    return 0 if head in bases else 1 + ("(Counter" in head)


def test_the_definitions_run_without_cnnspec() -> None:
    text = "\n\n".join(
        [
            "import contextvars\nimport hashlib\nimport math",
            "import numpy as np\nfrom scipy import special",
            *sorted(definitions().values(), key=base_first),
        ]
    )
    assert "cnnspec" not in text
    scope: dict[str, Any] = {}
    exec(compile(text, "emitted", "exec"), scope)  # noqa: S102 - our own text
    net = scope["Sequential"](
        scope["Conv"](1, 2, (3, 3), pads=1),
        scope["BatchNorm"](2),
        scope["relu"],
        lambda x: scope["max_pool"](x, 2),
        scope["flatten"],
        scope["Dense"](8, 3),
        scope["CounterDropout"](0.5, 1),
    )
    rng = np.random.default_rng(0)
    for array in net.parameters().values():
        scope["normal"](array, rng)
    y, backward = net.forward(rng.standard_normal((2, 1, 4, 4)).astype(np.float32), True)
    (_, weight), g = scope["cross_entropy"](y, np.array([0, 2]))
    backward(g / weight)
    scope["Adam"](net).step(net.gradients(), 0.1)
    assert all(np.isfinite(a).all() for a in net.state().values())


# --- slopes ------------------------------------------------------------------------------------


def slope(f: Callable[[], Any], array: Array, g: Array, h: float = 1e-6) -> Array:
    """Central differences of sum(g * f()) in every element of `array`, which f reads."""
    result = np.zeros_like(array)
    for index in np.ndindex(array.shape):
        value = array[index]
        array[index] = value + h
        up = np.array(f())
        array[index] = value - h
        result[index] = ((up - f()) * g).sum() / (2 * h)
        array[index] = value
    return result


def check(forward: Callable[[Array], Forward], x: Array, layer: Layer | None = None) -> Array:
    """Gradients are slopes, arguments stay as they are, float32 stays float32; returns y."""
    y, backward = forward(x)
    g = np.random.default_rng(1).standard_normal(y.shape)
    before, g_before = x.copy(), g.copy()
    gx = backward(g)
    np.testing.assert_array_equal(x, before)
    np.testing.assert_array_equal(g, g_before)
    np.testing.assert_allclose(gx, slope(lambda: forward(x)[0], x, g), rtol=0, atol=2e-8)
    if layer is not None:
        assert layer.gradients.keys() == layer.parameters.keys()
        for name, gradient in layer.gradients.items():
            array = layer.parameters[name]
            assert gradient.shape == array.shape
            found = slope(lambda: forward(x)[0], array, g)
            np.testing.assert_allclose(gradient, found, rtol=0, atol=2e-8)
        layer.gradients = {}
        for arrays in (layer.parameters, layer.statistics):
            arrays.update({k: v.astype(np.float32) for k, v in arrays.items()})
    small, small_backward = forward(x.astype(np.float32))
    assert small.dtype == np.float32
    np.testing.assert_allclose(small, y, rtol=1e-4, atol=1e-5)
    assert small_backward(small).dtype == np.float32
    if layer is not None:
        assert all(a.dtype == np.float32 for a in layer.gradients.values())
        assert all(a.dtype == np.float32 for a in layer.statistics.values())
    return y


def randomised(layer: Layer, seed: int = 0) -> Any:
    rng = np.random.default_rng(seed)
    for name, array in layer.parameters.items():
        assert array.dtype == np.float32
        layer.parameters[name] = rng.standard_normal(array.shape)
    for name, array in layer.statistics.items():
        layer.statistics[name] = rng.uniform(0.5, 2, array.shape)
    return layer


SHAPES = [(3, 4), (2, 3, 5), (2, 3, 2, 4), (2, 2, 2, 3, 2)]


@pytest.mark.parametrize("bias", [True, False])
def test_dense(bias: bool) -> None:
    layer = randomised(Dense(5, 4, bias=bias))
    x = np.random.default_rng(0).standard_normal((3, 5))
    weight = layer.parameters["weight"].copy()
    extra = layer.parameters["bias"].copy() if bias else 0
    y = check(layer.forward, x, layer)
    np.testing.assert_allclose(y, np.einsum("ni,oi->no", x, weight) + extra, rtol=0, atol=1e-14)


def test_rbf() -> None:
    layer = randomised(Rbf(5, 4))
    x = np.random.default_rng(0).standard_normal((3, 5))
    weight = layer.parameters["weight"].copy()
    y = check(layer.forward, x, layer)
    expected = [[((row - unit) ** 2).sum() for unit in weight] for row in x]
    np.testing.assert_allclose(y, expected, rtol=0, atol=1e-14)


@pytest.mark.parametrize("shape", SHAPES)
def test_flatten_and_rescale(shape: tuple[int, ...]) -> None:
    x = np.random.default_rng(0).standard_normal(shape)
    assert check(flatten, x).shape == (shape[0], x[0].size)
    y = check(lambda x: rescale(x, 2.5, -1.0), x)
    np.testing.assert_array_equal(y, 2.5 * x - 1)


def test_add_and_concat() -> None:
    rng = np.random.default_rng(0)
    xs = [rng.standard_normal((2, 3, 4)) for _ in range(3)]
    y, backward = add(*xs)
    np.testing.assert_array_equal(y, xs[0] + xs[1] + xs[2])
    assert all((g == y).all() for g in backward(y))
    assert len(backward(y)) == 3
    parts = [xs[0], xs[1][:, :1], xs[2][:, :2]]
    joined, split = concat(*parts)
    assert joined.shape == (2, 6, 4)
    for part, g in zip(parts, split(joined), strict=True):
        np.testing.assert_array_equal(part, g)


# --- activations -------------------------------------------------------------------------------

DEFINITIONS: dict[str, Callable[[Array], Array]] = {
    "relu": lambda x: x * (x > 0),
    "leaky_relu": lambda x: np.where(x > 0, x, 0.01 * x),
    "elu": lambda x: np.where(x > 0, x, np.expm1(np.minimum(x, 0))),
    "selu": lambda x: (
        1.0507009873554805 * np.where(x > 0, x, 1.6732632423543772 * np.expm1(np.minimum(x, 0)))
    ),
    "sigmoid": special.expit,
    "silu": lambda x: x * special.expit(x),
    "tanh": np.tanh,
    "gelu": lambda x: x / 2 * (1 + special.erf(x / np.sqrt(2))),
    "softmax": lambda x: special.softmax(x, axis=1),
}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", DEFINITIONS)
def test_activations(name: str, shape: tuple[int, ...]) -> None:
    x = 3 * np.random.default_rng(0).standard_normal(shape)
    y = check(getattr(activation, name), x)
    np.testing.assert_allclose(y, DEFINITIONS[name](x), rtol=0, atol=1e-15)


@pytest.mark.parametrize("channels", [3, 1])
def test_prelu(channels: int) -> None:
    layer = activation.PRelu(channels)
    assert layer.parameters["weight"].tolist() == [0.25] * channels
    x = np.random.default_rng(0).standard_normal((2, 3, 4))
    layer = randomised(layer)
    weight = layer.parameters["weight"].copy()
    y = check(layer.forward, x, layer)
    np.testing.assert_array_equal(y, np.where(x > 0, x, weight.reshape(-1, 1) * x))


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (activation.relu, 0.0),
        (activation.leaky_relu, 0.01),
        (lambda x: activation.elu(x, 0.7), 0.7),
        (activation.selu, 1.0507009873554804934 * 1.6732632423543772848),
        (activation.PRelu(1).forward, 0.25),
    ],
)
def test_at_a_kink_the_negative_side_counts(
    function: Callable[[Array], Forward], expected: float
) -> None:
    for zero in (0.0, -0.0):
        x = np.full((1, 1), zero)
        _, backward = function(x)
        np.testing.assert_allclose(backward(np.ones((1, 1))), [[expected]], rtol=1e-15)


@pytest.mark.parametrize("name", DEFINITIONS)
def test_activations_at_large_arguments(name: str) -> None:
    for dtype in (np.float32, np.float64):
        x = np.array([[-1000.0, 1000.0, -80.0, 80.0]], dtype)
        y, backward = getattr(activation, name)(x)
        gx = backward(np.ones_like(x))
        assert np.isfinite(y).all()
        assert np.isfinite(gx).all()


# --- batch norm --------------------------------------------------------------------------------


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("affine", [True, False])
@pytest.mark.parametrize("shape", SHAPES)
def test_batch_norm(shape: tuple[int, ...], affine: bool, training: bool) -> None:
    layer = randomised(BatchNorm(shape[1], affine=affine))
    x = np.random.default_rng(0).standard_normal(shape) * 2 + 1
    check(lambda x: layer.forward(x, training), x, layer)


@pytest.mark.parametrize("running_var", ["unbiased", "biased"])
@pytest.mark.parametrize("shape", SHAPES)
def test_batch_norm_moves_its_running_statistics(shape: tuple[int, ...], running_var: str) -> None:
    rng = np.random.default_rng(0)
    layer = randomised(BatchNorm(shape[1], momentum=0.3, running_var=running_var))
    mean, variance = (layer.statistics[k].copy() for k in ("running_mean", "running_var"))
    for _ in range(3):
        x = rng.standard_normal(shape) * 2 + 1
        layer.forward(x, True)
        values = np.moveaxis(x, 1, 0).reshape(shape[1], -1)
        mean = 0.7 * mean + 0.3 * values.mean(1)
        variance = 0.7 * variance + 0.3 * values.var(1, ddof=running_var == "unbiased")
    np.testing.assert_allclose(layer.statistics["running_mean"], mean, rtol=0, atol=1e-15)
    np.testing.assert_allclose(layer.statistics["running_var"], variance, rtol=0, atol=1e-14)
    still = layer.statistics["running_mean"].copy()
    y, _ = layer.forward(x)
    np.testing.assert_array_equal(layer.statistics["running_mean"], still)
    weight, bias = (
        layer.parameters[k].reshape(-1, *(1 for _ in shape[2:])) for k in ("weight", "bias")
    )
    along = (1, -1, *(1 for _ in shape[2:]))
    expected = (x - mean.reshape(along)) / np.sqrt(variance.reshape(along) + 1e-5) * weight + bias
    np.testing.assert_allclose(y, expected, rtol=0, atol=1e-14)


def test_batch_norm_agrees_with_torch() -> None:
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    layer = randomised(BatchNorm(3))
    other = torch.nn.BatchNorm2d(3, dtype=torch.float64)
    state = {**layer.parameters, **layer.statistics}
    other.load_state_dict({k: torch.tensor(v) for k, v in state.items()}, strict=False)
    for training in (True, False):
        other.train(training)
        x = rng.standard_normal((4, 3, 5, 6))
        tx = torch.tensor(x, requires_grad=True)
        y, backward = layer.forward(x, training)
        ty = other(tx)
        ty.backward(torch.tensor(y))
        np.testing.assert_allclose(y, ty.detach().numpy(), rtol=0, atol=1e-14)
        np.testing.assert_allclose(backward(y), tx.grad.numpy(), rtol=0, atol=1e-14)
    for name in ("running_mean", "running_var"):
        expected = getattr(other, name).numpy()
        np.testing.assert_allclose(layer.statistics[name], expected, rtol=0, atol=1e-15)


def test_batch_norm_refuses_a_single_value_per_channel() -> None:
    with pytest.raises(ValueError, match="several values"):
        BatchNorm(2).forward(np.ones((1, 2, 1, 1), np.float32), True)
    BatchNorm(2).forward(np.ones((1, 2, 1, 1), np.float32))


# --- random layers -----------------------------------------------------------------------------


def test_philox_known_answers() -> None:
    zero = philox((0, 0, 0, 0), (0, 0))
    assert zero == (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)
    top = np.full(1, 0xFFFFFFFF, np.uint64)
    words = philox((top, top, 0xFFFFFFFF, 0xFFFFFFFF), (0xFFFFFFFF, 0xFFFFFFFF))
    assert [int(w[0]) for w in words] == [0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD]


class Noisy(CounterModel):
    def __init__(self, p: float = 0.3, seed: int = 0) -> None:
        self.dropout1 = CounterDropout(p, seed)
        self.tail = Sequential(activation.relu, CounterDropout(p, seed))
        self.name_random_layers()


def test_random_layers_are_told_their_names_and_positions() -> None:
    net = Noisy()
    assert net.dropout1.layer_id == 3594444351
    tail = dict(net.layers())["tail.1"]
    assert isinstance(tail, CounterDropout)
    assert tail.layer_id == int.from_bytes(
        hashlib.blake2b(b"tail.1", digest_size=4).digest(), "little"
    )
    net.at(7, 3)
    assert [(x.step, x.first) for x in (net.dropout1, tail)] == [(7, 3), (7, 3)]


@pytest.mark.parametrize("shape", [(8, 3, 5, 7), (6, 5), (5, 1), (9, 2, 3)])
def test_a_mask_follows_its_definition_and_its_slices(shape: tuple[int, ...]) -> None:
    seed, step, p = 5 + (9 << 32), 4, 0.3
    layer = CounterDropout(p, seed)
    layer.layer_id, layer.step = 123456789, step
    mask = layer.keep(shape, p)
    flat = mask.reshape(-1)
    for i in range(flat.size):
        words = philox((i // 4, 0, step, 123456789), (5, 9))
        assert flat[i] == (words[i % 4] >= int(p * 2**32))
    for first in range(shape[0]):
        layer.first = first
        np.testing.assert_array_equal(layer.keep((shape[0] - first, *shape[1:]), p), mask[first:])
    layer.first = 1
    np.testing.assert_array_equal(layer.keep((2, *shape[1:]), p), mask[1:3])


def test_a_position_beyond_32_bits() -> None:
    layer = CounterDropout(0.5, 0)
    layer.first = 3 << 35
    words = philox(((3 << 33) & 0xFFFFFFFF, 3 << 33 >> 32, 0, 0), (0, 0))
    assert layer.keep((4, 1), 0.5)[:, 0].tolist() == [w >= 1 << 31 for w in words]


def test_masks_are_uniform_and_independent() -> None:
    layer = CounterDropout(0.3, 11)
    masks = []
    for step in range(2):
        layer.step = step
        masks.append(layer.keep((1000, 200), 0.3).reshape(-1) - 0.7)
    bound = 5 / np.sqrt(masks[0].size)
    assert abs(masks[0].mean()) < bound * 0.46
    assert abs((masks[0] * masks[1]).mean()) < bound
    assert abs((masks[0][1:] * masks[0][:-1]).mean()) < bound


@pytest.mark.parametrize("kind", [Dropout, CounterDropout])
def test_dropout(kind: type[Dropout] | type[CounterDropout]) -> None:
    x = np.random.default_rng(0).standard_normal((20, 30)).astype(np.float32)
    layer: Any = kind(0.25)
    y, backward = layer.forward(x)
    assert y is x
    assert backward(x) is x
    y, backward = layer.forward(x, True)
    kept = y != 0
    assert 0.6 < kept.mean() < 0.9
    assert y.dtype == np.float32
    np.testing.assert_allclose(y, np.where(kept, x / 0.75, 0), rtol=1e-6)
    np.testing.assert_allclose(backward(x), y, rtol=1e-6)
    same, _ = kind(0.0).forward(x, True)
    np.testing.assert_array_equal(same, x)
    y, backward = kind(1.0).forward(x, True)
    assert not y.any()
    assert not backward(x).any()


# --- losses ------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(4, 5), (3, 4, 6), (2, 3, 4, 5)])
def test_cross_entropy(shape: tuple[int, ...]) -> None:
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    z = rng.standard_normal(shape)
    labels = rng.integers(0, shape[1], (shape[0], *shape[2:]))
    before = z.copy()
    (total, weight), gradient = cross_entropy(z, labels)
    np.testing.assert_array_equal(z, before)
    assert weight == labels.size
    found = slope(lambda: np.float64(cross_entropy(z, labels)[0][0]), z, np.ones(()))
    np.testing.assert_allclose(gradient, found, rtol=0, atol=1e-8)
    tz = torch.tensor(z, requires_grad=True)
    loss = torch.nn.functional.cross_entropy(tz, torch.tensor(labels), reduction="sum")
    loss.backward()
    np.testing.assert_allclose(total, loss.item(), rtol=1e-15)
    np.testing.assert_allclose(gradient, tz.grad.numpy(), rtol=0, atol=1e-15)


def test_cross_entropy_is_stable() -> None:
    z = np.array([[1000.0, -1000.0], [0.0, 3000.0]], np.float32)
    (total, _), gradient = cross_entropy(z, np.array([1, 1]))
    assert total == 2000
    assert gradient.dtype == np.float32
    np.testing.assert_array_equal(gradient, [[1, -1], [0, 0]])


def test_squared_error() -> None:
    rng = np.random.default_rng(0)
    y, target = rng.standard_normal((2, 3, 4)), rng.standard_normal((2, 3, 4))
    (total, weight), gradient = squared_error(y, target)
    np.testing.assert_allclose(total, ((y - target) ** 2).sum(), rtol=1e-15)
    assert weight == 24
    np.testing.assert_array_equal(gradient, 2 * (y - target))


# --- models ------------------------------------------------------------------------------------


class Block(Model):
    def __init__(self, channels: int) -> None:
        self.conv = Conv(channels, channels, (3, 3), pads=1)
        self.norm = BatchNorm(channels)

    def forward(self, x: Array, training: bool = False) -> Forward:
        y, conv_backward = self.conv.forward(x, training)
        y, norm_backward = self.norm.forward(y, training)
        (y, add_backward) = add(x, y)

        def backward(g: Array) -> Array:
            gx, g = add_backward(g)
            return gx + conv_backward(norm_backward(g))

        return y, backward


class Net(Model):
    def __init__(self) -> None:
        self.size = 4
        self.blocks = [Block(2), Block(2)]
        self.named = {"left": Dense(3, 3)}
        self.head = Sequential(
            {
                "relu": activation.relu,
                "pool": lambda x: max_pool(x, 2),
                "flatten": flatten,
                "fc": Dense(8, 3),
            }
        )
        self.last = Sequential(self.named["left"], activation.tanh, self.named["left"])

    def forward(self, x: Array, training: bool = False) -> Forward:
        parts: list[Any] = [*self.blocks, self.head, self.last]
        return Sequential(*parts).forward(x, training)


def random_net() -> Net:
    net = Net().astype(np.float64)
    rng = np.random.default_rng(0)
    for array in net.parameters().values():
        array[...] = rng.standard_normal(array.shape)
    return net


def test_names_are_paths_and_a_shared_layer_has_its_first() -> None:
    net = Net()
    assert [name for name, _ in net.layers()] == [
        "blocks.0.conv",
        "blocks.0.norm",
        "blocks.1.conv",
        "blocks.1.norm",
        "named.left",
        "head.fc",
    ]
    assert list(net.state())[:6] == [
        "blocks.0.conv.weight",
        "blocks.0.conv.bias",
        "blocks.0.norm.weight",
        "blocks.0.norm.bias",
        "blocks.0.norm.running_mean",
        "blocks.0.norm.running_var",
    ]
    assert "blocks.0.norm.running_mean" not in net.parameters()


def test_a_whole_network_has_the_slopes_of_its_loss() -> None:
    net = random_net()
    rng = np.random.default_rng(1)
    x, labels = rng.standard_normal((3, 2, 4, 4)), np.array([0, 2, 1])
    y, backward = net.forward(x, True)
    _, gradient = cross_entropy(y, labels)
    gx = backward(gradient)
    gradients = net.gradients()
    assert gradients.keys() == net.parameters().keys()

    def loss() -> Any:
        return cross_entropy(net.forward(x, True)[0], labels)[0][0]

    one = np.ones(())
    np.testing.assert_allclose(gx, slope(loss, x, one), rtol=0, atol=1e-7)
    for name, array in net.parameters().items():
        np.testing.assert_allclose(
            gradients[name], slope(loss, array, one), rtol=0, atol=1e-7, err_msg=name
        )
    net.zero_gradients()
    assert net.gradients() == {}


def test_state_is_copied_in_place_and_checked() -> None:
    net, other = random_net(), Net()
    own = other.parameters()["head.fc.weight"]
    other.load_state(net.state())
    assert other.parameters()["head.fc.weight"] is own
    assert own.dtype == np.float32
    np.testing.assert_array_equal(own, net.parameters()["head.fc.weight"].astype(np.float32))
    state = other.state()
    with pytest.raises(ValueError, match=r"missing: \['head.fc.bias'\], unexpected: \['extra'\]"):
        other.load_state({k: v for k, v in state.items() if k != "head.fc.bias"} | {"extra": own})
    with pytest.raises(ValueError, match=r"head.fc.bias: \(2,\) instead of \(3,\)"):
        other.load_state(state | {"head.fc.bias": np.zeros(2)})


def test_weights_survive_a_file(tmp_path: Path) -> None:
    net, other = random_net(), random_net()
    path = str(tmp_path / "weights.safetensors")
    net.save_weights(path)
    for array in other.state().values():
        array[...] = 0
    other.load_weights(path)
    for name, array in net.state().items():
        np.testing.assert_array_equal(other.state()[name], array)


def test_astype_converts_everything() -> None:
    net = Net()
    assert {a.dtype for a in net.state().values()} == {np.dtype(np.float32)}
    assert net.astype(np.float64) is net
    assert {a.dtype for a in net.state().values()} == {np.dtype(np.float64)}


# --- optimizers --------------------------------------------------------------------------------

OPTIONS: list[tuple[type[SGD] | type[Adam], dict[str, Any]]] = [
    (SGD, {}),
    (SGD, {"weight_decay": 0.1}),
    (SGD, {"momentum": 0.9}),
    (SGD, {"momentum": 0.9, "dampening": 0.3, "weight_decay": 0.1}),
    (SGD, {"momentum": 0.9, "nesterov": True, "weight_decay": 0.1}),
    (Adam, {}),
    (Adam, {"betas": (0.8, 0.95), "eps": 1e-6, "weight_decay": 0.1}),
]


@pytest.mark.parametrize(("kind", "options"), OPTIONS)
def test_optimizers_agree_with_torch(kind: type[SGD] | type[Adam], options: dict[str, Any]) -> None:
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    dense: Any = randomised(Dense(3, 4))
    net = Sequential({"fc": dense})
    values = {k: torch.tensor(v.copy(), requires_grad=True) for k, v in net.parameters().items()}
    other = getattr(torch.optim, kind.__name__)(values.values(), lr=1.0, foreach=False, **options)
    mine = kind(net, **options)
    for t in range(20):
        net.zero_gradients()
        for name, value in values.items():
            g = rng.standard_normal(tuple(value.shape))
            if name == "fc.bias" and t in {0, 7}:  # no gradient: no update, no step counted
                value.grad = None
                continue
            value.grad = torch.tensor(g)
            before = g.copy()
            dense.accumulate(name.removeprefix("fc."), g)
            np.testing.assert_array_equal(g, before)
        rate = np.float64(0.01 / (1 + t))
        other.param_groups[0]["lr"] = float(rate)
        other.step()
        mine.step(net.gradients(), rate)
        for name, value in values.items():
            found = net.parameters()[name]
            np.testing.assert_allclose(found, value.detach().numpy(), rtol=0, atol=1e-15)


@pytest.mark.parametrize(("kind", "options"), OPTIONS)
def test_optimizers_keep_float32_and_leave_gradients_alone(
    kind: type[SGD] | type[Adam], options: dict[str, Any]
) -> None:
    net = Sequential(Dense(2, 2))
    dense: Any = vars(net)["0"]
    mine = kind(net, **options)
    g = np.ones((2, 2), np.float32)
    dense.accumulate("weight", g)
    held = net.gradients()["0.weight"]
    for _ in range(3):
        mine.step(net.gradients(), np.float64(0.5))
    np.testing.assert_array_equal(held, np.ones((2, 2)))
    assert net.parameters()["0.weight"].dtype == np.float32
    assert (net.parameters()["0.weight"] < 0).all()
    assert not net.parameters()["0.bias"].any()


# --- initializers ------------------------------------------------------------------------------

SCALES: dict[str, tuple[dict[str, Any], float]] = {
    "he_normal": ({}, 2 / 450),
    "he_uniform": ({"slope": 1.0, "fan": "out"}, 1 / 900),
    "glorot_normal": ({"gain": 2.0}, 8 / 1350),
    "glorot_uniform": ({}, 2 / 1350),
    "lecun_normal": ({}, 1 / 450),
    "lecun_uniform": ({}, 1 / 450),
    "normal": ({"std": 0.5}, 0.25),
    "uniform": ({"low": -3.0, "high": 3.0}, 3.0),
    "truncated_normal": ({"std": 0.5}, 0.25 * 0.87962566103423978**2),
}


@pytest.mark.parametrize("name", SCALES)
def test_initializers_have_their_variance(name: str) -> None:
    options, variance = SCALES[name]
    array = np.zeros((100, 50, 3, 3), np.float32)
    getattr(initializer, name)(array, np.random.default_rng(0), **options)
    np.testing.assert_allclose(array.var(dtype=np.float64), variance, rtol=0.03)
    assert abs(array.mean(dtype=np.float64)) < 5 * np.sqrt(variance / array.size)
    if name == "truncated_normal":
        assert np.abs(array).max() <= 1.0
    if "uniform" in name:
        assert np.abs(array).max() <= np.sqrt(3 * variance) * (1 + 1e-6)


def test_constants() -> None:
    array = np.zeros((2, 3), np.float32)
    initializer.constant(array, 0.5)
    assert (array == 0.5).all()
    initializer.ones(array)
    assert (array == 1).all()
    initializer.zeros(array)
    assert not array.any()


@pytest.mark.parametrize("shape", [(4, 10), (10, 4), (6, 2, 3, 3), (8, 2, 2)])
def test_orthogonal(shape: tuple[int, ...]) -> None:
    array = np.zeros(shape)
    initializer.orthogonal(array, np.random.default_rng(0), gain=2.0)
    matrix = array.reshape(len(array), -1)
    gram = matrix @ matrix.T if matrix.shape[0] <= matrix.shape[1] else matrix.T @ matrix
    np.testing.assert_allclose(gram, 4 * np.eye(len(gram)), rtol=0, atol=1e-14)
