"""What Keras' layers mean by an argument that is not written."""

from __future__ import annotations

from cnnspec.backends.unify import MISSING

DEFAULTS: dict[str, object] = {
    "center": True,
    "depth_multiplier": 1,
    "dilation_rate": 1,
    "groups": 1,
    "padding": "valid",
    "scale": True,
    "strides": 1,
    "use_bias": True,
}


def default(function: str, argument: str) -> object:
    """The value that stands for a missing argument; pooling strides are as long as the kernel."""
    if argument == "strides" and "Conv" not in function:
        return MISSING
    return DEFAULTS.get(argument, MISSING)
