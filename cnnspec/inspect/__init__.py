"""What a trained network looks at: its filters, its feature maps, and what its answer rests on."""

from __future__ import annotations

from cnnspec.inspect.attribution import Occlusion, Saliency, occlusion, saliency
from cnnspec.inspect.layers import select
from cnnspec.inspect.running import command
from cnnspec.inspect.sheets import Options, Picture, features

__all__ = [
    "Occlusion",
    "Options",
    "Picture",
    "Saliency",
    "command",
    "features",
    "occlusion",
    "saliency",
    "select",
]
