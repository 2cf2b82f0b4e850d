"""What NumPy's layers mean by an argument that is not written."""

from __future__ import annotations

from cnnspec.backends.unify import MISSING

DEFAULTS: dict[str, object] = {
    "affine": True,
    "bias": True,
    "crops": 0,
    "dilation": 1,
    "eps": 1e-5,
    "flip": False,
    "groups": 1,
    "mode": "zeros",
    "momentum": 0.1,
    "multiplier": 1,
    "pads": 0,
}


def default(function: str, argument: str) -> object:
    """The value that stands for a missing argument; pooling strides are as long as the kernel."""
    if argument == "stride":
        return 1 if "Conv" in function else MISSING
    return DEFAULTS.get(argument, MISSING)
