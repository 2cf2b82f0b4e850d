"""How fields are drawn at random: the registries, what all families need, and the plainest ops.

A strategy covers every option of its class and may draw what does not fit: the op's own shape
rule is the filter, so that no rule is written twice. Everything is drawn from small choices whose
first one is the plainest, which is what hypothesis shrinks to.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Generic, TypeVar, get_args

from pydantic import BaseModel

from cnnspec import plugins, training
from cnnspec.ops import activation, conv, dense, dropout, merge, norm, pool, rbf, reshape
from cnnspec.ops import initializer as init
from cnnspec.ops.base import Op, Shape, spatial
from cnnspec.ops.fields import PADDINGS
from cnnspec.testing import choices as st

if TYPE_CHECKING:
    from hypothesis.strategies import SearchStrategy

Fields = dict[str, Any]
Draw = st.Draw
Drawer = Callable[..., Fields]

ModelT = TypeVar("ModelT", bound=BaseModel)
DrawerT = TypeVar("DrawerT", bound=Drawer)

MOST_CHANNELS = 6
MOST_KERNEL = 4


class Strategies(Generic[ModelT]):
    """Strategies keyed by class; a second one for a class raises.

    A function registered with `@strategies(Class)` gets a `draw` that takes choices, and what the
    fields may depend on (the shapes of an op's inputs), and returns fields as a spec has them.
    """

    def __init__(self, what: str) -> None:
        self.what = what
        self._drawers: dict[type[ModelT], Drawer] = {}

    def __call__(self, *classes: type[ModelT]) -> Callable[[DrawerT], DrawerT]:
        """Decorator: the function draws the fields of these classes."""

        def register(drawer: DrawerT) -> DrawerT:
            for cls in classes:
                if cls in self._drawers:
                    other = self._drawers[cls]
                    raise ValueError(
                        f"{self.what} {cls.__name__} has two strategies: "
                        f"{other.__module__}.{other.__qualname__} and "
                        f"{drawer.__module__}.{drawer.__qualname__}"
                    )
                self._drawers[cls] = drawer
            return drawer

        return register

    def __contains__(self, cls: type[ModelT]) -> bool:
        if cls not in self._drawers:
            plugins.load_all(plugins.STRATEGIES)
        return cls in self._drawers

    def __iter__(self) -> Iterator[type[ModelT]]:
        return iter(self._drawers)

    def draw(self, draw: Draw, cls: type[ModelT], *about: Any) -> Fields:
        """Draw the fields of a class.

        Raises:
            LookupError: the class has no strategy.
        """
        if cls not in self:
            raise LookupError(f"{self.what} {cls.__name__} has no strategy")
        return self._drawers[cls](st.either(draw), *about)


OPS: Strategies[Op] = Strategies("op")
INITIALIZERS: Strategies[init.Initializer] = Strategies("initializer")
TRAINING: Strategies[training.Vocabulary] = Strategies("training word")


def fields(op: type[Op], *shapes: Shape) -> SearchStrategy[Fields]:
    """A strategy of hypothesis for fields of an op over inputs of these shapes.

    Its shape rule may still reject them.
    """
    return st.strategy(OPS.draw, op, *shapes)


def spelled(key: str, given: Mapping[str, Any]) -> Any:
    """A word over its fields; the bare word where there are none."""
    return {key: dict(given)} if given else key


def some(draw: Draw, found: Fields, **choices: st.Choice[Any]) -> None:
    """Draw each of these fields, or leave it to its default."""
    for name, choice in choices.items():
        value = draw(st.none() | choice)
        if value is not None:
            found[name] = value


def one_of(*values: Any) -> st.Choice[Any]:
    """One of these values, the first one by preference."""
    return st.sampled_from(values)


def literals(cls: type[BaseModel], name: str) -> st.Choice[Any]:
    """The words that a field of type `Literal` takes."""
    return st.sampled_from(get_args(cls.model_fields[name].annotation))


def per_axis(rank: int, most: int) -> st.Choice[Any]:
    """A number from 1 on for all axes, or a list with one for each."""
    number = st.integers(1, most)
    return number | st.lists(number, min_size=rank, max_size=rank) if rank else number


def padding(rank: int, most: int = 3) -> st.Choice[Any]:
    """Every form of padding."""
    side = st.integers(0, most)
    words = [word for word in PADDINGS if word != "causal" or rank == 1]
    forms: list[st.Choice[Any]] = [st.sampled_from(words), side]
    if rank:
        pair = st.lists(side, min_size=2, max_size=2)
        forms += [st.lists(form, min_size=rank, max_size=rank) for form in (side, pair)]
    return st.one_of(forms)


@st.composite
def initializers(draw: Draw, *, vector: bool = False) -> Any:
    """An initializer as a spec has it.

    Args:
        draw: takes choices.
        vector: whether it is for a vector, which cannot be orthogonal.
    """
    classes = [c for c in INITIALIZERS if not (vector and c is init.Orthogonal)]
    cls = draw(st.sampled_from(sorted(classes, key=lambda c: (c is not init.HeNormal, c.key))))
    return spelled(cls.key, INITIALIZERS.draw(draw, cls))


@OPS(conv.Conv)
def _conv(draw: Draw, shape: Shape) -> Fields:
    channels, rank = shape[0], len(spatial(shape))
    groups = draw(st.sampled_from([g for g in range(1, channels + 1) if channels % g == 0]))
    most = max(1, MOST_CHANNELS // groups)
    found: Fields = {
        "filters": groups * draw(st.integers(1, most)),
        "kernel": draw(per_axis(rank, MOST_KERNEL)),
    }
    if groups > 1:
        found["groups"] = groups
    some(
        draw,
        found,
        padding=padding(rank),
        stride=per_axis(rank, 3),
        dilation=per_axis(rank, 3),
        padding_mode=literals(conv.Conv, "padding_mode"),
        flip=st.booleans(),
        bias=st.booleans(),
    )
    some(draw, found, weight_init=initializers(), bias_init=initializers(vector=True))
    return found


@OPS(dense.Dense)
def _dense(draw: Draw, shape: Shape) -> Fields:
    found: Fields = {"units": draw(st.integers(1, MOST_CHANNELS))}
    some(draw, found, bias=st.booleans())
    some(draw, found, weight_init=initializers(), bias_init=initializers(vector=True))
    return found


@OPS(rbf.Rbf)
def _rbf(draw: Draw, shape: Shape) -> Fields:
    found: Fields = {"units": draw(st.integers(1, MOST_CHANNELS))}
    some(draw, found, weight_init=initializers())
    return found


def window_fields(draw: Draw, shape: Shape) -> Fields:
    """The fields that all windowed pooling has."""
    rank = len(spatial(shape))
    found: Fields = {"kernel": draw(per_axis(rank, MOST_KERNEL))}
    some(
        draw,
        found,
        stride=per_axis(rank, 3),
        padding=padding(rank, 2),
        ceil_mode=st.booleans(),
    )
    return found


@OPS(pool.MaxPool)
def _max_pool(draw: Draw, shape: Shape) -> Fields:
    found = window_fields(draw, shape)
    some(draw, found, dilation=per_axis(len(spatial(shape)), 3))
    return found


@OPS(pool.AvgPool)
def _avg_pool(draw: Draw, shape: Shape) -> Fields:
    found = window_fields(draw, shape)
    some(draw, found, count_include_pad=st.booleans())
    return found


@OPS(pool.SumPool)
def _sum_pool(draw: Draw, shape: Shape) -> Fields:
    return window_fields(draw, shape)


@OPS(norm.BatchNorm)
def _batch_norm(draw: Draw, shape: Shape) -> Fields:
    found: Fields = {}
    some(
        draw,
        found,
        eps=one_of(1e-3, 0.5),
        momentum=one_of(0.3, 0, 1),
        affine=st.booleans(),
        running_var=literals(norm.BatchNorm, "running_var"),
        weight_init=initializers(vector=True),
        bias_init=initializers(vector=True),
    )
    return found


@OPS(activation.LeakyRelu)
def _leaky_relu(draw: Draw, shape: Shape) -> Fields:
    found: Fields = {}
    some(draw, found, slope=one_of(0.2, 0, -0.5, 1.5))
    return found


@OPS(activation.PRelu)
def _prelu(draw: Draw, shape: Shape) -> Fields:
    found: Fields = {}
    some(
        draw,
        found,
        parameters=literals(activation.PRelu, "parameters"),
        weight_init=initializers(vector=True),
    )
    return found


@OPS(activation.Elu)
def _elu(draw: Draw, shape: Shape) -> Fields:
    found: Fields = {}
    some(draw, found, alpha=one_of(0.5, 1.75))
    return found


@OPS(dropout.Dropout)
def _dropout(draw: Draw, shape: Shape) -> Fields:
    found: Fields = {}
    some(draw, found, p=one_of(0.25, 0.9, 0, 1))
    return found


@OPS(reshape.Rescale)
def _rescale(draw: Draw, shape: Shape) -> Fields:
    found: Fields = {}
    some(draw, found, scale=one_of(0.5, -1, 2.25), offset=one_of(0.75, -1))
    return found


@OPS(
    activation.Relu,
    activation.Tanh,
    activation.Sigmoid,
    activation.Softmax,
    activation.Selu,
    activation.Gelu,
    activation.Silu,
    merge.Add,
    merge.Concat,
    pool.GlobalAvgPool,
    pool.GlobalMaxPool,
    reshape.Flatten,
)
def _bare(draw: Draw, *shapes: Shape) -> Fields:
    return {}
