"""The taps of a NumPy model: what `trace` sees of each node."""

from __future__ import annotations

from collections.abc import Callable, Collection, Container, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from cnnspec.backends.base import Emitted
from cnnspec.backends.numpy.undrawn import NoDraws
from cnnspec.backends.program import FEED, PARTS, TAP, Executions, tapped

if TYPE_CHECKING:
    from cnnspec.backends.base import Array

    Noise = Callable[[str, Array, bool], Array]
    Observer = Callable[[str, str, Any], None]
    Pair = tuple[Array, Callable[[Any], Any]]

ZERO = np.zeros(())


class Tapped:
    """The same text with taps: a node's pair (value, backward) passes through `_tap`."""

    def __init__(
        self, emitted: Emitted, imports: Collection[str], make: Callable[[Any, Any], Any]
    ) -> None:
        title = f"{emitted.entry} numpy tapped"
        self.program = tapped(emitted.text, title, emitted.lines, imports)
        taps = {TAP: self._tap, FEED: self._feed, PARTS: self._parts}
        self.module = self.program.run(**taps)
        self.model = make(self.module, NoDraws(np.random.PCG64(0)))
        self.executions = Executions(emitted.lines)
        self.begin(None, {}, {})
        for path, layer in self.model.layers():
            self._skippable(path, layer)
        self.paths = dict(_objects(self.model, "", self.module.Model))
        for path in self.executions.modules():
            self._hold(path)
        for path, layer in self.model.layers():
            self._listen(path, layer)

    def begin(
        self,
        feed: Mapping[str, Sequence[Array]] | None,
        perturb: Mapping[str, Array],
        cotangents: Mapping[str, Array],
        noise: Noise | None = None,
        skip: Container[str] = (),
        observe: Observer | None = None,
    ) -> None:
        """Start a new pass."""
        self.feed, self.perturb, self.cotangents, self.noise = feed, perturb, cotangents, noise
        self.skip, self.observe = skip, observe
        self.skipped = False  # whether the layer that has just run was left out
        self.executions.begin()
        self.values: dict[str, Array] = {}
        self.gradients: dict[str, Array] = {}
        self.own: dict[str, tuple[Array, ...]] = {}

    def _hold(self, path: str) -> None:
        """Tap what a sequence holds: a layer's own `forward`, or a function in its place."""
        *containers, name = path.split(".")
        container = self.model
        for part in containers:
            container = vars(container)[part]
        held = vars(container)[name]
        if callable(held):
            vars(container)[name] = lambda x: self._held(path, held, x)
        else:
            forward = held.forward

            def tapped(x: Array, training: bool = False) -> Pair:
                return self._held(path, forward, x, training)

            held.forward = tapped

    def _held(self, path: str, forward: Callable[..., Pair], x: Array, *more: Any) -> Pair:
        pair = forward(self._fed(self.executions.node(path), 0, x), *more)
        return self._tapped(self.executions.done(path), pair)

    def _skippable(self, path: str, layer: Any) -> None:
        """Let a pass leave a layer out; whatever reads its value is fed with another one."""
        forward = layer.forward

        def skipping(x: Array, *more: Any) -> Pair:
            if path in self.skip:
                self.skipped = True
                return x, lambda _: np.broadcast_to(np.zeros((), x.dtype), x.shape)
            pair: Pair = forward(x, *more)
            return pair

        layer.forward = skipping

    def _listen(self, path: str, layer: Any) -> None:
        """Let the noise reach what a layer adds to its parameters' gradients."""
        accumulate = layer.accumulate

        def noisy(name: str, gradient: Array) -> None:
            if self.noise is not None:
                gradient = self.noise(f"{path}.{name}", gradient, True)
            accumulate(name, gradient)

        layer.accumulate = noisy

    def _tap(self, name: str, *shared: Any) -> Pair:
        *model, pair = shared
        live = self.paths[id(model[0])] if model else ""
        return self._tapped(self.executions.done(live, name), pair)

    def _feed(self, name: str, index: int, *shared: Any) -> Array:
        *model, value = shared
        live = self.paths[id(model[0])] if model else ""
        return self._fed(self.executions.node(live, name), index, value)

    def _parts(
        self, names: tuple[str, ...], model: Any, function: Any, x: Array, *args: Any
    ) -> tuple[tuple[Array, ...], Callable[[Sequence[Array]], Array]]:
        """What a function gives; each of its results is a node of its own."""
        live = "" if model is None else self.paths[id(model)]
        values, backs = [], []
        for index, name in enumerate(names):
            parts, back = function(self._fed(self.executions.node(live, name), 0, x), *args)
            pair = parts[index], _one_of(parts, index, back)
            value, own = self._tapped(self.executions.done(live, name), pair)
            values.append(value)
            backs.append(own)

        def backward(gradients: Sequence[Array]) -> Array:
            found = [own(g) for own, g in zip(backs, gradients, strict=True)]
            total: Array = np.sum(found, axis=0)
            return total

        return tuple(values), backward

    def _tapped(self, node: str | None, pair: Pair) -> Pair:
        if node is None:
            return pair
        value, back = pair
        if self.skipped:
            # What is skipped hands its input on, and others go by the shape of its value.
            self.skipped = False
            if node in self.cotangents:
                shape = self.cotangents[node].shape
                value = np.broadcast_to(np.zeros((), value.dtype), shape)
        if node in self.perturb:
            value = value * self.perturb[node]
        if self.noise is not None:
            value = self.noise(node, value, False)
        self._told("values", node, value)
        if self.feed is not None:
            return value, self._alone(node, value, back)

        def backward(gradient: Array) -> Any:
            return self._pulled(node, gradient, back)

        return value, backward

    def _alone(self, node: str, value: Array, back: Callable[[Any], Any]) -> Callable[[Any], Any]:
        """Go backward at once, as the cotangent is given, and forget what that needs."""
        if not self.cotangents:
            return back
        given = self.cotangents[node] if node in self.cotangents else np.zeros_like(value)
        own = self._pulled(node, given.astype(value.dtype, copy=False), back)
        if isinstance(own, tuple):
            zeros: Any = tuple(np.broadcast_to(ZERO, each.shape) for each in own)
        else:
            zeros = np.broadcast_to(ZERO, own.shape)
        return lambda _: zeros

    def _pulled(self, node: str, gradient: Array, back: Callable[[Any], Any]) -> Any:
        if node in self.perturb:
            gradient = gradient * self.perturb[node]
        if self.noise is not None:
            gradient = self.noise(node, gradient, True)
        self._told("gradients", node, gradient)
        own = back(gradient)
        self._told("own", node, own if isinstance(own, tuple) else (own,))
        return own

    def _told(self, kind: str, node: str, answer: Any) -> None:
        """Keep what a node answers, or give it to whoever observes the pass."""
        if self.feed is not None and node not in self.feed:
            return
        if self.observe is None:
            getattr(self, kind)[node] = answer
        else:
            self.observe(kind, node, answer)

    def _fed(self, node: str | None, index: int, value: Array) -> Array:
        if self.feed is None or node is None or node not in self.feed:
            return value
        return np.asarray(self.feed[node][index]).astype(value.dtype, copy=False)


def _one_of(
    parts: Sequence[Array], index: int, back: Callable[[Sequence[Array]], Array]
) -> Callable[[Array], Array]:
    """The backward of one of several results, when nothing comes from the others."""
    return lambda g: back(
        [g if i == index else np.zeros(part.shape, g.dtype) for i, part in enumerate(parts)]
    )


def _objects(model: Any, path: str, kind: type) -> Iterator[tuple[int, str]]:
    """The path of a model and of every model in it, by identity."""
    yield id(model), path
    for name, child in vars(model).items():
        if isinstance(child, kind):
            yield from _objects(child, f"{path}.{name}" if path else name, kind)
