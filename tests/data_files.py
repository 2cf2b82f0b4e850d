"""Small data files of every format, written as the real ones are."""

from __future__ import annotations

import gzip
import io
import struct
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

Array = npt.NDArray[Any]

CODES = {"u1": 0x08, "i1": 0x09, "i2": 0x0B, "i4": 0x0C, "f4": 0x0D, "f8": 0x0E}


def idx_bytes(array: Array) -> bytes:
    code = CODES[array.dtype.str[1:]]
    head = struct.pack(f">BBBB{array.ndim}I", 0, 0, code, array.ndim, *array.shape)
    return head + array.astype(array.dtype.newbyteorder(">")).tobytes()


def pictures(count: int, shape: tuple[int, ...], seed: int = 0) -> Array:
    return np.random.default_rng(seed).integers(0, 256, (count, *shape)).astype(np.uint8)


def mnist(
    folder: Path,
    train: int = 20,
    test: int = 6,
    *,
    packed: bool = False,
    shape: tuple[int, int] = (7, 5),
) -> None:
    """The four files under their usual names; labels go 0, 1, 2, ..."""
    for half, count in (("train", train), ("t10k", test)):
        for name, array in (
            (f"{half}-images-idx3-ubyte", pictures(count, shape, seed=count)),
            (f"{half}-labels-idx1-ubyte", (np.arange(count) % 3).astype(np.uint8)),
        ):
            data = idx_bytes(array)
            if packed:
                (folder / f"{name}.gz").write_bytes(gzip.compress(data))
            else:
                (folder / name).write_bytes(data)


def cifar_bytes(count: int, labels: int = 1, seed: int = 0) -> bytes:
    images = pictures(count, (3072,), seed)
    marks = np.random.default_rng(seed).integers(0, 10, (count, labels)).astype(np.uint8)
    return np.concatenate([marks, images], axis=1).tobytes()


def cifar10(folder: Path, count: int = 3) -> None:
    for i in range(1, 6):
        (folder / f"data_batch_{i}.bin").write_bytes(cifar_bytes(count, seed=i))
    (folder / "test_batch.bin").write_bytes(cifar_bytes(count, seed=9))
    names = "airplane automobile bird cat deer dog frog horse ship truck"
    (folder / "batches.meta.txt").write_text("\n".join(names.split()) + "\n\n")


def image_bytes(array: Array, form: str = "PNG", **options: Any) -> bytes:
    """(height, width) or (height, width, channels)."""
    stream = io.BytesIO()
    Image.fromarray(array).save(stream, format=form, **options)
    return stream.getvalue()


def image_folder(folder: Path, classes: int = 2, count: int = 3) -> None:
    for i in range(classes):
        place = folder / f"class{i}"
        place.mkdir(parents=True)
        for j in range(count):
            array = pictures(1, (6, 8, 3), seed=10 * i + j)[0]
            form = "JPEG" if j % 2 else "PNG"
            (place / f"{j}.{form.lower()}").write_bytes(image_bytes(array, form))


def npz_bytes(**arrays: Array) -> bytes:
    stream = io.BytesIO()
    np.savez(stream, allow_pickle=True, **arrays)
    return stream.getvalue()
