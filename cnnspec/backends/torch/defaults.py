"""What torch's modules mean by an argument that is not written."""

from __future__ import annotations

from cnnspec.backends.unify import MISSING

DEFAULTS: dict[str, object] = {
    "affine": True,
    "bias": True,
    "ceil_mode": False,
    "dilation": 1,
    "eps": 1e-5,
    "groups": 1,
    "momentum": 0.1,
    "multiplier": 1,
    "output_padding": 0,
    "padding": 0,
    "padding_mode": "zeros",
}
CONVOLUTIONS = ("nn.Conv", "CroppedConv", "PaddedConv", "SeparableConv", "TrueConv")


def default(function: str, argument: str) -> object:
    """The value that stands for a missing argument; pooling strides are as long as the kernel."""
    if argument == "stride":
        return 1 if function.startswith(CONVOLUTIONS) else MISSING
    return DEFAULTS.get(argument, MISSING)
