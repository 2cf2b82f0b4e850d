"""Pictures and arrays of users, good ones and damaged ones."""

from __future__ import annotations

import io
import struct
import zipfile
import zlib
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from cnnspec.data import Dataset, Split
from cnnspec.data.images import Decoder
from cnnspec.diagnostics import DataError, SetupError, UserError
from cnnspec.images import Scaling, assemble, read_picture, read_sample
from cnnspec.images.stored import stored_sample
from cnnspec.weights import write_weights
from tests.networks import graph

Image = pytest.importorskip("PIL.Image")

GREY = "cnnspec: 1\ninput: [1, 4, 6]\nlayers: [relu]\n"
TWO = """\
cnnspec: 1
input: {a: [1, 4, 6], b: [3]}
layers:
  - flatten: {from: a}
  - concat: {from: [flatten1, b]}
"""


def saved(path: Path, pixels: npt.NDArray[np.generic], **options: object) -> str:
    Image.fromarray(pixels).save(path, **options)
    return str(path)


@pytest.fixture
def grey() -> npt.NDArray[np.uint8]:
    return np.arange(24, dtype=np.uint8).reshape(4, 6) * 10


def code(error: pytest.ExceptionInfo[UserError]) -> str:
    (diagnostic,) = error.value.diagnostics
    return diagnostic.code


def test_grey(tmp_path: Path, grey: npt.NDArray[np.uint8]) -> None:
    path = saved(tmp_path / "a.png", grey)
    pixels, notes = read_picture(path, (1, 4, 6))
    np.testing.assert_array_equal(pixels, grey[None] / 255)
    assert notes == []
    pixels, notes = read_picture(path, (3, 4, 6))
    np.testing.assert_array_equal(pixels, np.repeat(grey[None] / 255, 3, axis=0))
    assert notes == ["grey, as three equal channels"]


def test_colours(tmp_path: Path) -> None:
    red = np.zeros((4, 6, 3), np.uint8)
    red[..., 0] = 255
    path = saved(tmp_path / "a.png", red)
    pixels, notes = read_picture(path, (3, 4, 6))
    np.testing.assert_array_equal(pixels, red.transpose(2, 0, 1) / 255)
    assert notes == []
    pixels, (note,) = read_picture(path, (1, 4, 6))
    np.testing.assert_array_equal(pixels, 76 / 255)  # 0.299 * 255, to a whole number
    assert "601-2" in note


def test_sixteen_bits_and_one(tmp_path: Path) -> None:
    deep = np.linspace(0, 65535, 24).astype(np.uint16).reshape(4, 6)
    pixels, (note,) = read_picture(saved(tmp_path / "a.png", deep), (1, 4, 6))
    np.testing.assert_array_equal(pixels, np.rint(deep[None] / 257) / 255)
    assert note == "16 bits of grey, rounded to 8"
    deep[1, 2] = 5
    path = saved(tmp_path / "c.png", deep, transparency=5)
    pixels, notes = read_picture(path, (1, 4, 6))
    assert pixels[0, 1, 2] == 1
    assert pixels[0, 0, 0] == 0
    assert len(notes) == 2
    flat = np.eye(4, 6, dtype=bool)
    pixels, _ = read_picture(saved(tmp_path / "b.png", flat), (1, 4, 6))
    np.testing.assert_array_equal(pixels, flat[None])


def test_transparent_is_white(tmp_path: Path) -> None:
    clear = np.zeros((4, 6, 4), np.uint8)
    clear[0, 0, 3] = 255
    pixels, notes = read_picture(saved(tmp_path / "a.png", clear), (3, 4, 6))
    assert pixels[:, 0, 0].tolist() == [0, 0, 0]
    assert (pixels.reshape(3, -1)[:, 1:] == 1).all()
    assert notes == ["what is transparent was laid on white"]


def test_a_turned_jpeg(tmp_path: Path, grey: npt.NDArray[np.uint8]) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # lies on its side
    path = saved(tmp_path / "a.jpg", grey, exif=exif, quality=100)
    pixels, notes = read_picture(path, (1, 6, 4))
    np.testing.assert_allclose(pixels[0] * 255, np.rot90(grey, -1), atol=3)
    assert notes == ["turned as its EXIF data says"]


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "I;16"])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("size", [(6, 4), (3, 5)])
def test_as_data_sets_read_them(
    tmp_path: Path, mode: str, channels: int, size: tuple[int, int]
) -> None:
    """What a network was trained on is what it is asked about."""
    colour = np.random.default_rng(0).integers(0, 256, (6, 4, 3)).astype(np.uint8)
    image = Image.fromarray(colour)
    if mode == "I;16":
        image = Image.fromarray(colour[..., 0].astype(np.uint16) * 251)
    elif mode in ("LA", "RGBA"):
        image.putalpha(Image.fromarray(colour[..., 1]))
        image = image.convert(mode)
    else:
        image = image.convert(mode)
    path = tmp_path / ("a.jpg" if mode == "CMYK" else "a.png")
    image.save(path)
    found, _ = read_picture(str(path), (channels, *size), resize=True)
    data = Decoder(channels, size).decode(path)
    np.testing.assert_array_equal(found, data / 255)


def test_another_size(tmp_path: Path, grey: npt.NDArray[np.uint8]) -> None:
    path = saved(tmp_path / "a.png", np.full((8, 12), 51, np.uint8))
    with pytest.raises(DataError, match="8 rows of 12 pixels, and the network takes 4 of 6") as e:
        read_picture(path, (1, 4, 6))
    assert code(e) == "image-does-not-fit"
    assert "--resize" in e.value.diagnostics[0].help
    pixels, (note,) = read_picture(path, (1, 4, 6), resize=True)
    np.testing.assert_array_equal(pixels, np.full((1, 4, 6), 0.2))
    assert "8x12 resized to 4x6" in note


def test_a_picture_for_no_picture(tmp_path: Path, grey: npt.NDArray[np.uint8]) -> None:
    path = saved(tmp_path / "a.png", grey)
    for shape in ((5,), (2, 4, 6), (1, 6), (1, 4, 6, 2)):
        with pytest.raises(DataError) as e:
            read_picture(path, shape)
        assert code(e) == "image-does-not-fit"


def header(width: int, height: int) -> bytes:
    """A PNG that claims to be so large, and has no pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        crc = zlib.crc32(kind + data)
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", crc)

    size = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", size) + chunk(b"IDAT", zlib.compress(b""))


def test_damaged_pictures(tmp_path: Path, grey: npt.NDArray[np.uint8]) -> None:
    whole = Path(saved(tmp_path / "whole.png", grey)).read_bytes()
    noisy = np.random.default_rng(0).integers(0, 256, (64, 64, 3)).astype(np.uint8)
    jpeg = Path(saved(tmp_path / "whole.jpg", noisy)).read_bytes()
    gif = io.BytesIO()
    Image.fromarray(grey).save(gif, format="GIF")
    damaged = {
        "": "is empty",
        "no picture": "is no PNG or JPEG",
        "cut": "is no PNG or JPEG",
    }
    data = {"": b"", "no picture": b"GIF?" * 9, "cut": whole[:40]}
    for name, what in damaged.items():
        path = tmp_path / f"{name}.png"
        path.write_bytes(data[name])
        with pytest.raises(DataError, match=what) as e:
            read_picture(str(path), (1, 4, 6))
        assert code(e) == "image-unreadable"
        assert str(path) in str(e.value)
    for bad in (gif.getvalue(), jpeg[:200], jpeg[: len(jpeg) // 2], header(4, 6)):
        path = tmp_path / "bad.png"
        path.write_bytes(bad)
        with pytest.raises(DataError) as e:
            read_picture(str(path), (3, 64, 64), resize=True)
        assert code(e) == "image-unreadable"


def test_every_cut_and_flip_is_told(tmp_path: Path, grey: npt.NDArray[np.uint8]) -> None:
    whole = Path(saved(tmp_path / "whole.png", grey)).read_bytes()
    path = tmp_path / "bad.png"
    told = 0
    for place in range(len(whole)):
        flipped = bytearray(whole)
        flipped[place] ^= 0x55
        for bad in (whole[:place], bytes(flipped)):
            path.write_bytes(bad)
            try:
                read_picture(str(path), (1, 4, 6))
            except UserError:
                told += 1
    assert told > 1.5 * len(whole)  # what follows the pixels does not matter


@pytest.mark.parametrize("size", [(9_000, 9_000), (60_000, 60_000), (2**31 - 1, 2**31 - 1)])
def test_a_picture_that_claims_too_much(tmp_path: Path, size: tuple[int, int]) -> None:
    path = tmp_path / "bomb.png"
    path.write_bytes(header(*size))
    with pytest.raises(DataError, match="is larger than 67,108,864 pixels: ") as e:
        read_picture(str(path), (1, 4, 6), resize=True)
    assert code(e) == "image-unreadable"


def test_no_such_file(tmp_path: Path) -> None:
    entry = graph(GREY).inputs[0]
    for name in ("none.png", "none.npy", "none.npz", "none.safetensors", "\0.png", "\0.npy"):
        with pytest.raises(SetupError) as e:
            read_sample(str(tmp_path / name), entry)
        assert code(e) in ("file-not-found", "file-unreadable")
    with pytest.raises(SetupError) as e:
        read_sample(str(tmp_path), entry)
    assert code(e) == "is-a-directory"


def test_scaling(tmp_path: Path) -> None:
    pixels = np.full((3, 1, 1), 0.75)
    assert Scaling(-1, 1).apply(pixels).ravel().tolist() == [0.5] * 3
    assert Scaling(0, 255, invert=True).apply(pixels).ravel().tolist() == [63.75] * 3
    found = Scaling(mean=(0.25, 0.5, 0.75), std=(0.5,)).apply(pixels)
    assert found.ravel().tolist() == [1, 0.5, 0]
    for wrong in (Scaling(mean=(1, 2)), Scaling(std=(0,)), Scaling(mean=(float("nan"),))):
        with pytest.raises(SetupError) as e:
            wrong.apply(pixels)
        assert code(e) == "bad-scaling"


def test_arrays(tmp_path: Path) -> None:
    entry = graph(GREY).inputs[0]
    array = np.random.default_rng(0).normal(size=(1, 4, 6))
    np.save(tmp_path / "a.npy", array)
    np.save(tmp_path / "flat.npy", array[0].astype(np.float32))
    np.savez(tmp_path / "a.npz", anything=array[None])
    write_weights(tmp_path / "a.safetensors", {"x": array})
    for name in ("a.npy", "a.npz", "a.safetensors"):
        sample = read_sample(str(tmp_path / name), entry)
        np.testing.assert_array_equal(sample.inputs["input"], array[None])
    sample = read_sample(str(tmp_path / "flat.npy"), entry)
    np.testing.assert_array_equal(sample.inputs["input"], array[None].astype(np.float32))


def test_arrays_that_do_not_fit(tmp_path: Path) -> None:
    entry = graph(GREY).inputs[0]
    shapes = {
        "shape": np.zeros((6, 4)),
        "two": np.zeros((2, 1, 4, 6)),
        "text": np.full((1, 4, 6), "a"),
    }
    for name, array in shapes.items():
        np.save(tmp_path / f"{name}.npy", array)
        with pytest.raises(DataError) as e:
            read_sample(str(tmp_path / f"{name}.npy"), entry)
        assert code(e) == "image-does-not-fit"
    np.save(tmp_path / "nan.npy", np.full((1, 4, 6), np.nan))
    np.save(tmp_path / "object.npy", np.array([{}] * 24).reshape(1, 4, 6), allow_pickle=True)
    (tmp_path / "no.npz").write_bytes(b"PK\x03\x04 no archive")
    (tmp_path / "no.npy").write_bytes(b"\x93NUMPY\x01")
    (tmp_path / "no.safetensors").write_bytes(b"\xff" * 16)
    for name in ("nan.npy", "no.npz", "no.npy", "no.safetensors"):
        with pytest.raises(DataError, match=name) as e:
            read_sample(str(tmp_path / name), entry)
        assert code(e) == "image-unreadable"
    with pytest.raises(DataError, match="real numbers") as e:
        read_sample(str(tmp_path / "object.npy"), entry)
    assert code(e) == "image-does-not-fit"
    # An archive that unpacks to much more is never unpacked: its header does not fit.
    with zipfile.ZipFile(tmp_path / "bomb.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        buffer = io.BytesIO()
        np.save(buffer, np.zeros(4_000_000))
        archive.writestr("a.npy", buffer.getvalue())
    with pytest.raises(DataError, match="has shape 4000000"):
        read_sample(str(tmp_path / "bomb.npz"), entry)


def test_several_inputs(tmp_path: Path, grey: npt.NDArray[np.uint8]) -> None:
    network = graph(TWO)
    picture = saved(tmp_path / "a.png", grey)
    np.save(tmp_path / "b.npy", np.arange(3.0))
    np.savez(tmp_path / "both.npz", a=grey[None] / 255, b=np.arange(3.0))
    one = assemble([f"a={picture}", f"b={tmp_path / 'b.npy'}"], network)
    other = assemble([str(tmp_path / "both.npz")], network)
    for name, shape in {"a": (1, 1, 4, 6), "b": (1, 3)}.items():
        assert one.inputs[name].shape == shape
        np.testing.assert_array_equal(one.inputs[name], other.inputs[name])
    assert one.notes == ("a: pixels in [0, 1]", "b: an array, used as it is")
    for wrong in ([picture, picture], ["c=x", "a=y"], ["a=x", f"a={picture}"]):
        with pytest.raises(SetupError) as e:
            assemble(wrong, network)
        assert code(e) == "unknown-input"
    np.savez(tmp_path / "half.npz", a=grey[None] / 255)
    for few in ([f"a={picture}"], [str(tmp_path / "half.npz")]):
        with pytest.raises(DataError, match="no file for the input `b`") as d:
            assemble(few, network)
        assert code(d) == "image-does-not-fit"


def test_a_sample_of_the_test_set() -> None:
    split = Split({"x": np.ones((2, 1, 4, 6))}, {"y": np.array([1, 0])})
    data = Dataset("ones", split, split, ("no", "yes"))
    sample = stored_sample(data, 0, graph(GREY))
    assert sample.inputs["input"].shape == (1, 1, 4, 6)
    assert sample.notes == ("number 0 of the test set of ones", "labelled yes")
    with pytest.raises(SetupError, match="2 samples, 0 to 1, and no 2") as e:
        stored_sample(data, 2, graph(GREY))
    assert code(e) == "unknown-sample"
    with pytest.raises(DataError) as d:
        stored_sample(data, 0, graph("cnnspec: 1\ninput: [1, 5, 6]\nlayers: [relu]\n"))
    assert code(d) == "image-does-not-fit"
