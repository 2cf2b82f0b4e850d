"""What Keras runs on, by the names in `KERAS_BACKEND`."""

from __future__ import annotations

from cnnspec.backends.base import Runtime

ROUNDED = "keras computes a part of its ops in float32 there, whatever their inputs are"
RUNTIMES = {
    "tensorflow": Runtime("TensorFlow", "cnnspec[tensorflow]", {"KERAS_BACKEND": "tensorflow"}),
    "jax": Runtime(
        "JAX",
        "cnnspec[jax]",
        # The counters of dropout masks are 64 bits wide.
        {"KERAS_BACKEND": "jax", "JAX_ENABLE_X64": "1"},
        single=f"{ROUNDED} (mean, var, tanh and the norms)",
        # The others have `keras.distribution` as a name: TensorFlow trains on one device with it.
        distributes=True,
    ),
    "torch": Runtime(
        "PyTorch",
        "cnnspec[keras-torch]",
        {"KERAS_BACKEND": "torch"},
        single=f"{ROUNDED} (dense, matmul, maximum, mean, var and the norms)",
    ),
}
"""By name, the one that `keras` stands for first."""
DEFAULT = "tensorflow"
