"""Files that a network is shown: pictures and arrays, read as one sample of an input."""

from __future__ import annotations

from cnnspec.images.arrays import ARRAYS, read_array
from cnnspec.images.pictures import read_picture
from cnnspec.images.sample import Sample, Scaling, assemble, read_sample

__all__ = [
    "ARRAYS",
    "Sample",
    "Scaling",
    "assemble",
    "read_array",
    "read_picture",
    "read_sample",
]
