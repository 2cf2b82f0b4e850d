"""Random valid specs with blocks: parameters, expressions, repeats, conditions, several outputs.

Layers keep the size of space, so that only channels differ, and every spec is valid by the way it
is made. What ops do is the matter of `networks`; here it is what stands around them.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from cnnspec.build import build
from cnnspec.diagnostics import SpecError
from cnnspec.document import parse
from cnnspec.graph import Graph
from cnnspec.ops.base import Shape, registered
from cnnspec.schema import read_spec
from cnnspec.testing import choices as st
from cnnspec.testing.networks import draw_shape, infer, text_of
from cnnspec.testing.strategies import OPS, Draw, Fields, spelled

if TYPE_CHECKING:
    from hypothesis.strategies import SearchStrategy

Spec = dict[str, Any]

MOST_BLOCKS = 3
MOST_NODES = 120
MOST_ELEMENTS = 4800
"""Per sample and value, and per parameter."""

RARELY = (False, False, False, True)
SOMETIMES = (False, False, True)
EVENLY = (False, True)
KINDS = {"c": "count", "d": "count", "p": "flag", "q": "flag", "n": "times", "rate": "rate"}


def block_networks(*, layers: int = 4) -> SearchStrategy[str]:
    """A strategy of hypothesis for the text of valid specs with blocks.

    Args:
        layers: most steps that each block, and the network, grows by.
    """
    return block_specs(layers=layers).map(text_of)


def block_specs(*, layers: int = 4) -> SearchStrategy[Spec]:
    """What `block_networks` writes, as plain values."""
    return st.strategy(draw_block_spec, layers=layers)


def draw_block_spec(draw: Draw, *, layers: int = 4, most_nodes: int = MOST_NODES) -> Spec:
    """A valid spec with blocks, as plain values.

    Args:
        draw: takes choices.
        layers: most steps that each block, and the network, grows by.
        most_nodes: of the network, with all instances written out.

    Raises:
        Rejected: this time it came to nothing.
    """
    shape = draw_shape(draw)
    blocks: list[_Block] = []
    define: Spec = {}
    for number in range(draw(st.integers(1, MOST_BLOCKS))):
        body = _block_body(draw, shape, blocks, layers)
        block, fields = body.finish_block(f"block{number}")
        blocks.append(block)
        define[block.name] = fields
    root = _Body(draw, shape, blocks, ("input",))
    root.use()
    root.use()
    for _ in range(draw(st.integers(0, layers))):
        root.step()
    spec = root.finish_network(define)
    try:
        found = build(read_spec(parse(text_of(spec), "random"))).graph
    except SpecError as fault:
        # Instances of instances multiply, beyond even what a network may have.
        if all(each.code in ("too-large", "too-many-layers") for each in fault.diagnostics):
            st.reject()
        raise
    if _size(found) > MOST_ELEMENTS or len(found.nodes) > most_nodes:
        st.reject()
    return spec


def _block_body(draw: Draw, shape: Shape, blocks: Sequence[_Block], layers: int) -> _Body:
    inputs = draw(st.sampled_from((("input",), ("input",), ("left", "right"))))
    body = _Body(draw, shape, blocks, inputs)
    if len(inputs) > 1:
        for value in tuple(body.values):
            body.plain(value)
    for _ in range(draw(st.integers(2, max(2, layers)))):
        body.step()
    return body


def _size(graph: Graph) -> int:
    params = (param.size for node in graph.nodes for param in node.params)
    return max(*(math.prod(node.shape) for node in graph.nodes), *params, 0, 0)


@dataclass(frozen=True)
class _Block:
    name: str
    parameters: dict[str, Any]
    """Name -> default, or `required`."""

    inputs: tuple[str, ...]
    outputs: tuple[str, ...]

    @property
    def chains(self) -> bool:
        """Whether it has one input and one output."""
        return len(self.inputs) == 1 and len(self.outputs) < 2


@dataclass(eq=False)
class _Value:
    """A value of a scope; values with the same text for their channels have as many."""

    name: str
    channels: str | None = None
    reads: int = 0


@dataclass
class _Body:
    """The layers of a block or of the network, while they grow."""

    draw: Draw
    shape: Shape
    blocks: Sequence[_Block]
    inputs: tuple[str, ...]
    layers: list[Any] = field(default_factory=list)
    used: set[str] = field(default_factory=set)
    ordinals: dict[str, int] = field(default_factory=dict)
    shared: list[tuple[str, str, Fields, _Value]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.values = [_Value(name, f"of {name}") for name in self.inputs]
        self.above = self.values[0] if len(self.values) == 1 else None

    # --- expressions ---------------------------------------------------------------------------

    def _parameter(self, kind: str) -> str:
        names = [name for name, its in KINDS.items() if its == kind]
        name: str = self.draw(st.sampled_from(names))
        self.used.add(name)
        return name

    def _count(self, *, repeated: bool = False) -> Any:
        """A number of channels, as a number or an expression."""
        if self.draw(st.booleans()):
            return self.draw(st.integers(1, 3))
        c = self._parameter("count")
        forms = [f"${c}", f"$(min({c}, 3))", f"$({c} + 1)", f"$(3 if {c} > 2 else {c})"]
        forms += [f"$(({c} + 1) // 2)", f"$(max({c} * 2 % 3, 1))"]
        if repeated:
            forms += [f"$({c} + index)", "$(count - index)", f"$(1 if index == 0 else {c})"]
        return self.draw(st.sampled_from(forms))

    def _flag(self) -> Any:
        kind = self.draw(st.sampled_from(("flag", "flag", "number", "constant")))
        if kind == "constant":
            return self.draw(st.booleans())
        if kind == "number":
            return f"$({self._parameter('count')} > 1)"
        p = self._parameter("flag")
        return self.draw(st.sampled_from((f"${p}", f"$(not {p})")))

    def _times(self) -> Any:
        if self.draw(st.booleans()):
            return self.draw(st.sampled_from((2, 1, 3, 0)))
        n = self._parameter("times")
        return self.draw(st.sampled_from((f"${n}", f"$({n} + 1)")))

    def _argument(self, kind: str, *, repeated: bool) -> Any:
        if kind == "count":
            return self._count(repeated=repeated)
        if kind == "flag":
            return self._flag() if self.draw(st.booleans()) else self.draw(st.booleans())
        if kind == "times":
            return self.draw(st.integers(0, 2))
        rates = (0.25, 0.5, f"${self._parameter('rate')}")
        return self.draw(st.sampled_from(rates))

    # --- layers --------------------------------------------------------------------------------

    def step(self) -> None:
        """One more layer."""
        kinds = ("linear", "plain", "join", "join", "sequence", "use", "use")
        kind = self.draw(st.sampled_from(kinds))
        if kind == "use":
            self.use()
        elif kind == "join":
            self._join()
        elif kind == "sequence":
            self._sequence()
        elif kind == "linear":
            self._linear(self._source())
        else:
            self.plain(self._source())

    def _source(self) -> _Value:
        back = self.draw(st.sampled_from((1, 1, 1, 2, 3)))
        found: _Value = self.values[-min(back, len(self.values))]
        return found

    def _add(
        self,
        key: str,
        given: Fields,
        sources: Sequence[_Value],
        channels: str | None,
        *,
        chains: bool = True,
        leaves: bool = True,
    ) -> _Value:
        """A layer, perhaps repeated or under a condition.

        Args:
            key: its op, or its block.
            given: its own fields, and `repeat`.
            sources: what it reads.
            channels: of its value, where they are known.
            chains: whether it has one input and one output, and can be repeated.
            leaves: whether it can be left out; then its name stands for its first input, and
                something else has to read the others.
        """
        extra: Fields = {}
        number: Any = None
        if chains and "repeat" in given:
            number = given["repeat"]
        elif leaves and self.draw(st.sampled_from(SOMETIMES if len(sources) == 1 else EVENLY)):
            extra["when"] = self._flag()
            if extra["when"] is not True:
                channels = None
        if isinstance(number, int) and number > 0 and self.draw(st.booleans()):
            extra["name"] = f"own{len(self.layers)}_$(index + 1)"
            name = f"own{len(self.layers)}_{number}"
        elif self.draw(st.booleans()):
            name = extra["name"] = f"layer{len(self.layers)}"
        else:
            self.ordinals[key] = self.ordinals.get(key, 0) + 1
            name = f"{key}{self.ordinals[key]}"
        if len(sources) > 1:
            extra["from"] = [source.name for source in sources]
        elif sources[0] is not self.above:
            extra["from"] = sources[0].name
        for source in sources[:1] if extra.get("when", True) is not True else sources:
            source.reads += 1
        self.layers.append(spelled(key, {**extra, **given}))
        self.above = _Value(name, channels)
        self.values.append(self.above)
        return self.above

    def _repeats(self) -> Fields:
        """`repeat`, or nothing."""
        if not self.draw(st.sampled_from((False, False, True))):
            return {}
        return {"repeat": self._times()}

    def _linear_fields(self) -> tuple[str, Fields]:
        fields = self._repeats()
        count = self._count(repeated="repeat" in fields)
        if len(self.shape) == 1:
            key, given = "dense", {"units": count}
        else:
            key, given = "conv", {"filters": count, "kernel": self.draw(st.sampled_from((1, 3)))}
            given["padding"] = "same"
        if "repeat" in fields:
            for end in ("first", "last"):
                if self.draw(st.sampled_from(RARELY)):
                    fields[end] = {"bias": self.draw(st.booleans())}
        elif self.draw(st.booleans()):
            given["bias"] = self._flag()
        return key, {**given, **fields}

    def _linear(self, source: _Value) -> _Value:
        key, given = self._linear_fields()
        channels = str(given.get("filters", given.get("units")))
        if "repeat" in given:
            channels = ""
        return self._add(key, given, [source], channels or None)

    def _plain_fields(self) -> tuple[str, Fields]:
        if self.draw(st.sampled_from(RARELY)):
            rate = self._parameter("rate")
            p = self.draw(st.sampled_from((f"${rate}", f"$({rate} / 2)")))
            return "dropout", {"p": p, **self._repeats()}
        return self.draw(st.sampled_from(list(_plain(self.shape)))), self._repeats()

    def plain(self, source: _Value) -> _Value:
        """A layer that changes no shape."""
        key, given = self._plain_fields()
        name_of_source = source.channels
        found = self._add(key, given, [source], name_of_source)
        found.channels = name_of_source  # also where it is left out
        return found

    def _join(self) -> None:
        first = self._source()
        alike = [
            value
            for value in self.values
            if value is not first and value.channels is not None
            and value.channels == first.channels
        ]  # fmt: skip
        if alike and self.draw(st.sampled_from((True, True, True, False))):
            second = self.draw(st.sampled_from(alike))
            found = self._add("add", {}, [first, second], None)
            found.channels = first.channels  # also where it is left out
        else:
            second = self.draw(st.sampled_from(self.values))
            self._add("concat", {}, [first, second], None)

    def _sequence(self) -> None:
        fields = self._repeats()
        entries = []
        for number in range(self.draw(st.integers(1, 3))):
            kind = self.draw(st.sampled_from(("linear", "plain", "plain", "use")))
            chains = [block for block in self.blocks if block.chains]
            if kind == "use" and chains:
                block = self.draw(st.sampled_from(chains))
                key, given = block.name, self._arguments(block, self._repeats())
            else:
                key, given = self._linear_fields() if kind == "linear" else self._plain_fields()
            if "repeat" not in given and self.draw(st.sampled_from(RARELY)):
                given = {"when": self._flag(), **given}
            if self.draw(st.sampled_from(RARELY)):
                given = {"name": f"part{number}", **given}
            entries.append(spelled(key, given))
        self._add("sequence", {"layers": entries, **fields}, [self._source()], None)

    def use(self) -> None:
        """An instance of a block, or several; sometimes one that shares with another."""
        if not self.blocks:
            self._linear(self._source())
            return
        if self.shared and self.draw(st.booleans()):
            key, name, given, source = self.draw(st.sampled_from(self.shared))
            shared = {"share": name, **given}
            self._add(key, shared, [source], None, chains=False, leaves=False)
            return
        block = self.draw(st.sampled_from(list(self.blocks)))
        fields = self._repeats() if block.chains else {}
        given = self._arguments(block, fields)
        sources = [self._source()]
        if len(block.inputs) > 1:
            sources = [self.draw(st.sampled_from(self.values)) for _ in block.inputs]
        shares = block.chains and not fields and self.draw(st.booleans())
        leaves = len(block.outputs) < 2 and not shares
        chains = block.chains and not shares
        found = self._add(block.name, given, sources, None, chains=chains, leaves=leaves)
        if shares:
            self.shared.append((block.name, found.name, given, sources[0]))
        for output in block.outputs:
            self.values.insert(-1, _Value(f"{found.name}.{output}", reads=1))

    def _arguments(self, block: _Block, fields: Fields) -> Fields:
        given = dict(fields)
        for name, default in block.parameters.items():
            if default == "required" or self.draw(st.booleans()):
                given[name] = self._argument(KINDS[name], repeated="repeat" in fields)
        for end in ("first", "last"):
            if "repeat" in fields and block.parameters and self.draw(st.booleans()):
                name = self.draw(st.sampled_from(sorted(block.parameters)))
                given[end] = {name: self._argument(KINDS[name], repeated=True)}
        return given

    # --- the end -------------------------------------------------------------------------------

    def _leaf(self) -> _Value:
        """One value that everything reaches."""
        leaves = [value for value in self.values if not value.reads]
        if len(leaves) < 2:
            return leaves[0] if leaves else self._linear(self.values[-1])
        return self._add("concat", {}, leaves, None, chains=False, leaves=False)

    def _defaults(self, *, required: bool) -> dict[str, Any]:
        found: dict[str, Any] = {}
        values = {"count": (1, 2, 3), "flag": (False, True), "times": (1, 0, 2), "rate": (0.5,)}
        for name in sorted(self.used):
            kinds = values[KINDS[name]]
            found[name] = self.draw(st.sampled_from((*kinds, "required") if required else kinds))
        return found

    def finish_block(self, name: str) -> tuple[_Block, Spec]:
        """The block for those who use it, and its text as plain values."""
        inputs = set(self.inputs)
        last = self._leaf()
        if last.name in inputs:
            last = self._linear(last)
        fields: Spec = {}
        outputs: dict[str, str] = {}
        if self.draw(st.booleans()):
            made = [value.name for value in self.values if value.name not in inputs]
            outputs = {"main": last.name, "side": self.draw(st.sampled_from(made))}
        elif last is not self.values[-1] or self.draw(st.sampled_from(RARELY)):
            outputs = {"main": last.name}
        parameters = self._defaults(required=True)
        if parameters:
            fields["parameters"] = parameters
        if self.inputs != ("input",):
            fields["inputs"] = list(self.inputs)
        if outputs:
            fields["outputs"] = outputs
        fields["layers"] = self.layers
        return _Block(name, parameters, self.inputs, tuple(outputs)), fields

    def finish_network(self, define: Spec) -> Spec:
        """The whole spec; its last layer is there whatever has been left out."""
        last = self._leaf()
        aux = [value.name for value in self.values[1:] if "." not in value.name]
        count = self.draw(st.integers(1, 3))
        if len(self.shape) == 1:
            self.layers.append({"dense": {"name": "head", "from": last.name, "units": count}})
        else:
            head = {"name": "head", "from": last.name, "filters": count, "kernel": 1}
            self.layers.append({"conv": head})
        spec: Spec = {"cnnspec": 1, "name": "net", "input": list(self.shape)}
        parameters = self._defaults(required=False)
        if parameters:
            spec["parameters"] = parameters
        spec["define"] = define
        spec["layers"] = self.layers
        losses: Spec = {"main": "mean_squared_error"}
        if aux and self.draw(st.sampled_from(RARELY)):
            # A linear layer of its own: what it reads may have been left out.
            own = dict(next(iter(self.layers[-1].values())), name="aux")
            own["from"] = self.draw(st.sampled_from(aux))
            self.layers.append({next(iter(self.layers[-1])): own})
            spec["outputs"] = {"main": "head", "aux": {"from": "aux", "training_only": True}}
            losses["aux"] = "mean_squared_error"
        if self.draw(st.booleans()):
            loss = losses if len(losses) > 1 else losses["main"]
            spec["train"] = {"loss": loss, "optimizer": {"sgd": {"lr": 0.1}}}
        return spec


def _plain(shape: Shape) -> Iterator[str]:
    """Ops that need no field and change no shape; tanh first, as failures shrink towards it."""
    tried = [(channels, *shape[1:]) for channels in (1, 2, 3, 7)]
    yield "tanh"
    for op in registered():
        if op in OPS and op.arity == (1, 1) and op.key not in ("tanh", "dropout"):
            found = [infer(op, {}, [each]) if _fieldless(op) else None for each in tried]
            if all(x is not None and x.shape == s for x, s in zip(found, tried, strict=True)):
                yield op.key


def _fieldless(op: Any) -> bool:
    return not any(info.is_required() for info in op.model_fields.values())
