"""What the pixels of a PNG or JPEG file are, through Pillow; the file is not trusted."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, BinaryIO, TypeVar

import numpy as np

from cnnspec.data.dataset import Array
from cnnspec.diagnostics import Diagnostic, SetupError, UserError

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["MOST_PIXELS", "BadPicture", "pillow", "pixels", "read", "size"]

MOST_PIXELS = 2**26
"""67 million; a file of a few bytes may claim more, and would fill the memory."""

ORIENTATION = 0x0112
SIDEWAYS = (5, 6, 7, 8)
DEEP = 257
"""The largest value of 16 bits is so many times that of 8."""

T = TypeVar("T")


class BadPicture(Exception):
    """A file is no picture that is read.

    Attributes:
        what: the end of a sentence that begins with the name of the file.
        too_large: whether only its size speaks against it.
    """

    def __init__(self, what: str, *, too_large: bool = False) -> None:
        super().__init__(what)
        self.what, self.too_large = what, too_large


def read(stream: BinaryIO, use: Callable[[Image], T]) -> T:
    """What `use` makes of the picture in a stream.

    Raises:
        BadPicture: it is damaged, too large, or no PNG or JPEG.
        SetupError: Pillow cannot be imported.
        OSError: the system refuses to read.
        UserError: what `use` raises.
    """
    library = pillow()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of large ones, which are counted below
            with library.open(stream, formats=("PNG", "JPEG")) as image:
                if image.width * image.height > MOST_PIXELS:
                    raise _too_large(f"{image.height:,} rows of {image.width:,} pixels")
                return use(image)
    except (BadPicture, UserError):
        raise
    except Exception as fault:  # a damaged picture raises whatever its parts raise
        if isinstance(fault, OSError) and fault.errno is not None:
            raise
        if type(fault).__name__ == "DecompressionBombError":
            raise _too_large(str(fault)) from None
        raise BadPicture(f"is no PNG or JPEG, or a damaged one ({_brief(fault)})") from None


def _too_large(what: str) -> BadPicture:
    return BadPicture(f"is larger than {MOST_PIXELS:,} pixels: {what}", too_large=True)


def size(image: Image) -> tuple[int, int]:
    """Height and width as it will lie, from the header alone."""
    turned = image.getexif().get(ORIENTATION) in SIDEWAYS
    return (image.width, image.height) if turned else (image.height, image.width)


def pixels(
    image: Image, channels: int, wanted: tuple[int, int] | None = None
) -> tuple[Array, list[str]]:
    """The pixels of a picture, and a remark on everything that was done.

    A picture lies as its EXIF data says; what is transparent is laid on white; 16 bits of grey
    are rounded to 8; colours become grey by ITU-R 601-2 (0.299 R + 0.587 G + 0.114 B), and grey
    becomes three equal channels; another size is resized bilinearly with antialiasing, last.

    Args:
        image: of `read`.
        channels: 1 or 3.
        wanted: height and width; None leaves them as they are.

    Returns:
        uint8, (channels, height, width).
    """
    library = pillow()
    notes: list[str] = []
    image.load()
    if image.getexif().get(ORIENTATION, 1) != 1:
        image = pillow("ImageOps").exif_transpose(image)
        notes.append("turned as its EXIF data says")
    clear = image.has_transparency_data
    if image.mode.startswith("I"):
        deep = np.asarray(image).astype(np.int64)
        if clear:  # one value of grey, which what follows would not find
            deep[deep == image.info["transparency"]] = DEEP * 255
        image = library.fromarray(((deep + DEEP // 2) // DEEP).astype(np.uint8))
        notes.append("16 bits of grey, rounded to 8")
    elif clear:
        white = library.new("RGBA", image.size, "white")
        image = library.alpha_composite(white, image.convert("RGBA")).convert("RGB")
    if clear:
        notes.append("what is transparent was laid on white")
    if image.mode not in ("L", "RGB", "1"):
        image = image.convert("RGB")
    if image.mode == "RGB" and channels == 1:
        notes.append("colours as grey by ITU-R 601-2: 0.299 R + 0.587 G + 0.114 B")
    elif image.mode != "RGB" and channels == 3:
        notes.append("grey, as three equal channels")
    image = image.convert("RGB" if channels == 3 else "L")
    if wanted is not None and (image.height, image.width) != wanted:
        height, width = wanted
        notes.append(f"{image.height}x{image.width} resized to {height}x{width}, bilinearly")
        image = image.resize((width, height), library.Resampling.BILINEAR)
    found = np.asarray(image, np.uint8)
    planes = found[None] if found.ndim == 2 else found.transpose(2, 0, 1)
    return np.ascontiguousarray(planes), notes


def pillow(module: str = "Image") -> ModuleType:
    """A module of Pillow.

    Raises:
        SetupError: it cannot be imported.
    """
    try:
        return import_module(f"PIL.{module}")
    except ImportError as fault:
        raise SetupError(
            Diagnostic(
                "extra-missing",
                "images are read and written with Pillow, which cannot be imported",
                notes=(str(fault),),
                help="pip install 'cnnspec[data]'",
            )
        ) from fault


def _brief(fault: Exception) -> str:
    """The first line of what a library says, without an address of one of its objects."""
    text = str(fault).split(" <_io", 1)[0].strip().splitlines()
    return text[0][:120] if text else type(fault).__name__
