"""PNG and JPEG files as one sample of an input; they are not trusted."""

from __future__ import annotations

import os
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy.typing as npt

from cnnspec import files
from cnnspec.data.pixels import BadPicture, pillow, pixels, read, size
from cnnspec.diagnostics import DataError, Diagnostic
from cnnspec.ops.base import Shape, show

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["read_picture"]

Array = npt.NDArray[Any]


def read_picture(path: str, shape: Shape, *, resize: bool = False) -> tuple[Array, list[str]]:
    """Read a picture as one sample, by the rules of `pixels`, as data sets are read.

    Args:
        path: a PNG or JPEG file.
        shape: what the network takes: 1 or 3 channels, rows, columns.
        resize: whether another size is brought to this one, bilinearly with antialiasing; else
            it is refused.

    Returns:
        float64 in [0, 1], (channels, rows, columns), and a remark on everything that was done.

    Raises:
        SetupError: there is no such file, or Pillow cannot be imported.
        DataError: it is no such picture, it is damaged, too large, or of another size.
    """
    if len(shape) != 3 or shape[0] not in (1, 3):
        raise DataError(
            Diagnostic(
                "image-does-not-fit",
                f"`{path}` is a picture, and the network takes {show(shape)}",
                help="pictures go into inputs of 1 or 3 channels, height and width; an .npy file "
                "of this shape goes into any",
            )
        )
    pillow()  # before a file is looked for
    try:
        with open(path, "rb") as stream:
            if os.fstat(stream.fileno()).st_size == 0:
                raise BadPicture("is empty")
            found, notes = read(stream, partial(_sample, path=path, shape=shape, resize=resize))
    except BadPicture as fault:
        raise DataError(Diagnostic("image-unreadable", f"`{path}` {fault.what}")) from None
    except (OSError, ValueError) as error:
        raise files.unreadable(path, error) from None
    return found / 255, notes


def _sample(image: Image, path: str, shape: Shape, resize: bool) -> tuple[Array, list[str]]:
    channels, rows, columns = shape
    if not resize and size(image) != (rows, columns):
        height, width = size(image)
        raise DataError(
            Diagnostic(
                "image-does-not-fit",
                f"`{path}` has {height} rows of {width} pixels, and the network takes "
                f"{rows} of {columns}",
                help="`--resize` brings it to this size",
            )
        )
    return pixels(image, channels, (rows, columns))
