"""A sheet of images in rows and columns, with titles."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from cnnspec.data.dataset import Array
from cnnspec.data.pixels import pillow

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["Cell", "sheet"]

SIDE = 112
"""Pixels that an image is enlarged to at least, if it is not larger itself."""

GAP = 8
TEXT = 14
LINE = TEXT + 6
PAPER, INK = "white", "black"


@dataclass(frozen=True, slots=True, eq=False)
class Cell:
    """An image (channels, height, width), and what stands below it."""

    image: Array
    caption: str


def sheet(titles: Sequence[str], rows: Sequence[str], columns: Sequence[Sequence[Cell]]) -> Image:
    """Draw columns of images.

    Black is the least value of the first column and white its largest one; what is beyond is
    cut off. Pixels are enlarged by a whole number.

    Args:
        titles: of the columns.
        rows: what each row is called.
        columns: from left to right, each from top to bottom.
    """
    drawing = pillow("ImageDraw")
    font = pillow("ImageFont").load_default(TEXT)
    low = min(float(cell.image.min()) for cell in columns[0])
    high = max(float(cell.image.max()) for cell in columns[0])
    height, width = columns[0][0].image.shape[1:]
    factor = max(1, SIDE // max(height, width))
    left = GAP + max(round(font.getlength(name)) for name in rows) + GAP
    texts = [*titles, *(cell.caption for column in columns for cell in column)]
    across = max(factor * width, *(round(font.getlength(text)) for text in texts)) + GAP
    down = factor * height + LINE + GAP
    size = (left + across * len(columns) + GAP, GAP + LINE + down * len(rows))
    picture: Image = pillow("Image").new("RGB", size, PAPER)
    draw = drawing.Draw(picture)
    for i, title in enumerate(titles):
        draw.text((left + i * across, GAP), title, fill=INK, font=font)
    for j, name in enumerate(rows):
        top = GAP + LINE + j * down
        draw.text((GAP, top), name, fill=INK, font=font)
        for i, column in enumerate(columns):
            x = left + i * across
            picture.paste(_pixels(column[j].image, low, high, factor), (x, top))
            place = (x, top + factor * height + 2)
            draw.text(place, column[j].caption, fill=INK, font=font)
    return picture


def _pixels(image: Array, low: float, high: float, factor: int) -> Image:
    """An image of 3 channels in colour, of any other number its first one in grey."""
    scale = 255 / (high - low) if high > low else 0.0
    levels = np.clip(np.rint((image - low) * scale), 0, 255).astype(np.uint8)
    planes = levels.transpose(1, 2, 0) if len(levels) == 3 else levels[0]
    found: Image = pillow("Image").fromarray(np.ascontiguousarray(planes))
    size = (found.width * factor, found.height * factor)
    return found.resize(size, pillow("Image").Resampling.NEAREST)
