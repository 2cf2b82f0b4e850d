"""The `data:` section of a spec: what it says, and every mistake in it with its place."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from jsonschema import Draft202012Validator
from PIL import Image

import cnnspec
from cnnspec import data
from cnnspec.augmentation import AUGMENTATIONS, Crop, Flip, Mixup, Normalize, Reflect, Rotate, Shift
from cnnspec.cli import main
from cnnspec.data_section import SOURCES, DataSection, Halves, Idx, ImageFolder, Subset
from cnnspec.diagnostics import DataError, SetupError
from cnnspec.document import parse
from cnnspec.expand import expand
from cnnspec.json_schema import json_schema
from tests.data_files import npz_bytes
from tests.spec_errors import check_marked
from tests.test_data_sources import fault, opened, place

HEAD = "cnnspec: 1\ninput: [1, 8, 8]\nlayers: [flatten, {dense: {units: 10}}]\n"


def section(text: str) -> DataSection:
    found = cnnspec.load(HEAD + text).data
    assert found is not None
    return found


FULL = """\
data:
  source: {image_folder: {folder: a$$b, size: [32, 48], channels: 1, corrupt: skip}}
  split: {test: 0.25, validation: 100, stratified: true}
  subset: {train: 1000, test: 10, stratified: true}
  classes: [cat, 3]
  rescale: 0.5
  normalize: {mean: [0.5], std: [0.25]}
  augment:
    - rotate: {degrees: 15}
    - shift: {height: 2, width: 0.1}
    - flip
    - crop: {size: [28, 40], padding: 4}
    - normalize
    - mixup: {alpha: 0.2}
  fill: reflect
  interpolation: cubic
"""


def test_every_part() -> None:
    found = section(FULL)
    assert found.source == ImageFolder(folder="a$b", size=(32, 48), channels=1, corrupt="skip")
    assert found.split == Halves(test=0.25, validation=100, stratified=True)
    assert found.subset == Subset(train=1000, test=10, stratified=True)
    assert found.classes == ("cat", 3)
    assert found.rescale == 0.5
    assert found.normalize == Normalize(mean=(0.5,), std=(0.25,))
    assert found.augment == (
        Rotate(degrees=15.0),
        Shift(height=2, width=0.1),
        Flip(),
        Crop(size=(28, 40), padding=4),
        Normalize(),
        Mixup(alpha=0.2),
    )
    assert isinstance(found.augment[1], Shift)
    assert isinstance(found.augment[1].height, int)
    assert found.fill == Reflect()
    assert found.interpolation == "cubic"


def test_defaults() -> None:
    assert section("data: {source: digits}") == DataSection(SOURCES["digits"]())
    found = section("data: {source: {idx: {folder: x}}, subset: 5, normalize: per_channel}")
    assert found.source == Idx(folder="x")
    assert found.subset == Subset(train=5)
    assert found.normalize == Normalize()
    assert section("data: {source: digits, normalize: none}").normalize is None
    assert cnnspec.load(HEAD).data is None


def test_parameters_reach_it() -> None:
    text = HEAD + "parameters: {n: 7}\ndata: {source: digits, subset: $n}\n"
    graph = cnnspec.load(text, parameters={"n": 9})
    assert graph.data is not None
    assert graph.data.subset.train == 9


@pytest.mark.parametrize("text", [FULL, "data: {source: digits}\n"])
def test_it_is_expanded_to_itself(text: str) -> None:
    graph = cnnspec.load(HEAD + text)
    assert cnnspec.load(expand(graph)).data == graph.data


def test_a_diff_names_what_differs() -> None:
    one = HEAD + FULL
    other = one.replace("degrees: 15", "degrees: 20")
    settings = cnnspec.diff(one, other).settings
    assert [change.field for change in settings] == ["data.augment"]
    (change,) = cnnspec.diff(one, HEAD).settings
    assert (change.field, change.after) == ("data", None)
    assert not cnnspec.diff(one, one)


def test_it_changes_no_source() -> None:
    for backend in ("numpy", "torch", "keras"):
        plain, with_data = (cnnspec.emit(HEAD + t, backend).text for t in ("", FULL))
        assert plain == with_data


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("data: @@digits", "wrong-type"),
        ("@@data: {}", "missing-field"),
        ("data: {source: digits, @@splits: {}}", "unknown-field"),
        ("data: {source: @@3}", "wrong-type"),
        ("data: {source: @@mnist}", "unknown-source"),
        ("data: {source: {@@mnist: {}}}", "unknown-source"),
        ("data: {source: {@@cifar10: {}}}", "missing-field"),
        ("data: {source: {cifar10: {folder: @@''}}}", "bad-value"),
        ("data: {source: {cifar10: {folder: @@3}}}", "wrong-type"),
        ("data: {source: {cifar100: {folder: a, labels: @@all}}}", "bad-value"),
        ("data: {source: {digits: {@@size: 8}}}", "unknown-field"),
        ("data: {source: {idx: @@{}}}", "bad-value"),
        ("data: {source: {idx: @@{folder: a, images: b}}}", "bad-value"),
        ("data: {source: {idx: @@{images: a, labels: b, test_images: c}}}", "bad-value"),
        ("data: {source: {image_folder: {folder: a, channels: @@2}}}", "bad-value"),
        ("data: {source: {image_folder: {folder: a, size: [@@0, 3]}}}", "out-of-range"),
        ("data: {source: {image_folder: {folder: a, size: @@[3]}}}", "wrong-type"),
        ("data: {source: {npz: {file: a, inputs: @@[x]}}}", "wrong-type"),
        ("data: {source: {npz: @@{file: a, test_inputs: x}}}", "bad-value"),
        (
            "data: {source: {npz: @@{file: a, inputs: {a: x}, test_inputs: y, test_targets: z}}}",
            "bad-value",
        ),
        ("data: {source: digits, split: @@0.2}", "wrong-type"),
        ("data: {source: digits, split: {test: @@1.5}}", "out-of-range"),
        ("data: {source: digits, split: {test: @@0}}", "out-of-range"),
        ("data: {source: digits, split: {test: @@true}}", "wrong-type"),
        ("data: {source: digits, split: {@@tset: 0.5}}", "unknown-field"),
        ("data: {source: digits, subset: @@0}", "out-of-range"),
        ("data: {source: digits, subset: @@all}", "wrong-type"),
        ("data: {source: digits, subset: {train: @@1.5}}", "wrong-type"),
        ("data: {source: digits, classes: @@cat}", "wrong-type"),
        ("data: {source: digits, classes: [@@1.5]}", "wrong-type"),
        ("data: {source: digits, classes: [1, @@1]}", "class-twice"),
        ("data: {source: digits, rescale: @@0}", "out-of-range"),
        ("data: {source: digits, rescale: @@x}", "wrong-type"),
        ("data: {source: digits, normalize: @@yes}", "wrong-type"),
        ("data: {source: digits, normalize: @@{mean: [1]}}", "bad-value"),
        ("data: {source: digits, normalize: @@{mean: [1], std: [1, 2]}}", "bad-value"),
        ("data: {source: digits, normalize: {mean: [1], std: [@@0]}}", "out-of-range"),
        ("data: {source: digits, fill: @@black}", "unknown-fill"),
        ("data: {source: digits, interpolation: @@lanczos}", "bad-value"),
        ("data: {source: digits, interpolation: @@3}", "wrong-type"),
        ("data: {source: digits, augment: @@flip}", "wrong-type"),
        ("data: {source: digits, augment: [@@flop]}", "unknown-augmentation"),
        ("data: {source: digits, augment: [{@@flop: {}}]}", "unknown-augmentation"),
        ("data: {source: digits, augment: [@@rotate]}", "missing-field"),
        ("data: {source: digits, augment: [{rotate: {degrees: @@200}}]}", "out-of-range"),
        ("data: {source: digits, augment: [{rotate: {degrees: @@x}}]}", "wrong-type"),
        ("data: {source: digits, augment: [{shift: {width: @@1.5}}]}", "out-of-range"),
        ("data: {source: digits, augment: [{shift: {width: @@-1}}]}", "out-of-range"),
        ("data: {source: digits, augment: [{zoom: {range: [0.5, @@0]}}]}", "out-of-range"),
        ("data: {source: digits, augment: [{zoom: @@{range: [2, 1]}}]}", "out-of-range"),
        ("data: {source: digits, augment: [{zoom: {range: @@2}}]}", "wrong-type"),
        ("data: {source: digits, augment: [{crop: {padding: @@-1}}]}", "out-of-range"),
        ("data: {source: digits, augment: [{crop: {padding: @@1.5}}]}", "wrong-type"),
        ("data: {source: digits, augment: [{cutout: {size: @@0}}]}", "out-of-range"),
        ("data: {source: digits, augment: [{mixup: {alpha: @@0}}]}", "out-of-range"),
        ("data: {source: digits, augment: [{@@mixup: {alpha: 1}}, flip]}", "mixup-not-last"),
        ("data: {source: digits, augment: [normalize, @@normalize]}", "normalize-twice"),
        (
            "data: {source: digits, augment: [normalize], @@normalize: per_channel}",
            "normalize-twice",
        ),
        ("data: {source: $@@nowhere}", "unknown-parameter"),
    ],
)
def test_mistakes(text: str, code: str) -> None:
    check_marked(HEAD + text + "\n", code)


# --- the published schema ------------------------------------------------------------------------


@pytest.fixture(scope="module")
def validator() -> Draft202012Validator:
    return Draft202012Validator(json.loads(json.dumps(json_schema(()))))


def value(text: str) -> Any:
    found = json.loads(json.dumps(parse(HEAD + text, "spec").value))
    return {**found, "layers": [{"block": None}]}  # of ops the schema here knows none


VALID = [
    FULL,
    "data: {source: digits, subset: 5, normalize: per_channel, fill: {constant: {value: 1}}}",
    "data: {source: {npz: {file: a, inputs: {x: a}, targets: b}}, augment: [{crop: {size: 3}}]}",
    "data: {source: $s, subset: $n, augment: [{rotate: {degrees: $d}}]}",
]


@pytest.mark.parametrize("text", VALID)
def test_valid_for_an_editor(validator: Draft202012Validator, text: str) -> None:
    validator.validate(value(text))


@pytest.mark.parametrize(
    "text",
    [
        "data: {}",
        "data: {source: mnist}",
        "data: {source: digits, augment: flip}",
        "data: {source: digits, augment: [flop]}",
        "data: {source: digits, augment: [{rotate: {degrees: 200}}]}",
        "data: {source: digits, split: {test: 1.5}}",
        "data: {source: digits, normalize: all}",
        "data: {source: digits, fill: black}",
    ],
)
def test_not_valid_for_an_editor(validator: Draft202012Validator, text: str) -> None:
    assert not validator.is_valid(value(text))


def test_the_words_are_described() -> None:
    definitions = json_schema(())["$defs"]
    for name, words in (("source", SOURCES), ("augmentation", AUGMENTATIONS)):
        text = json.dumps(definitions[name])
        assert all(f'"{key}"' in text for key in words)


# --- which samples -------------------------------------------------------------------------------

LABELS = np.array([0] * 10 + [1] * 6 + [2] * 4)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    x = np.arange(20, dtype=float)[:, None]
    (tmp_path / "a.npz").write_bytes(npz_bytes(x=x, y=LABELS, z=x))
    return tmp_path


SOURCE = "source: {npz: {file: a.npz, inputs: x, targets: y, classes: [a, b, c]}}\n"


def numbers(samples: data.Samples | None) -> list[int]:
    assert samples is not None
    return [int(number) for number in samples.inputs["input"][:, 0]]


def test_halves_are_chosen_by_the_seed(folder: Path) -> None:
    text = SOURCE + "split: {test: 0.25, validation: 5}"
    found = opened(text, folder, seed=4)
    halves = [numbers(half) for half in (found.train, found.validation, found.test)]
    assert [len(half) for half in halves] == [10, 5, 5]
    assert sorted(number for half in halves for number in half) == list(range(20))
    assert all(half == sorted(half) for half in halves)
    assert numbers(opened(text, folder, seed=4).test) == halves[2]
    assert numbers(opened(text, folder, seed=5).test) != halves[2]


def test_stratified_halves(folder: Path) -> None:
    found = opened(SOURCE + "split: {test: 10, stratified: true}", folder)
    assert np.bincount(found.test.targets["output"]).tolist() == [5, 3, 2]
    found = opened(SOURCE + "split: {test: 5, stratified: true}", folder)
    assert np.bincount(found.test.targets["output"]).tolist() == [3, 1, 1]


def test_subsets(folder: Path) -> None:
    split = "split: {test: 2}\n"
    everything = numbers(opened(SOURCE + split, folder).train)
    assert numbers(opened(SOURCE + split + "subset: 7", folder).train) == everything[:7]
    found = opened(SOURCE + split + "subset: {train: 9, test: 1, stratified: true}", folder)
    assert np.bincount(found.train.targets["output"]).max() in (4, 5)
    assert len(found.test) == 1


def test_classes_that_are_kept(folder: Path) -> None:
    found = opened(SOURCE + "classes: [c, 0]\nsplit: {test: 2}", folder)
    assert found.classes == ("c", "a")
    for half in (found.train, found.test):
        labels = half.targets["output"]
        assert ["ca"[label] for label in labels] == ["abc"[LABELS[n]] for n in numbers(half)]


@pytest.mark.parametrize(
    ("text", "code", "line"),
    [
        (SOURCE, "test-half-missing", 5),
        ("source: digits\nsplit: {test: 0.5}", "test-half-twice", 6),
        (SOURCE + "split: {test: 20}", "too-few-samples", 6),
        (SOURCE + "split: {test: 0.01}", "too-few-samples", 6),
        (SOURCE + "split: {test: 19, validation: 1}", "too-few-samples", 6),
        (SOURCE + "split: {test: 2}\nsubset: 19", "too-few-samples", 7),
        (SOURCE + "split: {test: 2}\nclasses: [d]", "class-unknown", 7),
        (SOURCE + "split: {test: 2}\nclasses: [3]", "class-unknown", 7),
        (SOURCE + "split: {test: 2}\nclasses: [a, 0]", "class-unknown", 7),
        (
            SOURCE.replace("targets: y", "targets: z") + "split: {test: 2, stratified: true}",
            "labels-needed",
            6,
        ),
    ],
)
def test_samples_that_are_not_there(folder: Path, text: str, code: str, line: int) -> None:
    found = fault(text, folder)
    assert (found.code, place(found)[0]) == (code, line)


@pytest.mark.parametrize("name", ["idx", "nothing"])
def test_names_that_are_no_data(name: str) -> None:
    with pytest.raises(SetupError) as caught:
        data.open(name)
    assert caught.value.diagnostics[0].code == "unknown-data"


# --- in a network --------------------------------------------------------------------------------


def targets_fit(folder: Path, y: np.ndarray[Any, Any], loss: str = "cross_entropy") -> str:
    (folder / "b.npz").write_bytes(npz_bytes(x=np.ones((len(y), 2)), y=y))
    graph = cnnspec.load(
        "cnnspec: 1\ninput: [2]\nlayers: [{dense: {units: 3}}]\n"
        f"train: {{loss: {loss}, optimizer: {{sgd: {{lr: 0.1}}}}, batch: 2}}\n"
        "data: {source: {npz: {file: b.npz, inputs: x, targets: y}}, split: {test: 2}}\n"
    )
    assert graph.data is not None
    found = data.open(graph.data, folder=folder)
    with pytest.raises(DataError) as caught:
        data.fit(found, graph)
    (told,) = caught.value.diagnostics
    assert told.primary is not None
    return told.code


def test_targets_that_do_not_fit(folder: Path) -> None:
    assert targets_fit(folder, np.array([0, 1, 2, 3, 0])) == "label-range"
    assert targets_fit(folder, np.array([0, 1, 2, -1, 0])) == "label-range"
    assert targets_fit(folder, np.array([0.0, 1, 2, 1, 0])) == "target-kind"
    assert targets_fit(folder, np.array([0, 1, 2, 1, 0]), "mean_squared_error") == "target-kind"
    assert targets_fit(folder, np.zeros((5, 2)), "mean_squared_error") == "target-shape"
    assert targets_fit(folder, np.array([0, 1, 1])) == "batch-too-large"


def test_probabilities(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fitting = import_module("cnnspec.data.fit")  # the package has a function of this name
    monkeypatch.setattr(fitting, "_expected", lambda graph, output: "probabilities")
    good = np.full((5, 3), 1 / 3)
    assert targets_fit(folder, good * 2) == "target-values"
    assert targets_fit(folder, good - [[1, 0, 0]] + [[0, 0, 1]]) == "target-values"
    assert targets_fit(folder, good[:, :2]) == "target-shape"
    assert targets_fit(folder, np.array([0, 1, 2, 3, 0])) == "label-range"

    # Labels are probabilities of 0 and 1, in every half, and mixed ones stay what they are.
    graph = cnnspec.load(
        "cnnspec: 1\ninput: [1, 8, 8]\nlayers: [flatten, {dense: {units: 10}}]\n"
        "train: {loss: cross_entropy, optimizer: {sgd: {lr: 0.1}}}\n"
        "data: {source: digits, augment: [{mixup: {alpha: 1}}], split: {validation: 100}}\n"
    )
    fitted = data.fit(data.given(None, graph), graph)
    assert fitted.validation is not None
    for half in (fitted.train, fitted.validation, fitted.test):
        _, targets = half.take(slice(0, 5))
        assert targets["output"].shape == (5, 10)
        assert set(targets["output"].ravel()) == {0, 1}
    _, targets = fitted.train.take(slice(0, 50), 1)
    assert np.abs(targets["output"].sum(axis=1) - 1).max() < 1e-15
    assert (targets["output"].max(axis=1) < 1).sum() > 30


# --- commands ------------------------------------------------------------------------------------

NET = """\
cnnspec: 1
input: [1, 8, 8]
layers: [flatten, {dense: {units: 10}}]
data:
  source: digits
  normalize: per_channel
  augment: [{rotate: {degrees: 20}}, {mixup: {alpha: 0.3}}]
"""


@pytest.fixture
def spec(tmp_path: Path) -> Path:
    path = tmp_path / "net.yaml"
    path.write_text(NET)
    return path


def test_preview(spec: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sheet = spec.parent / "sheet.png"
    command = ["data", "preview", str(spec), "-o", str(sheet), "--count", "3", "--epoch", "2"]
    assert main(command) == 0
    assert "wrote 3 samples of `digits`" in capsys.readouterr().err
    with Image.open(sheet) as picture:
        pixels = np.asarray(picture)
    assert pixels.shape[2] == 3
    # The untouched image of the first sample, enlarged 14 times, stands in the sheet as it is.
    graph = cnnspec.load(spec)
    plain = data.given(None, graph).train
    number = data.order(0, 2, len(plain))[:3]
    images = plain.take(number)[0]["input"][:, 0]
    low, high = images.min(), images.max()
    wanted = np.rint((images[0] - low) * (255 / (high - low))).astype(np.uint8)
    enlarged = np.repeat(np.repeat(wanted, 14, 0), 14, 1)
    grey = pixels[..., 0]
    found = [
        (i, j)
        for i in range(20, 40)
        for j in range(60, 140)
        if (grey[i : i + 112, j : j + 112] == enlarged).all()
    ]
    assert len(found) == 1
    assert main(command) == 1 or "file-exists" in capsys.readouterr().err
    assert main([*command, "--force"]) == 0


def test_no_images_to_show(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    spec = folder / "net.yaml"
    spec.write_text(
        "cnnspec: 1\ninput: [1]\nlayers: [{dense: {units: 3}}]\ndata:\n"
        "  source: {npz: {file: a.npz, inputs: x, targets: y}}\n  split: {test: 2}\n"
    )
    assert main(["data", "preview", str(spec), "-o", str(folder / "sheet.png")]) == 1
    captured = capsys.readouterr().err
    code = "no-images"
    assert f"error[{code}]" in captured
    assert "a sample of the data `npz` is 1" in captured
    assert not (folder / "sheet.png").exists()


def test_info(spec: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "info", str(spec)]) == 0
    text = capsys.readouterr().out
    assert "1,437 train, 360 test" in text
    assert "channel 0: mean" in text
    assert main(["data", "info", str(spec), "--format", "json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["samples"] == {"train": 1437, "test": 360}
    assert told["inputs"]["input"]["shape"] == [1, 8, 8]
    assert abs(told["inputs"]["input"]["mean"][0]) < 1e-12
    assert sum(entry["train"] for entry in told["classes"]) == 1437
    assert len(told["normalized_by"]["input"]["mean"]) == 1


def test_a_source_given_by_name_comes_first(folder: Path) -> None:
    graph = cnnspec.load(HEAD + "data: {source: {idx: {folder: nowhere}}}\n")
    assert data.given("digits", graph).name == "digits"
    with pytest.raises(DataError):
        data.given(None, graph)
    assert data.given(None, cnnspec.load(HEAD)).name == "digits"


def test_reading_a_section_imports_nothing_heavy(spec: Path) -> None:
    code = (
        "import sys; from cnnspec.cli import main; main(['validate', sys.argv[1]]); "
        "print({'numpy', 'scipy', 'PIL'} & set(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(spec)], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip().endswith("set()")
