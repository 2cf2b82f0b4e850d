"""PNG and JPEG files of a data set, as bytes of channels, rows, columns; they are not trusted."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from cnnspec.data.dataset import Array
from cnnspec.data.pixels import BadPicture, pixels, read, size
from cnnspec.data.reading import File, corrupt
from cnnspec.diagnostics import DataError, Diagnostic, Label

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["SUFFIXES", "Decoder"]

SUFFIXES = (".png", ".jpg", ".jpeg")

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Decoder:
    """How files become arrays of one shape.

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
        """The pixels of a file, uint8, (channels, height, width); see `pixels`.

        Raises:
            DataError: the file is missing, empty, damaged, too large, or no PNG or JPEG.
            SetupError: Pillow cannot be imported.
        """
        return self._opened(path, lambda image: pixels(image, self.channels, self.size)[0])

    def measure(self, path: Path) -> tuple[int, int]:
        """Height and width, from the header alone and before resizing.

        Raises:
            DataError: as `decode`, as far as the header shows it.
        """
        return self._opened(path, size)

    def _opened(self, path: Path, use: Callable[[Image], T]) -> T:
        data = File.read(path, self.label).data
        try:
            return read(io.BytesIO(data), use)
        except BadPicture as fault:
            if fault.too_large:
                raise DataError(
                    Diagnostic("data-too-large", f"`{path}` {fault.what}", self.label)
                ) from None
            raise corrupt(path, fault.what, self.label) from None
