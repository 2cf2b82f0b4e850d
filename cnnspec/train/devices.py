"""Several devices of one process, each with a part of every batch."""

from __future__ import annotations

from cnnspec.backends.runtimes import Runnable
from cnnspec.diagnostics import Diagnostic, SetupError

__all__ = ["require_devices"]


def require_devices(running: Runnable, count: int, batch: int) -> None:
    """Refuse several devices where they would not share the work.

    Args:
        running: the back end and its engine.
        count: of devices.
        batch: samples of a batch.

    Raises:
        SetupError: it trains on one, or batches cannot be shared out in equal parts.
    """
    if count == 1:
        return
    if running.runtime is None or not running.runtime.distributes:
        title = "" if running.runtime is None else f" on {running.runtime.title}"
        raise SetupError(
            Diagnostic(
                "one-device-only",
                f"the back end {running.backend.name}{title} trains on one device, and {count} "
                "were asked for",
                notes=("`keras.distribution` shares batches out on JAX alone",),
                help="`--backend keras:jax`, or `--backend torch` under torchrun, with a process "
                "for each device",
            )
        )
    if batch % count:
        sizes = [size for size in (batch - batch % count, batch + count - batch % count) if size]
        raise SetupError(
            Diagnostic(
                "uneven-devices",
                f"batches of {batch} samples have no {count} equal parts",
                help=f"`batch: {' or '.join(map(str, sizes))}`, or other `--devices`",
            )
        )
