"""The same Keras text with taps, which are operations between the layers of the text."""

from __future__ import annotations

import sys
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import keras

from cnnspec.backends.base import Emitted
from cnnspec.backends.keras.engines import Engine
from cnnspec.backends.keras.undrawn import undrawn
from cnnspec.backends.program import FEED, PARTS, TAP, tapped


class Recorder:
    """What the taps of one model write and read during a pass."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.clear()

    def clear(self) -> None:
        """Forget the pass."""
        self.values: dict[str, Any] = {}
        self.feed: Mapping[str, Sequence[Any]] | None = None
        self.perturb: Mapping[str, Any] = {}
        self.offsets: Mapping[str, Any] = {}


class _Passing(keras.Operation):
    """Something between layers that changes no shape; no layer, as these take long to make."""

    def compute_output_spec(self, x: Any) -> Any:
        """The input's."""
        return keras.KerasTensor(x.shape, x.dtype)


class Tap(_Passing):
    """Records a node's value on its way."""

    def __init__(self, recorder: Recorder, node: str) -> None:
        super().__init__(name=f"{node}.tap")
        self.recorder, self.node = recorder, node

    def call(self, x: Any) -> Any:
        """The value, or the value times its perturbation; a tensor of its own in any case."""
        recorder = self.recorder
        if recorder.feed is not None and self.node not in recorder.feed:
            return x
        factor = recorder.perturb.get(self.node)
        x = recorder.engine.own(x) if factor is None else x * factor
        if self.node in recorder.offsets:
            x = x + recorder.offsets[self.node]
        recorder.values[self.node] = x
        return x


class Feed(_Passing):
    """Puts another value in the place of a node's input."""

    def __init__(self, recorder: Recorder, node: str, index: int) -> None:
        super().__init__(name=f"{node}.feed{index}")
        self.recorder, self.node, self.index = recorder, node, index

    def call(self, x: Any) -> Any:
        """The value that is fed, or the input where there is none."""
        feed = self.recorder.feed
        return x if feed is None or self.node not in feed else feed[self.node][self.index]


class Tapped:
    """A second model of the same text, whose nodes can be fed, moved and looked at.

    Attributes:
        model: with all outputs.
        inference: with those of inference.
    """

    def __init__(self, emitted: Emitted, imports: Collection[str], engine: Engine) -> None:
        title = f"{emitted.entry} keras tapped"
        self.program = tapped(emitted.text, title, emitted.lines, imports, "name")
        self.recorder = Recorder(engine)

        def tap(node: str, *shared: Any) -> Any:
            *instance, x = shared
            return Tap(self.recorder, ".".join([*instance, node]))(x)

        def feed(node: str, index: int, *shared: Any) -> Any:
            *instance, x = shared
            return Feed(self.recorder, ".".join([*instance, node]), index)(x)

        def parts(names: tuple[str, ...], instance: str | None, layer: Any, x: Any) -> list[Any]:
            own = [] if instance is None else [instance]
            found = [layer(feed(name, 0, *own, x))[i] for i, name in enumerate(names)]
            return [tap(name, *own, y) for name, y in zip(names, found, strict=True)]

        self.module = self.program.run(**{TAP: tap, FEED: feed, PARTS: parts})
        with _as_deep_as_without_taps(), undrawn():
            if emitted.training_only:
                self.model, self.inference = both(self.module)
            else:
                self.model = self.inference = getattr(self.module, emitted.entry)()


def both(module: Any) -> tuple[Any, Any]:
    """The model with all outputs, and the one for inference."""
    inference, training = module.build_models()
    return training, inference


@contextmanager
def _as_deep_as_without_taps() -> Iterator[None]:
    """A layer with its tap and its feeds is three, and Keras recurses over a model's layers.

    What Keras refuses of the text itself, it refuses of the model that has no taps.
    """
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(4 * limit)
    try:
        yield
    finally:
        sys.setrecursionlimit(limit)
