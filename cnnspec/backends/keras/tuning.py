"""How a Keras model runs: mixed precision; the text stays as it is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import keras

from cnnspec.backends.base import Tuning
from cnnspec.backends.keras.live import layers
from cnnspec.diagnostics import Diagnostic, SetupError

if TYPE_CHECKING:
    from cnnspec.backends.keras.session import KerasSession

NORMS = (
    keras.layers.BatchNormalization,
    keras.layers.GroupNormalization,
    keras.layers.LayerNormalization,
)


def tune(session: KerasSession, tuning: Tuning) -> None:
    """Let a session's model run so; it is made anew, and has no weights until they are assigned.

    Raises:
        SetupError: Keras has no such option, or the parts do not go together.
    """
    if tuning.channels_last or tuning.compile:
        raise SetupError(
            Diagnostic(
                "no-tuning",
                "the back end keras has no options for channels last or compilation",
                notes=("its images have their channels last in any case",)
                if tuning.channels_last
                else (),
                help="leave them out, or `--backend torch`",
            )
        )
    if tuning.precision is None:
        return
    if session.dtype != "float32":
        raise SetupError(
            Diagnostic(
                "precision-without-float32",
                f"`{tuning.precision}` is computed with beside float32 weights, and these are "
                f"{session.dtype}",
                help="`--dtype float32`",
            )
        )
    session.policy = f"mixed_{tuning.precision}"
    session.build(drawn=False)


def keep_statistics(model: Any, dtype: str) -> None:
    """Norms compute in the dtype of the weights: eight bits would stop running statistics.

    PyTorch does the same in mixed precision. `dtype` is that of the weights.
    """
    for layer in layers(model):
        if isinstance(layer, NORMS) and layer.compute_dtype != dtype:
            layer.dtype_policy = dtype
