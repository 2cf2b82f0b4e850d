"""Several devices that share each batch out, by `keras.distribution`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras

from cnnspec.diagnostics import Diagnostic, SetupError


class Slices(keras.distribution.DataParallel):  # type: ignore[misc]  # Keras has no types
    """A slice of each batch on every device; what has no equal slices is whole on all of them.

    A program for all devices computes what one would: means are those of the whole batch. The last
    batch of an epoch has any size.
    """

    def get_data_layout(self, data_shape: Sequence[int]) -> Any:
        """Of the first axis, if it can be."""
        if data_shape and data_shape[0] % self.num_model_replicas == 0:
            return super().get_data_layout(data_shape)
        return keras.distribution.TensorLayout([None] * len(data_shape), self.device_mesh)

    def placed(self, tensor: Any) -> Any:
        """A tensor whose first axis is samples, on the devices."""
        layout = self.get_data_layout(tuple(tensor.shape))
        return keras.distribution.distribute_tensor(tensor, layout)


def slices(device: str, count: int) -> Slices:
    """Over the first devices of a kind, "cpu" or "gpu".

    Raises:
        SetupError: there are not so many.
    """
    found = keras.distribution.list_devices(device)
    if len(found) < count:
        raise SetupError(
            Diagnostic(
                "too-few-devices",
                f"{count} devices of the kind `{device}` were asked for, and there are "
                f"{len(found)}",
                help=f"`--devices {max(len(found), 1)}`, or fewer",
            )
        )
    return Slices(devices=found[:count])
