"""Random valid networks, as the text of a spec, so that they go through the front door.

A network grows layer by layer. The op's own shape rule is the filter: what it rejects is drawn
again a few times, and then left out. Every choice is a small number, so that failures shrink to
few and plain layers.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import yaml

from cnnspec.ops import merge, pool, slicing
from cnnspec.ops.activation import Sigmoid, Softmax, Tanh
from cnnspec.ops.base import Inferred, Op, Reject, Shape, registered
from cnnspec.ops.dense import Dense
from cnnspec.ops.reshape import Flatten
from cnnspec.testing import choices as st
from cnnspec.testing.strategies import OPS, Draw, Fields, spelled
from cnnspec.testing.training_strategies import epochs_of, loss, word
from cnnspec.training import OPTIMIZERS, SCHEDULES

if TYPE_CHECKING:
    from hypothesis.strategies import SearchStrategy

Spec = dict[str, Any]

ATTEMPTS = 3
MOST_ELEMENTS = 1200
"""Per sample and value, and per parameter: random networks are many, so they are small."""

MOST_CLASSES = 5
INPUT_NAMES = ("left", "right")


class _Dumper(yaml.SafeDumper):
    def ignore_aliases(self, data: Any) -> bool:
        return True


def text_of(spec: Mapping[str, Any]) -> str:
    """A spec as people write it: a line for each layer and each other key."""
    lines = []
    for key, value in spec.items():
        if key == "layers" and isinstance(value, list) and value:
            lines.append("layers:")
            lines += [f"- {_flow(layer)}" for layer in value]
        else:
            lines.append(f"{_flow(key)}: {_flow(value)}")
    return "\n".join(lines) + "\n"


def _flow(value: Any) -> str:
    dumped = yaml.dump(
        value, Dumper=_Dumper, default_flow_style=True, sort_keys=False, width=math.inf
    )
    return dumped.removesuffix("\n").removesuffix("\n...")


def network_shapes(rank: int | None = None) -> SearchStrategy[Shape]:
    """A strategy of hypothesis for what `draw_shape` draws."""
    return st.strategy(draw_shape, rank)


def networks(
    *, having: type[Op] | None = None, layers: int = 6, train: bool | None = None
) -> SearchStrategy[str]:
    """A strategy of hypothesis for the text of valid specs.

    Args:
        having: an op that each has at least once.
        layers: most steps that it grows by; a step is a layer, a sequence, or a few that join.
        train: whether it has a `train:` section; drawn if None.
    """
    return specs(having=having, layers=layers, train=train).map(text_of)


def specs(
    *, having: type[Op] | None = None, layers: int = 6, train: bool | None = None
) -> SearchStrategy[Spec]:
    """What `networks` writes, as plain values."""
    ops = () if having is None else (having,)
    return st.strategy(draw_spec, having=ops, layers=layers, train=train)


def draw_shape(draw: Draw, rank: int | None = None) -> Shape:
    """The shape of an input: 1 to 6 channels, 1 to 9 along each axis, sides mostly different.

    Args:
        draw: takes choices.
        rank: number of spatial axes; drawn if None, 0 (a flat input) included.
    """
    if rank is None:
        rank = draw(st.sampled_from((2, 1, 3, 0)))
    most = {0: 0, 1: 9, 2: 9, 3: 6}[rank]
    channels = draw(st.integers(1, 6))
    sizes = [draw(st.integers(1, most)) for _ in range(rank)]
    if rank > 1 and sizes[0] == sizes[1] and draw(st.booleans()):
        sizes[1] = max(1, sizes[1] - 1)
    return (channels, *sizes)


def draw_spec(
    draw: Draw,
    *,
    having: Sequence[type[Op]] = (),
    layers: int = 6,
    train: bool | None = None,
) -> Spec:
    """A valid spec as plain values.

    Args:
        draw: takes choices.
        having: ops that it has at least once.
        layers: most steps that it grows by; a step is a layer, a sequence, or a few that join.
        train: whether it has a `train:` section; drawn if None.

    Raises:
        Rejected: this time it came to nothing.
    """
    grown = _Network(draw)
    for op in having:
        if not grown.grow(op):
            st.reject()
    for _ in range(draw(st.integers(0 if grown.layers else 1, layers))):
        grown.step()
    return grown.finish(train)


@dataclass
class _Known:
    """A value of the outermost scope."""

    name: str
    shape: Shape
    layer: tuple[str, Fields] | None = None
    params: tuple[Shape, ...] = ()
    reads: int = 0
    read: Shape | None = None


SHAPES = st.composite(draw_shape)()


@dataclass
class _Network:
    draw: Draw
    layers: list[Any] = field(default_factory=list)
    values: list[_Known] = field(default_factory=list)
    ordinals: dict[str, int] = field(default_factory=dict)
    trainable: bool = False

    def __post_init__(self) -> None:
        first = draw_shape(self.draw)
        several = self.draw(st.sampled_from((False, False, False, True)))
        self.inputs: dict[str, Shape] = {"input": first}
        if several:
            other = self.draw(st.just(first) | SHAPES)
            self.inputs = dict(zip(INPUT_NAMES, (first, other), strict=True))
        self.values = [_Known(name, shape) for name, shape in self.inputs.items()]
        self.above = None if several else self.values[0]
        if several:
            for value in tuple(self.values):
                self._grow_on(value)

    # --- growing -------------------------------------------------------------------------------

    def step(self) -> None:
        """One more layer, or a few that belong together."""
        kind = self.draw(
            st.sampled_from(("layer", "layer", "layer", "join", "sequence", "share", "split"))
        )
        if kind == "join":
            self.grow(self.draw(st.sampled_from(_ops(several=True))))
        elif kind == "sequence":
            self._sequence()
        elif kind == "share":
            self._share()
        elif kind == "split":
            self.grow(slicing.Split)
        else:
            self._grow_on(self._source())

    def grow(self, op: type[Op]) -> bool:
        """Add a layer of this op, with what it needs around it; False where nothing fits."""
        source = self._source()
        if op.arity[0] > 1:
            return self._join(op, source)
        if self._layer(op, [source]):
            return True
        if len(source.shape) > 1 and self._layer(Flatten, [source]):
            return self._layer(op, [self.values[-1]])
        return False

    def _source(self) -> _Known:
        """Mostly the newest value, sometimes an older one: that is a fork."""
        count = len(self.values)
        back = self.draw(st.sampled_from((1, 1, 1, 1, 2, 3)))
        found: _Known = self.values[-min(back, count)]
        return found

    def _grow_on(self, source: _Known) -> None:
        if not self._layer(self._chosen(source.shape), [source]):
            self._layer(Tanh, [source])

    def _chosen(self, shape: Shape) -> type[Op]:
        """An op for a value of this shape; the more fields it has, the more there is to try."""
        ops = [op for op in _ops(several=False) if _fits_rank(op, shape)]
        weighted = [op for op in ops for _ in range(1 + len(op.model_fields) // 2)]
        drawn: type[Op] = self.draw(st.sampled_from(weighted))
        return drawn

    def _join(self, op: type[Op], source: _Known) -> bool:
        fitting = [v for v in self.values if v is not source and _accepts(op, source, v)]
        if not fitting or self.draw(st.booleans()):
            self._grow_on(source)
            fitting = [v for v in self.values if v is not source and _accepts(op, source, v)]
        if not fitting:
            self._layer(Tanh, [source])
            fitting = [self.values[-1]]
        most = 2 if op.arity[1] is None else op.arity[1] - 1
        others = self.draw(st.lists(st.sampled_from(fitting), min_size=1, max_size=most))
        return self._layer(op, [source, *others])

    def _layer(self, op: type[Op], sources: Sequence[_Known], more: Fields | None = None) -> bool:
        """Add one layer if some of a few drawn fields are accepted."""
        shapes = [source.shape for source in sources]
        made = self._drawn(op, shapes)
        if made is None:
            return False
        given, inferred = made
        parts = op.model_validate(_tuples(given)).parts(shapes[0])
        if parts is None:
            self._add(op.key, given, sources, inferred, more)
        else:
            self._add_parts(op.key, given, sources[0], parts)
        return True

    def _drawn(self, op: type[Op], shapes: Sequence[Shape]) -> tuple[Fields, Inferred] | None:
        for _ in range(ATTEMPTS):
            given = OPS.draw(self.draw, op, *shapes)
            inferred = infer(op, given, shapes)
            if inferred is not None:
                return given, inferred
        return None

    def _add(
        self,
        key: str,
        given: Fields,
        sources: Sequence[_Known],
        inferred: Inferred,
        more: Fields | None = None,
    ) -> None:
        extra: Fields = {}
        if self.draw(st.sampled_from((False, False, False, True))):
            name = extra["name"] = f"node{len(self.layers)}"
        else:
            self.ordinals[key] = self.ordinals.get(key, 0) + 1
            name = f"{key}{self.ordinals[key]}"
        if len(sources) > 1:
            extra["from"] = [source.name for source in sources]
        elif sources[0] is not self.above:
            extra["from"] = sources[0].name
        if self.draw(st.sampled_from((False, False, False, True))):
            extra["expect"] = list(inferred.shape)
        for source in sources:
            source.reads += 1
        shares = more is not None and "share" in more
        treated = {} if shares else self._treatment(inferred)
        self.layers.append(spelled(key, {**extra, **(more or {}), **treated, **given}))
        # What shares weights has those of another layer, which may be frozen.
        self._note(inferred, frozen=shares or treated.get("trainable") is False)
        params = tuple(param.shape for param in inferred.params)
        layer = None if key == "sequence" or shares else (key, given)
        self.above = _Known(name, inferred.shape, layer, params, read=sources[0].shape)
        self.values.append(self.above)

    def _add_parts(self, key: str, given: Fields, source: _Known, parts: Sequence[Op]) -> None:
        """A layer that stands for several values, all of which go on."""
        name = f"parts{len(self.layers)}"
        source.reads += 1
        self.layers.append(spelled(key, {"name": name, "from": source.name, **given}))
        for i, part in enumerate(parts):
            self.values.append(_Known(f"{name}.{i}", part.infer(source.shape).shape))
        self.above = None

    def _treatment(self, inferred: Inferred) -> Fields:
        """What training does with some layers' parameters."""
        weights = [param for param in inferred.params if param.name.endswith("weight")]
        if not weights or self.draw(st.sampled_from((True, True, True, False))):
            return {}
        kinds = ["regularize", "trainable"]
        if any("O" in param.layout for param in weights):
            kinds.append("constrain")
        kind = self.draw(st.sampled_from(kinds))
        if kind == "constrain":
            return {kind: {"max_norm": self.draw(st.sampled_from((0.3, 2.0)))}}
        if kind == "regularize":
            return {kind: self.draw(st.sampled_from(({"l1": 0.01}, {"l2": 0.1})))}
        return {kind: False}

    def _note(self, inferred: Inferred, *, frozen: bool = False) -> None:
        self.trainable |= not frozen and any(param.trainable for param in inferred.params)

    def _sequence(self) -> None:
        source = self._source()
        shape = source.shape
        entries: list[Any] = []
        names = iter(f"part{i}" for i in range(10))
        for _ in range(self.draw(st.integers(1, 3))):
            if entries and self.draw(st.sampled_from((False, False, False, True))):
                inner, shape = self._chain(shape, names)
                entries.append({"sequence": {"layers": inner}})
                continue
            chained, shape = self._chain(shape, names, most=1)
            entries += chained
        self._add("sequence", {"layers": entries}, [source], Inferred(shape))

    def _chain(self, shape: Shape, names: Iterable[str], most: int = 2) -> tuple[list[Any], Shape]:
        entries = []
        for _ in range(self.draw(st.integers(1, most))):
            op = self._chosen(shape)
            made = self._drawn(op, [shape])
            if made is None:
                op, made = Tanh, ({}, Inferred(shape))
            given, inferred = made
            named = self.draw(st.sampled_from((False, False, True)))
            extra = {"name": next(iter(names))} if named else {}
            entries.append(spelled(op.key, {**extra, **given}))
            self._note(inferred)
            shape = inferred.shape
        return entries, shape

    def _share(self) -> None:
        """Use the parameters of a layer above once more, where some value has the right shape."""
        owners = [value for value in self.values if value.params and value.layer is not None]
        fitting = [
            (owner, source, inferred)
            for owner in owners
            for source in self.values
            if (inferred := _same_params(owner, source)) is not None
        ]
        if fitting:
            owner, source, inferred = self.draw(st.sampled_from(fitting))
            key, given = owner.layer
            self._add(key, given, [source], inferred, {"share": owner.name})
        else:
            self._grow_on(self._source())

    # --- the end -------------------------------------------------------------------------------

    def finish(self, train: bool | None) -> Spec:
        """Heads, outputs, and the train section."""
        draw = self.draw
        if not self.layers:
            self._layer(Tanh, [self.values[-1]])
        known = len(self.inputs)
        leaves = [value for value in self.values if not value.reads]
        if draw(st.booleans()) or (train and not self.trainable):
            leaves = [self._head(leaf) for leaf in leaves]
        if not self.trainable:  # then there is nothing to train
            if train:
                st.reject()
            train = False
        outputs = {f"out{i}": leaf for i, leaf in enumerate(leaves)}
        inner = [value for value in self.values[known:] if value.reads]
        if inner and draw(st.sampled_from((False, False, False, True))):
            outputs["tapped"] = draw(st.sampled_from(inner))
        spec: Spec = {"cnnspec": 1, "name": "net"}
        spec["input"] = {name: list(shape) for name, shape in self.inputs.items()}
        if len(self.inputs) == 1:
            spec["input"] = list(self.inputs["input"])
        spec["layers"] = self.layers
        shapes = {name: value.shape for name, value in outputs.items()}
        if len(outputs) > 1 or leaves[0] is not self.above or draw(st.booleans()):
            spec["outputs"] = {name: value.name for name, value in outputs.items()}
            if len(outputs) == 1 and draw(st.booleans()):
                spec["outputs"] = leaves[0].name
        if train if train is not None else draw(st.booleans()):
            spec["train"] = self._training(shapes)
        seed = draw(st.integers(0, 3))
        if seed:
            spec["seed"] = seed
        return spec

    def _head(self, leaf: _Known) -> _Known:
        """A classifier on a value."""
        value = leaf
        if len(value.shape) > 1:
            if self.draw(st.booleans()):
                self._layer(pool.GlobalAvgPool, [value])
                value = self.values[-1]
            self._layer(Flatten, [value])
            value = self.values[-1]
        units = self.draw(st.integers(2, MOST_CLASSES))
        inferred = infer(Dense, {"units": units}, [value.shape])
        if inferred is not None:
            self._add(Dense.key, {"units": units}, [value], inferred)
            value = self.values[-1]
        last = self.draw(st.sampled_from((None, Softmax, Sigmoid)))
        if last is not None:
            self._layer(last, [value])
            value = self.values[-1]
        return value

    def _training(self, shapes: Mapping[str, Shape]) -> Spec:
        draw = self.draw
        losses = {name: loss(draw, shape[0]) for name, shape in shapes.items()}
        found: Spec = {"loss": losses if len(losses) > 1 else next(iter(losses.values()))}
        found["optimizer"] = word(draw, OPTIMIZERS)
        least = 1
        if draw(st.booleans()):
            found["schedule"] = word(draw, SCHEDULES)
            least = epochs_of(found["schedule"])
        more: Mapping[str, Sequence[Any]] = {
            "clip": ({"norm": 0.5}, {"norm": 100.0}, {"value": 0.01}),
            "average": ({"decay": 0.9}, {"decay": 0.5}),
            "groups": (
                [{"match": "*", "lr_scale": 0.5}],
                [{"match": "*weight", "weight_decay": 0.1}, {"match": ["*"], "lr_scale": 2.0}],
            ),
        }
        for key, choices in more.items():
            if draw(st.sampled_from((False, False, True))):
                found[key] = draw(st.sampled_from(choices))
        if draw(st.booleans()):
            found["batch"] = draw(st.integers(1, 64))
        if least > 1 or draw(st.booleans()):
            found["epochs"] = draw(st.integers(least, least + 4))
        return found


def infer(op: type[Op], given: Fields, shapes: Sequence[Shape]) -> Inferred | None:
    """What the op's shape rule says; None where it rejects, or where all would be too large."""
    try:
        inferred = op.model_validate(_tuples(given)).infer(*shapes)
    except Reject:
        return None
    sizes = [math.prod(inferred.shape), *(param.size for param in inferred.params)]
    return inferred if max(sizes) <= MOST_ELEMENTS else None


def _tuples(value: Any) -> Any:
    """As a document has it: its sequences are tuples."""
    if isinstance(value, dict):
        return {key: _tuples(entry) for key, entry in value.items()}
    return tuple(_tuples(entry) for entry in value) if isinstance(value, list) else value


def _ops(*, several: bool) -> list[type[Op]]:
    """The ops that have a strategy, those that join values or the others; plain ones first."""
    found = [
        op for op in registered() if op in OPS and (op.arity[0] > 1) is several and op.part is None
    ]
    plain = [merge.Add] if several else [Tanh]
    return sorted(found, key=lambda op: (op not in plain, op.key))


@lru_cache(maxsize=1 << 14)
def _fits_rank(op: type[Op], shape: Shape) -> bool:
    """Whether an op takes inputs of this rank at all; asked with the least that it could need."""
    least: Fields = dict.fromkeys(("kernel", "filters", "units", "size", "groups"), 1)
    least["channels"] = (0, 1)
    given = {name: value for name, value in least.items() if name in op.model_fields}
    required = {name for name, info in op.model_fields.items() if info.is_required()}
    return not required <= set(given) or infer(op, given, [shape]) is not None


def _accepts(op: type[Op], *values: _Known) -> bool:
    required = any(info.is_required() for info in op.model_fields.values())
    return required or infer(op, {}, [value.shape for value in values]) is not None


def _same_params(owner: _Known, source: _Known) -> Inferred | None:
    from cnnspec.ops import lookup

    assert owner.layer is not None
    key, given = owner.layer
    op = lookup(key)
    assert op is not None
    inferred = infer(op, given, [source.shape])
    if inferred is None or tuple(param.shape for param in inferred.params) != owner.params:
        return None
    if op.one_rank and len(source.shape) != len(owner.shape):
        return None
    made = op.model_validate(_tuples(given))
    if owner.read is None or made.window(owner.read) != made.window(source.shape):
        return None
    return inferred
