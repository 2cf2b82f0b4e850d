"""An epoch by Keras' own training loop, with the callback of the emitted file."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from threading import Lock
from typing import TYPE_CHECKING, Any

import keras

from cnnspec.backends.base import Given
from cnnspec.backends.keras.live import single

if TYPE_CHECKING:
    from cnnspec.backends.keras.session import KerasSession


def fit_epoch(
    session: KerasSession,
    batches: Iterator[Given],
    first_update: int,
    updates_per_epoch: int,
    count: int,
    on_batch: Callable[[int, float], bool],
) -> None:
    """The same updates as by `train_step`; see `FitsEpochs`."""
    if not count:
        return
    feed = _Feed(session, batches)
    schedule = session.module.Schedule(updates_per_epoch, first_update)
    told = _Told(first_update, on_batch)
    try:
        with warnings.catch_warnings():
            # Where the batches end early there is another exception, which says more.
            warnings.filterwarnings("ignore", "Your input ran out of data", UserWarning)
            for size in _alike(session, count):
                session.logits.fit(
                    feed.batches(size),
                    steps_per_epoch=size,
                    shuffle=False,
                    verbose=0,
                    callbacks=[schedule, told],
                )
                if session.logits.stop_training:
                    break
    except Exception:
        if feed.fault is None:
            raise
    finally:
        feed.close()
    if feed.fault is not None:
        raise feed.fault


def _alike(session: KerasSession, count: int) -> Iterator[int]:
    """Numbers of batches for a `fit` each, which lays all of them out on devices as its first."""
    if session.slices is not None and count > 1:
        yield count - 1
        yield 1  # the last one may be smaller
    else:
        yield count


class _Feed:
    """Batches for an engine, which may take them in a thread of its own."""

    def __init__(self, session: KerasSession, batches: Iterator[Given]) -> None:
        self.session, self.taken = session, batches
        self.fault: Exception | None = None
        self._lock, self._open = Lock(), True

    def batches(self, count: int) -> Iterator[tuple[Any, Any]]:
        """Pairs, as `fit` takes them; they end where taking one fails."""
        for _ in range(count):
            pair = self._next()
            if pair is None:
                return
            yield pair

    def _next(self) -> tuple[Any, Any] | None:
        with self._lock:
            if not self._open:
                return None
            try:
                batch = next(self.taken, None)
                return None if batch is None else self._pair(batch)
            except Exception as fault:  # engines would wrap it
                self.fault = fault
                return None

    def _pair(self, batch: Given) -> tuple[Any, Any]:
        session, names = self.session, self.session.emitted.present(training=True)
        inputs = {name: session.array(batch.inputs[name]) for name, _ in session.emitted.inputs}
        targets = {name: session.target_array(batch.targets[name]) for name in names}
        return single(inputs), single(targets)

    def close(self) -> None:
        """Wait for a batch that is being made, and take no more."""
        with self._lock:
            self._open = False


class _Told(keras.callbacks.Callback):  # type: ignore[misc]  # Keras has no types
    """Tells the loss of each batch alone; the logs have the mean over those since a reset."""

    def __init__(self, update: int, on_batch: Callable[[int, float], bool]) -> None:
        super().__init__()
        self.update, self.on_batch_done = update, on_batch

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        self.model.reset_metrics()

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        if keras.backend.backend() == "jax":  # its `fit` has the variables' values elsewhere
            self.model.jax_state_sync()
        self.update += 1
        if self.on_batch_done(self.update - 1, float(logs["loss"])):
            self.model.stop_training = True
