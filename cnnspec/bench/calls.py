"""Inference and a training step as a user of the emitted file calls them, in each framework."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cnnspec.backends.base import At, Session

if TYPE_CHECKING:
    from cnnspec.backends.base import Array

__all__ = ["Calls", "calls"]


def _nothing() -> int:
    return 0


@dataclass(frozen=True, slots=True)
class Calls:
    """What is measured; each returns when it is done, on a GPU as well.

    Attributes:
        infer: a batch through the network.
        step: an update.
        device_peak: the most bytes that were in use on the GPU since `reset_device`.
        reset_device: begins a new peak there.
        on_device: whether memory is that of a GPU.
    """

    infer: Callable[[], object]
    step: Callable[[], object]
    on_device: bool = False
    device_peak: Callable[[], int] = _nothing
    reset_device: Callable[[], object] = _nothing


def calls(
    backend: str, session: Session, inputs: Mapping[str, Array], targets: Mapping[str, Array]
) -> Calls:
    """The calls of a session.

    Args:
        backend: its name, without an engine's.
        session: over the emitted text.
        inputs: by name, float32, N, channels, then space.
        targets: by name.
    """
    updates = iter(range(1 << 62))

    def step() -> object:
        return session.step(inputs, targets, at=At(next(updates)), updates_per_epoch=1 << 20)

    made = {"torch": _torch, "keras": _keras}.get(backend)
    if made is None:
        return Calls(lambda: session.forward(inputs), step)
    return made(session, inputs, step)


def _torch(session: Any, inputs: Mapping[str, Array], step: Callable[[], object]) -> Calls:
    import torch

    model = session.model
    given = session.tensors(inputs)
    if session.device.type != "cuda":

        def infer() -> object:
            model.eval()
            with torch.inference_mode():
                return model(*given)

        return Calls(infer, step)

    def infer_there() -> None:
        model.eval()
        with torch.inference_mode():
            model(*given)
        torch.cuda.synchronize()

    def step_there() -> None:
        step()
        torch.cuda.synchronize()

    return Calls(
        infer_there,
        step_there,
        True,
        torch.cuda.max_memory_allocated,
        torch.cuda.reset_peak_memory_stats,
    )


def _keras(session: Any, inputs: Mapping[str, Array], step: Callable[[], object]) -> Calls:
    from cnnspec.backends.keras.live import single

    given = {name: session.array(inputs[name]) for name, _ in session.emitted.inputs}
    model, alone = session.inference, single(given)
    return Calls(lambda: model.predict_on_batch(alone), step)
