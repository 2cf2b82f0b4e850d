"""PNG and JPEG files to bytes of channels, rows, columns, through Pillow; they are not trusted."""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from cnnspec.data.dataset import Array
from cnnspec.data.reading import File, corrupt
from cnnspec.diagnostics import DataError, Diagnostic, Label, SetupError, UserError

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["MOST_PIXELS", "SUFFIXES", "Decoder", "pillow"]

MOST_PIXELS = 2**26
"""67 million; a file of a few bytes may claim more, and would fill the memory."""

SUFFIXES = (".png", ".jpg", ".jpeg")

ORIENTATION = 0x0112
SIDEWAYS = (5, 6, 7, 8)

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Decoder:
    """How files become arrays of one shape.

    A picture lies as its EXIF data says; what is transparent is laid on white; colours become
    grey by ITU-R 601-2 (0.299 R + 0.587 G + 0.114 B), and grey becomes three equal channels.

    Attributes:
        channels: 1 or 3.
        size: height and width, to which pictures are resized bilinearly with antialiasing; None
            leaves them as they are.
        label: the place in the spec that has led to them.
    """

    channels: int
    size: tuple[int, int] | None
    label: Label | None = None

    def decode(self, path: Path) -> Array:
        """The pixels of a file, uint8, (channels, height, width).

        Raises:
            DataError: the file is missing, empty, damaged, too large, or no PNG or JPEG.
            SetupError: Pillow cannot be imported.
        """
        return self._opened(path, self._pixels)

    def measure(self, path: Path) -> tuple[int, int]:
        """Height and width, from the header alone and before resizing.

        Raises:
            DataError: as `decode`, as far as the header shows it.
        """
        return self._opened(path, _size)

    def _opened(self, path: Path, use: Callable[[Image], T]) -> T:
        library = pillow()
        data = File.read(path, self.label).data
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of large ones, which are counted below
                with library.open(io.BytesIO(data), formats=("PNG", "JPEG")) as image:
                    self._bounded(path, image)
                    return use(image)
        except UserError:
            raise
        except Exception as fault:  # a damaged picture raises whatever its parts raise
            if type(fault).__name__ == "DecompressionBombError":
                raise self._too_large(path, str(fault)) from None
            what = f"is no PNG or JPEG, or a damaged one ({_brief(fault)})"
            raise corrupt(path, what, self.label) from None

    def _bounded(self, path: Path, image: Image) -> None:
        if image.width * image.height > MOST_PIXELS:
            raise self._too_large(path, f"{image.height:,} rows of {image.width:,} pixels")

    def _too_large(self, path: Path, what: str) -> DataError:
        return DataError(
            Diagnostic(
                "data-too-large",
                f"`{path}` is larger than {MOST_PIXELS:,} pixels",
                self.label,
                notes=(what,),
            )
        )

    def _pixels(self, image: Image) -> Array:
        library = pillow()
        image.load()
        image = pillow("ImageOps").exif_transpose(image)
        if image.mode.startswith(("I", "F")):
            raise ValueError("its pixels have more than 8 bits")
        if image.has_transparency_data:
            white = library.new("RGBA", image.size, "white")
            image = library.alpha_composite(white, image.convert("RGBA")).convert("RGB")
        if image.mode not in ("L", "RGB", "1"):
            image = image.convert("RGB")
        image = image.convert("RGB" if self.channels == 3 else "L")
        if self.size is not None and (image.height, image.width) != self.size:
            height, width = self.size
            image = image.resize((width, height), library.Resampling.BILINEAR)
        pixels = np.asarray(image, np.uint8)
        return pixels[None] if pixels.ndim == 2 else np.ascontiguousarray(pixels.transpose(2, 0, 1))


def _size(image: Image) -> tuple[int, int]:
    turned = image.getexif().get(ORIENTATION) in SIDEWAYS
    return (image.width, image.height) if turned else (image.height, image.width)


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
