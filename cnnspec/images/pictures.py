"""PNG and JPEG files as channels, rows, columns; they are read with Pillow and are not trusted."""

from __future__ import annotations

import os
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from cnnspec import files
from cnnspec.diagnostics import DataError, Diagnostic, SetupError
from cnnspec.ops.base import Shape, show

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["MOST_PIXELS", "read_picture"]

Array = npt.NDArray[Any]

MOST_PIXELS = 2**26
"""67 million; a file of a few bytes may claim more, and would fill the memory."""

MODES = {1: "L", 3: "RGB"}
HALVES = 65535.0
"""The largest value of a picture of 16 bits."""


def read_picture(path: str, shape: Shape, *, resize: bool = False) -> tuple[Array, list[str]]:
    """Read a picture as one sample.

    A picture lies as its EXIF data says; what is transparent is laid on white; colours become
    grey by ITU-R 601-2 (0.299 R + 0.587 G + 0.114 B), and grey becomes three equal channels.

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
    if len(shape) != 3 or shape[0] not in MODES:
        raise DataError(
            Diagnostic(
                "image-does-not-fit",
                f"`{path}` is a picture, and the network takes {show(shape)}",
                help="pictures go into inputs of 1 or 3 channels, height and width; an .npy file "
                "of this shape goes into any",
            )
        )
    try:
        from PIL import Image
    except ImportError as fault:
        raise SetupError(
            Diagnostic(
                "extra-missing",
                "pictures are read with Pillow, which cannot be imported",
                notes=(str(fault),),
                help="pip install 'cnnspec[inspect]'",
            )
        ) from fault
    try:
        size = os.stat(path).st_size
        with open(path, "rb") as stream, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of large ones, which are counted below
            with Image.open(stream, formats=("PNG", "JPEG")) as image:
                width, height = image.size
                if width * height > MOST_PIXELS:
                    raise DataError(
                        Diagnostic(
                            "image-unreadable",
                            f"`{path}` has {width:,} x {height:,} pixels",
                            notes=(f"at most {MOST_PIXELS:,} are read",),
                        )
                    )
                return _sample(image, path, shape, resize)
    except DataError:
        raise
    except Exception as fault:  # a damaged picture raises whatever its parts raise
        if isinstance(fault, OSError) and fault.errno is not None:
            raise files.unreadable(path, fault) from None
        if isinstance(fault, ValueError) and "null byte" in str(fault):
            raise files.unreadable(path, fault) from None
        what = "is empty" if size == 0 else f"is no PNG or JPEG, or a damaged one ({_brief(fault)})"
        raise DataError(Diagnostic("image-unreadable", f"`{path}` {what}")) from None


def _sample(image: Image, path: str, shape: Shape, resize: bool) -> tuple[Array, list[str]]:
    from PIL import Image, ImageOps

    notes: list[str] = []
    channels, rows, columns = shape
    image.load()
    turned = ImageOps.exif_transpose(image)
    if turned.size != image.size or image.getexif().get(0x0112, 1) != 1:
        notes.append("turned as its EXIF data says")
    image = turned
    if image.has_transparency_data:
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image.convert("RGBA")).convert("RGB")
        notes.append("what is transparent was laid on white")
    if (image.width, image.height) != (columns, rows) and not resize:
        raise DataError(
            Diagnostic(
                "image-does-not-fit",
                f"`{path}` has {image.height} rows of {image.width} pixels, and the network takes "
                f"{rows} of {columns}",
                help="`--resize` brings it to this size",
            )
        )
    if image.mode.startswith("I"):  # 16 bits of grey
        image = Image.fromarray(np.asarray(image, np.float32) / np.float32(HALVES))
        notes.append("16 bits of grey")
    elif image.mode not in ("L", "RGB", "1"):
        image = image.convert("RGB")
    grey = image.mode in ("L", "F", "1")
    if grey and channels == 3:
        notes.append("grey, as three equal channels")
    elif not grey and channels == 1:
        notes.append("colours as grey by ITU-R 601-2: 0.299 R + 0.587 G + 0.114 B")
    if image.mode != "F":
        image = image.convert("RGB" if not grey and channels == 3 else "L")
    if (image.width, image.height) != (columns, rows):
        notes.append(f"{image.height}x{image.width} resized to {rows}x{columns}, bilinearly")
        image = image.resize((columns, rows), Image.Resampling.BILINEAR)
    full = 1.0 if image.mode == "F" else 255.0
    pixels = np.asarray(image, np.float64) / full
    planes = pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)
    return np.ascontiguousarray(np.broadcast_to(planes, shape)), notes


def _brief(fault: Exception) -> str:
    """The first line of what a library says, without an address of one of its objects."""
    text = str(fault).split(" <_io", 1)[0].strip().splitlines()
    return text[0][:120] if text else type(fault).__name__
