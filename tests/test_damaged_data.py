"""Files of data with any bytes at all in them: one diagnostic that names the file, or none."""

from __future__ import annotations

import gzip
import io
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cnnspec.cli import main
from cnnspec.diagnostics import UserError
from tests.data_files import (
    cifar10,
    cifar_bytes,
    idx_bytes,
    image_bytes,
    image_folder,
    mnist,
    npz_bytes,
    pictures,
)
from tests.test_data_sources import FOLDER, opened

IDX = "source: {idx: {folder: .}}"
CIFAR10 = "source: {cifar10: {folder: .}}"
CIFAR100 = "source: {cifar100: {folder: .}}"
NPZ = "source: {npz: {file: a.npz}}\nsplit: {test: 2}"


def cifar100(folder: Path) -> None:
    for name, seed in (("train.bin", 1), ("test.bin", 2)):
        (folder / name).write_bytes(cifar_bytes(2, labels=2, seed=seed))


def nothing(folder: Path) -> None:
    """The file that is damaged is the only one."""


def packed_npz() -> bytes:
    stream = io.BytesIO()
    np.savez_compressed(
        stream, allow_pickle=True, x_train=pictures(6, (4, 4)) % 7, y_train=np.arange(6)
    )
    return stream.getvalue()


IMAGES = idx_bytes(pictures(20, (7, 5)))
# section of the spec, what writes the files, the one that is damaged, what it has in it
FORMATS: dict[str, tuple[str, Callable[[Path], None], str, bytes]] = {
    "idx": (IDX, mnist, "train-images-idx3-ubyte", IMAGES),
    "idx labels": (IDX, mnist, "t10k-labels-idx1-ubyte", idx_bytes(np.arange(6, dtype="u1") % 3)),
    "idx.gz": (IDX, mnist, "train-images-idx3-ubyte", gzip.compress(IMAGES, mtime=0)),
    "cifar10": (CIFAR10, cifar10, "data_batch_1.bin", cifar_bytes(1)),
    "cifar100": (CIFAR100, cifar100, "test.bin", cifar_bytes(1, labels=2)),
    "npz": (NPZ, nothing, "a.npz", npz_bytes(x_train=pictures(6, (4, 4)), y_train=np.arange(6))),
    "packed npz": (NPZ, nothing, "a.npz", packed_npz()),
    "png": (FOLDER, image_folder, "class0/0.png", image_bytes(pictures(1, (6, 8, 3))[0])),
    "jpeg": (FOLDER, image_folder, "class0/0.png", image_bytes(pictures(1, (6, 8, 3))[0], "JPEG")),
}


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """A folder for each format; every test writes its own damaged file over the last one's."""
    folders: dict[str, Path] = {}

    def folder(form: str) -> Path:
        if form not in folders:
            folders[form] = tmp_path_factory.mktemp("data")
            FORMATS[form][1](folders[form])
        return folders[form]

    return folder


def told(form: str, folder: Path, content: bytes) -> UserError | None:
    """What is said of the file; where nothing is, its data are numbers and as many as it says."""
    text, _, name, _ = FORMATS[form]
    (folder / name).write_bytes(content)
    try:
        found = opened(text, folder)
        inputs, test = found.train.inputs["input"], found.test.inputs["input"]
    except UserError as error:
        (diagnostic,) = error.diagnostics
        assert str(folder) in diagnostic.message
        assert diagnostic.code.startswith(("data-", "image-", "class-"))
        assert diagnostic.primary is not None
        return error
    assert np.isfinite(inputs).all()
    assert (len(inputs), len(test)) == (len(found.train), len(found.test))
    return None


@pytest.mark.parametrize("form", FORMATS)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(draw=st.data())
def test_any_change_is_one_diagnostic_or_none(
    form: str, written: Callable[[str], Path], draw: Any
) -> None:
    good = FORMATS[form][3]
    content = bytearray(good)
    if draw.draw(st.booleans(), label="cut"):
        del content[draw.draw(st.integers(0, len(content) - 1)) :]
    for _ in range(draw.draw(st.integers(0, 3))):
        if content:
            # Headers are where formats break.
            most = min(len(content) - 1, draw.draw(st.sampled_from([64, len(content)])))
            content[draw.draw(st.integers(0, most))] = draw.draw(st.integers(0, 255))
    if draw.draw(st.integers(0, 4), label="more") == 4:
        content += draw.draw(st.binary(min_size=1, max_size=40))
    error = told(form, written(form), bytes(content))
    assert bytes(content) != good or error is None


@pytest.mark.parametrize("form", FORMATS)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=st.binary(max_size=200))
def test_bytes_of_no_format(form: str, written: Callable[[str], Path], content: bytes) -> None:
    assert told(form, written(form), content) is not None


@pytest.mark.parametrize("form", FORMATS)
def test_every_cut_is_told(form: str, written: Callable[[str], Path]) -> None:
    """Everywhere near both ends, and at some places between them."""
    content = FORMATS[form][3]
    ends = {*range(min(len(content), 48)), *range(0, len(content), len(content) // 40 + 1)}
    ends |= set(range(max(len(content) - 48, 0), len(content)))
    if form in ("png", "jpeg"):
        ends = {end for end in ends if end < len(content) - 24}  # what follows are no pixels
    for end in sorted(ends):
        error = told(form, written(form), content[:end])
        assert error is not None, end
        assert error.diagnostics[0].code in ("data-truncated", "data-corrupt"), end


def test_an_archive_that_unpacks_to_more_than_it_says(tmp_path: Path) -> None:
    stream = io.BytesIO()
    np.save(stream, np.zeros((6, 4, 4), np.uint8))
    with zipfile.ZipFile(tmp_path / "a.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x_train.npy", stream.getvalue() + bytes(2**24))
    with pytest.raises(UserError, match="bytes behind its header") as caught:
        opened(NPZ, tmp_path)
    assert caught.value.diagnostics[0].code == "data-corrupt"


# --- the commands --------------------------------------------------------------------------------

TRAINED = """\
cnnspec: 1
name: small
input: {shape}
layers: [flatten, {{dense: {{units: 10}}}}]
train: {{loss: cross_entropy, optimizer: {{sgd: {{lr: 0.01}}}}, batch: 4, epochs: 2}}
data:
  source: {{{source}: {{folder: files}}}}
  normalize: per_channel
  augment: [flip, {{crop: {{padding: 2}}}}]
"""


@pytest.mark.parametrize(
    ("source", "shape", "write", "name"),
    [
        ("idx", "[1, 7, 5]", mnist, "train-labels-idx1-ubyte"),
        ("cifar10", "[3, 32, 32]", cifar10, "data_batch_4.bin"),
    ],
)
def test_the_command_trains_on_files_beside_the_spec(
    tmp_path: Path,
    source: str,
    shape: str,
    write: Callable[[Path], None],
    name: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "files").mkdir()
    write(tmp_path / "files")
    spec = tmp_path / "net.yaml"
    spec.write_text(TRAINED.format(source=source, shape=shape))
    run = tmp_path / "run"
    assert main(["train", str(spec), "-b", "numpy", "-o", str(run)]) == 0
    assert len((run / "metrics.csv").read_text().splitlines()) == 3

    damaged = tmp_path / "files" / name
    damaged.write_bytes(damaged.read_bytes()[:-1])
    other = tmp_path / "other"
    capsys.readouterr()
    for command in (["train", "-b", "numpy", "-o", str(other)], ["data", "info"]):
        assert main([*command, str(spec)]) == 1
        said = capsys.readouterr().err
        assert said.count("error[data-truncated]") == 1
        assert f"{spec}:7:12" in said
        assert str(damaged) in said
    assert not other.exists()
