"""Every source of data: what is read, and what is wrong with it where it is."""

from __future__ import annotations

import gzip
import io
import os
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import cnnspec
from cnnspec import data, memory
from cnnspec.data import Dataset
from cnnspec.data.idx import read_idx
from cnnspec.data.pixels import MOST_PIXELS
from cnnspec.data_section import DataSection
from cnnspec.diagnostics import DataError, Diagnostic, SetupError
from tests.data_files import (
    Array,
    cifar10,
    cifar_bytes,
    idx_bytes,
    image_bytes,
    image_folder,
    mnist,
    npz_bytes,
    pictures,
)

HEAD = "cnnspec: 1\ninput: [1, 7, 5]\nlayers: [flatten, {dense: {units: 3}}]\ndata:\n"


def section(text: str) -> DataSection:
    """The section of these lines, the first of which is line 5 of a spec."""
    lines = "".join(f"  {line}\n" for line in text.strip().splitlines())
    graph = cnnspec.load(HEAD + lines)
    assert graph.data is not None
    return graph.data


def opened(text: str, folder: Path, seed: int = 0) -> Dataset:
    return data.open(section(text), folder=folder, seed=seed)


def fault(text: str, folder: Path) -> Diagnostic:
    """The only diagnostic, which stands in the section."""
    with pytest.raises(DataError) as caught:
        opened(text, folder)
    (found,) = caught.value.diagnostics
    assert found.primary is not None
    assert found.primary.span.line >= 5
    return found


def place(found: Diagnostic) -> tuple[int, int]:
    assert found.primary is not None
    return found.primary.span.line, found.primary.span.column


# --- idx ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("packed", [False, True])
def test_mnist_files(tmp_path: Path, packed: bool) -> None:
    mnist(tmp_path, packed=packed)
    found = opened("source: {idx: {folder: .}}", tmp_path)
    assert (len(found.train), len(found.test)) == (20, 6)
    assert found.train.shapes == {"input": (1, 7, 5)}
    assert (found.train.inputs["input"][:, 0] == pictures(20, (7, 5), seed=20) / 255).all()
    assert found.train.targets["output"].tolist() == [i % 3 for i in range(20)]
    assert found.train.targets["output"].dtype == np.int64


def test_idx_files_by_name_and_raw_values(tmp_path: Path) -> None:
    x = pictures(10, (7, 5))
    (tmp_path / "x").write_bytes(idx_bytes(x))
    (tmp_path / "y.gz").write_bytes(gzip.compress(idx_bytes(np.arange(10, dtype="i4"))))
    text = "source: {idx: {images: x, labels: y.gz}}\nsplit: {test: 3}\nrescale: 1"
    found = opened(text, tmp_path)
    assert (len(found.train), len(found.test)) == (7, 3)
    labels = np.concatenate([half.targets["output"] for half in (found.train, found.test)])
    images = np.concatenate([half.inputs["input"] for half in (found.train, found.test)])
    assert sorted(labels) == list(range(10))
    assert (images[:, 0] == x[labels]).all()


@pytest.mark.parametrize("dtype", ["u1", "i1", "i2", "i4", "f4", "f8"])
@pytest.mark.parametrize("shape", [(3,), (3, 4), (2, 3, 4), (2, 3, 4, 5)])
def test_idx_types(tmp_path: Path, dtype: str, shape: tuple[int, ...]) -> None:
    array = (np.arange(np.prod(shape)).reshape(shape) % 100).astype(dtype)
    (tmp_path / "a").write_bytes(idx_bytes(array))
    found = read_idx(tmp_path / "a")
    assert found.shape == shape
    assert (found == array).all()


WELL = idx_bytes(np.arange(24, dtype=np.uint8).reshape(2, 3, 4))


@pytest.mark.parametrize(
    ("content", "code", "said"),
    [
        (b"", "data-truncated", "is empty"),
        (WELL[:3], "data-truncated", "ends at byte 3, inside its header of 4"),
        (WELL[:9], "data-truncated", "ends at byte 9, inside its header of 16"),
        (WELL[:-1], "data-truncated", "ends at byte 39, and its header says 40"),
        (WELL + b"x", "data-corrupt", "has 41 bytes, and its header says 40"),
        (b"\x89PNG\r\n", "data-corrupt", "is no IDX file: it starts with 89 50 4e 47"),
        (b"\0\0\x07\x01" + WELL[4:], "data-corrupt", "is no IDX file: it starts with 00 00 07 01"),
        (b"\0\0\x08\x09" + WELL[4:], "data-corrupt", "has 9 axes"),
        (b"\0\0\x08\0", "data-corrupt", "has 0 axes"),
        (struct.pack(">4B2I", 0, 0, 8, 2, 0, 5), "data-corrupt", "has no elements"),
        (struct.pack(">4B3I", 0, 0, 14, 3, *[2**32 - 1] * 3), "data-truncated", "header says"),
        (gzip.compress(WELL, mtime=0)[:-1], "data-truncated", "ends before its gzip data do"),
        (
            gzip.compress(struct.pack(">4B3I", 0, 0, 8, 3, *[3000] * 3), mtime=0),
            "data-truncated",
            "too few for the 27,000,000,016 that its header says",
        ),
        (gzip.compress(WELL, mtime=0)[:15], "data-truncated", "inside its header"),
        (gzip.compress(WELL, mtime=0)[:-5] + b"abcde", "data-corrupt", "damaged gzip data"),
        (gzip.compress(WELL, mtime=0) + b"more", "data-corrupt", "goes on after its gzip data"),
        (gzip.compress(WELL + b"x", mtime=0), "data-corrupt", "has 41 bytes or more"),
        (b"\x1f\x8bnonsense", "data-corrupt", "damaged gzip data"),
    ],
)
def test_damaged_idx(tmp_path: Path, content: bytes, code: str, said: str) -> None:
    mnist(tmp_path)
    path = tmp_path / "train-images-idx3-ubyte"
    path.write_bytes(content)
    found = fault("source: {idx: {folder: .}}", tmp_path)
    assert found.code == code
    assert str(path) in found.message
    assert said in found.message
    assert place(found) == (5, 12)


def test_a_gzip_bomb_is_not_unpacked(tmp_path: Path) -> None:
    mnist(tmp_path)
    head = idx_bytes(np.zeros((20, 7, 5), np.uint8))
    bomb = gzip.compress(head + bytes(2**26), 1)
    (tmp_path / "train-images-idx3-ubyte").write_bytes(bomb)
    import tracemalloc

    tracemalloc.start()
    found = fault("source: {idx: {folder: .}}", tmp_path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert found.code == "data-corrupt"
    assert peak < 2**22


def test_a_header_beyond_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mnist(tmp_path)
    images = tmp_path / "train-images-idx3-ubyte"
    images.write_bytes(gzip.compress(images.read_bytes()))
    monkeypatch.setattr(memory, "available", lambda: 100)
    with pytest.raises(SetupError) as caught:
        opened("source: {idx: {folder: .}}", tmp_path)
    assert caught.value.diagnostics[0].code == "not-enough-memory"


def test_idx_files_that_do_not_fit(tmp_path: Path) -> None:
    def code(name: str, array: Array) -> str:
        mnist(tmp_path)
        (tmp_path / name).write_bytes(idx_bytes(array))
        return fault("source: {idx: {folder: .}}", tmp_path).code

    labels, images = "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte"
    assert code(labels, np.zeros(19, np.uint8)) == "data-counts"
    assert code(labels, np.zeros(20, "f4")) == "data-corrupt"
    assert code(labels, np.zeros((20, 2), np.uint8)) == "data-corrupt"
    assert code(images, np.zeros(6, np.uint8)) == "data-corrupt"
    assert code(images, np.full((6, 7, 5), np.nan)) == "data-not-finite"


def test_missing_files(tmp_path: Path) -> None:
    mnist(tmp_path)
    (tmp_path / "t10k-labels-idx1-ubyte").unlink()
    found = fault("source: {idx: {folder: .}}", tmp_path)
    assert found.code == "data-missing"
    assert "t10k-labels-idx1-ubyte" in found.message
    for text in (
        "source: {idx: {folder: nowhere}}",
        "source: {idx: {images: a, labels: b}}",
        "source: {cifar10: {folder: nowhere}}",
        "source: {image_folder: {folder: nowhere}}",
        "source: {npz: {file: nowhere.npz}}",
    ):
        assert fault(text, tmp_path).code == "data-missing"
    for kind, name in (
        ("idx", "t10k-labels-idx1-ubyte"),
        ("cifar10", "data_batch_5.bin"),
        ("cifar100", "train.bin"),
    ):
        found = fault(f"source: {{{kind}: {{folder: nowhere}}}}", tmp_path)
        assert f"`{tmp_path / 'nowhere'}`" in found.message
        assert f"`{name}`" in (found.help or "")


def test_what_is_no_file(tmp_path: Path) -> None:
    (tmp_path / "y").write_bytes(idx_bytes(np.zeros(3, np.uint8)))
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    for name in ("pipe", "folder"):
        text = f"source: {{idx: {{images: {name}, labels: y}}}}"
        assert fault(text, tmp_path).code == "data-unreadable"


@pytest.mark.parametrize(("size", "code"), [(10, "data-truncated"), (5000, "data-corrupt")])
def test_a_file_that_changes_while_it_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int, code: str
) -> None:
    mnist(tmp_path)
    path = tmp_path / "train-images-idx3-ubyte"
    real = os.fstat

    def change(descriptor: int) -> os.stat_result:
        found = real(descriptor)
        if os.readlink(f"/proc/self/fd/{descriptor}") == str(path):
            os.truncate(path, size)  # after its size was asked for, and before it is read
        return found

    monkeypatch.setattr(os, "fstat", change)
    found = fault("source: {idx: {folder: .}}", tmp_path)
    assert found.code == code
    assert "while it was read" in found.message


# --- cifar -------------------------------------------------------------------------------------


def test_cifar10(tmp_path: Path) -> None:
    cifar10(tmp_path)
    found = opened("source: {cifar10: {folder: .}}", tmp_path)
    assert (len(found.train), len(found.test)) == (15, 3)
    assert found.classes[3] == "cat"
    table = np.frombuffer(cifar_bytes(3, seed=2), np.uint8).reshape(3, 3073)
    images = table[:, 1:].reshape(3, 3, 32, 32) / 255
    assert (found.train.take(slice(3, 6))[0]["input"] == images).all()
    assert (found.train.targets["output"][3:6] == table[:, 0]).all()


@pytest.mark.parametrize(("labels", "column", "count"), [("fine", 1, 100), ("coarse", 0, 20)])
def test_cifar100(tmp_path: Path, labels: str, column: int, count: int) -> None:
    for name, seed in (("train.bin", 1), ("test.bin", 2)):
        (tmp_path / name).write_bytes(cifar_bytes(4, labels=2, seed=seed))
    text = f"source: {{cifar100: {{folder: ., labels: {labels}}}}}"
    found = opened(text, tmp_path)
    table = np.frombuffer(cifar_bytes(4, labels=2, seed=1), np.uint8).reshape(4, 3074)
    assert (found.train.targets["output"] == table[:, column]).all()
    assert len(found.classes) == count


def test_damaged_cifar(tmp_path: Path) -> None:
    text = "source: {cifar10: {folder: .}}"
    cifar10(tmp_path)
    path = tmp_path / "data_batch_3.bin"
    whole = path.read_bytes()
    path.write_bytes(whole[:-7])
    found = fault(text, tmp_path)
    assert found.code == "data-truncated"
    assert found.message == f"`{path}` ends at byte 9,212, inside record 2, which has 3073 bytes"
    path.write_bytes(whole[:3073] + b"\x0a" + whole[3074:])
    found = fault(text, tmp_path)
    assert found.code == "data-corrupt"
    assert "a label 10 at byte 3,073" in found.message
    path.write_bytes(b"")
    assert fault(text, tmp_path).code == "data-truncated"
    path.unlink()
    assert fault(text, tmp_path).code == "data-missing"


def test_the_pickled_version_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "test_batch").write_bytes(b"cos\nsystem\n(S'echo'\ntR.")
    found = fault("source: {cifar10: {folder: .}}", tmp_path)
    assert found.code == "data-corrupt"
    assert found.help == "download the binary version"


# --- npz ---------------------------------------------------------------------------------------


def test_npz(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(9, 4)), rng.normal(size=(9, 2))
    (tmp_path / "a.npz").write_bytes(npz_bytes(x=x, y=y))
    text = "source: {npz: {file: a.npz, inputs: x, targets: y}}\nsplit: {test: 2}"
    found = opened(text, tmp_path)
    rows = np.concatenate([half.inputs["input"] for half in (found.train, found.test)])
    assert sorted(map(tuple, rows)) == sorted(map(tuple, x))
    assert found.train.targets["output"].shape == (7, 2)


def test_npz_of_keras(tmp_path: Path) -> None:
    arrays = {
        "x_train": pictures(6, (7, 5)),
        "y_train": np.arange(6, dtype=np.uint8),
        "x_test": np.asfortranarray(pictures(2, (7, 5), seed=1)),
        "y_test": np.arange(2, dtype=np.uint8),
    }
    (tmp_path / "mnist.npz").write_bytes(npz_bytes(**arrays))
    found = opened("source: {npz: {file: mnist.npz, channels: none}}", tmp_path)
    assert (found.train.inputs["input"][:, 0] == arrays["x_train"] / 255).all()
    assert (found.test.inputs["input"][:, 0] == arrays["x_test"] / 255).all()


def test_npz_of_several(tmp_path: Path) -> None:
    a, b = pictures(5, (4, 6, 3)), pictures(5, (3, 4, 1))
    (tmp_path / "a.npz").write_bytes(npz_bytes(a=a, b=b, y=np.arange(5), z=np.ones((5, 2))))
    text = (
        "source: {npz: {file: a.npz, test: a.npz, inputs: {left: a, right: b}, "
        "targets: {label: y, value: z}, channels: last}}"
    )
    found = opened(text, tmp_path)
    assert found.train.shapes == {"left": (3, 4, 6), "right": (1, 3, 4)}
    assert (found.test.inputs["left"] == a.transpose(0, 3, 1, 2) / 255).all()
    assert set(found.train.targets) == {"label", "value"}


@pytest.mark.parametrize(
    ("arrays", "code", "said"),
    [
        ({"x_train": np.zeros((3, 1))}, "data-key", "no array `y_train`"),
        ({"x_train": np.zeros((3, 1)), "y_train": np.zeros(2)}, "data-counts", "`x_train` has 3"),
        ({"x_train": np.zeros(3), "y_train": np.zeros(3)}, "data-type", "channels are missing"),
        ({"x_train": np.zeros((0, 1)), "y_train": np.zeros(0)}, "data-type", "no samples"),
        ({"x_train": np.zeros((3, 1, 1, 1, 1, 1))}, "data-type", "4 axes of space"),
        ({"x_train": np.array([["a"]])}, "data-type", "holds type <U1"),
        ({"x_train": np.array([[1j]])}, "data-type", "holds type complex128"),
        ({"x_train": np.array([[{}]])}, "data-type", "which are never read"),
        ({"x_train": np.array([[0.0], [np.inf]])}, "data-not-finite", "is inf at [1, 0]"),
    ],
)
def test_npz_that_does_not_fit(
    tmp_path: Path, arrays: dict[str, Array], code: str, said: str
) -> None:
    (tmp_path / "a.npz").write_bytes(npz_bytes(**arrays))
    found = fault("source: {npz: {file: a.npz}}\nsplit: {test: 0.5}", tmp_path)
    assert found.code == code
    assert said in found.message


def test_npz_whose_header_lies(tmp_path: Path) -> None:
    stream = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        stream, {"descr": "<f8", "fortran_order": False, "shape": (2**40, 2)}
    )
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("x_train.npy", stream.getvalue() + bytes(64))
    found = fault("source: {npz: {file: a.npz}}\nsplit: {test: 0.5}", tmp_path)
    assert found.code == "data-corrupt"
    assert "its header says 17,592,186,044,416" in found.message


# --- images ------------------------------------------------------------------------------------

FOLDER = "source: {image_folder: {folder: .}}\nsplit: {test: 2}"


def test_image_folder(tmp_path: Path) -> None:
    image_folder(tmp_path / "train")
    image_folder(tmp_path / "test", count=1)
    (tmp_path / "train" / "class0" / "notes.txt").write_text("x")
    (tmp_path / "train" / ".hidden").mkdir()
    found = opened("source: {image_folder: {folder: train, test: test}}", tmp_path)
    assert (len(found.train), len(found.test), found.classes) == (6, 2, ("class0", "class1"))
    assert found.train.targets["output"].tolist() == [0, 0, 0, 1, 1, 1]
    assert found.train.shapes == {"input": (3, 6, 8)}
    first = pictures(1, (6, 8, 3), seed=0)[0].transpose(2, 0, 1) / 255
    assert (found.train.take(slice(0, 1))[0]["input"][0] == first).all()
    assert found.notes == ("1 files are no .png, .jpg or .jpeg and were passed over",)


def one_image(folder: Path, content: bytes, text: str) -> Array:
    for name in ("a", "b"):
        (folder / name).mkdir(exist_ok=True)
        (folder / name / "0.png").write_bytes(content)
    halves = opened(f"source: {{image_folder: {{folder: ., {text}}}}}\nsplit: {{test: 1}}", folder)
    found: Array = halves.train.inputs["input"][0]
    return found


def test_modes_of_images(tmp_path: Path) -> None:
    grey, colour = pictures(1, (4, 5))[0], pictures(1, (4, 5, 3))[0]
    assert (one_image(tmp_path, image_bytes(grey), "channels: 1")[0] == grey / 255).all()
    three = one_image(tmp_path, image_bytes(grey), "channels: 3")
    assert (three == grey / 255).all()
    found = one_image(tmp_path, image_bytes(colour), "channels: 1")[0] * 255
    assert np.abs(found - colour @ [0.299, 0.587, 0.114]).max() < 1
    clear = np.concatenate([colour, np.zeros((4, 5, 1), np.uint8)], axis=2)
    assert (one_image(tmp_path, image_bytes(clear), "channels: 3") == 1).all()


def test_orientation(tmp_path: Path) -> None:
    array = pictures(1, (4, 6))[0]
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned: rows of the file are columns of the picture
    content = image_bytes(array, exif=exif)
    assert (one_image(tmp_path, content, "channels: 1")[0] == np.rot90(array, -1) / 255).all()


def test_resizing(tmp_path: Path) -> None:
    array = pictures(1, (8, 6))[0]
    found = one_image(tmp_path, image_bytes(array), "channels: 1, size: [4, 3]")[0]
    wanted = Image.fromarray(array).resize((3, 4), Image.Resampling.BILINEAR)
    assert (found == np.asarray(wanted) / 255).all()


def test_images_of_several_sizes(tmp_path: Path) -> None:
    image_folder(tmp_path)
    (tmp_path / "class1" / "1.jpeg").write_bytes(image_bytes(pictures(1, (6, 9, 3))[0], "JPEG"))
    found = fault(FOLDER, tmp_path)
    assert found.code == "image-size"
    assert found.message == (f"`{tmp_path}/class1/1.jpeg` is 6x9, and the images before it are 6x8")
    assert found.help == "`size: [6, 8]` resizes all of them"
    assert place(found) == (5, 12)


def damaged() -> dict[str, bytes]:
    good = image_bytes(pictures(1, (6, 8, 3))[0])
    tall = image_bytes(np.zeros((2**14, 2**13), np.uint8)[:1])
    size = struct.pack(">II", 2**14, 2**13)
    import zlib

    head = b"IHDR" + size + good[24:29]
    bomb = good[:8] + struct.pack(">I", 13) + head + struct.pack(">I", zlib.crc32(head)) + tall[33:]
    return {
        "empty": b"",
        "text": b"hello",
        "cut": good[: len(good) // 2],
        "gif": image_bytes(np.zeros((6, 8), np.uint8), "GIF"),
        "bomb": bomb,
    }


CODES = {"empty": "data-truncated", "bomb": "data-too-large"}


@pytest.mark.parametrize("kind", ["empty", "text", "cut", "gif", "bomb"])
def test_damaged_images(tmp_path: Path, kind: str) -> None:
    assert MOST_PIXELS < 2**27
    image_folder(tmp_path)
    path = tmp_path / "class0" / "1.jpeg"
    path.write_bytes(damaged()[kind])
    with pytest.raises(DataError) as caught:
        _ = opened(FOLDER, tmp_path).train.inputs
    (found,) = caught.value.diagnostics
    assert found.code == CODES.get(kind, "data-corrupt")
    assert str(path) in found.message

    text = FOLDER.replace("folder: .", "folder: ., corrupt: skip")
    kept = opened(text, tmp_path)
    assert len(kept.train) + len(kept.test) == 5
    assert len(kept.skipped) == 1
    assert str(path) in kept.skipped[0]
    assert kept.train.inputs["input"].shape[1:] == (3, 6, 8)


def test_an_image_that_goes_away(tmp_path: Path) -> None:
    image_folder(tmp_path)
    found = opened(FOLDER, tmp_path)
    for path in tmp_path.rglob("*.jpeg"):
        path.unlink()
    with pytest.raises(DataError) as caught:
        found.train.take(slice(None))
    assert caught.value.diagnostics[0].code == "data-missing"


def test_empty_classes(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    found = fault("source: {image_folder: {folder: sub}}\nsplit: {test: 2}", tmp_path)
    assert found.code == "class-empty"
    image_folder(tmp_path / "sub")
    (tmp_path / "sub" / "bare").mkdir()
    found = fault("source: {image_folder: {folder: sub}}\nsplit: {test: 2}", tmp_path)
    assert found.code == "class-empty"
    assert found.message == f"the class folder `{tmp_path}/sub/bare` has no images"
    assert found.help is not None
    assert "take the folder away" in found.help
    (tmp_path / "sub" / "bare" / "cat").mkdir()  # as if `sub` held `train` and `test`
    found = fault("source: {image_folder: {folder: sub}}\nsplit: {test: 2}", tmp_path)
    assert found.help is not None
    assert f"`{tmp_path}/sub/bare` is what" in found.help
    (tmp_path / "sub" / "bare" / "a.png").write_bytes(b"")
    text = "source: {image_folder: {folder: sub, corrupt: skip}}\nsplit: {test: 2}"
    assert fault(text, tmp_path).code == "class-empty"


def test_classes_of_both_halves(tmp_path: Path) -> None:
    image_folder(tmp_path / "a")
    image_folder(tmp_path / "b", classes=3)
    found = fault("source: {image_folder: {folder: a, test: b}}", tmp_path)
    assert found.code == "class-names"
    assert "`class2` is in one of them only" in found.message


def test_pillow_is_asked_for_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    image_folder(tmp_path)
    monkeypatch.setitem(sys.modules, "PIL.Image", None)
    with pytest.raises(SetupError) as caught:
        opened(FOLDER, tmp_path)
    assert caught.value.diagnostics[0].code == "extra-missing"
