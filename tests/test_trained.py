"""Trained networks at work: evaluate and predict, and fine-tuning across back ends."""

from __future__ import annotations

import dataclasses
import json
import signal
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

import cnnspec
from cnnspec import data
from cnnspec.cli import main
from cnnspec.data import Dataset, Split
from cnnspec.diagnostics import DataError, SetupError, SpecError, UserError
from cnnspec.evaluate.answers import kind_of, probabilities, ranked
from cnnspec.evaluate.described import Described, class_names, described, scaling_of
from cnnspec.evaluate.model import opened, weights_file
from cnnspec.finetune import grouped, read_any, take
from cnnspec.graph import Graph
from cnnspec.images import read_sample
from cnnspec.initializers import initial_weights
from cnnspec.train import train
from cnnspec.train.progress import Lines
from cnnspec.weights import read_weights, write_weights
from tests.networks import BACKENDS, graph

torch = pytest.importorskip("torch")
Image = pytest.importorskip("PIL.Image")

OLD = """\
cnnspec: 1
name: old
input: [1, 8, 8]
layers:
  - sequence:
      name: features
      layers:
        - conv: {filters: 4, kernel: 3, bias: false}
        - batch_norm
        - relu
        - max_pool: {kernel: 2}
  - flatten
  - dense: {name: fc, units: 10}
  - softmax
train: {loss: cross_entropy, optimizer: {adam: {lr: 0.01}}, batch: 64, epochs: 1}
"""

NEW = (
    OLD.replace("name: old", "name: new")
    .replace("fc, units: 10}", "hidden, units: 12}\n  - tanh\n  - dense: {name: fc, units: 10}")
    .replace("epochs: 1", "epochs: 1, groups: [{match: fc, weight_decay: 0.1}]")
)


@pytest.fixture(scope="module")
def few() -> Dataset:
    whole = data.load("digits")
    half = Split(*whole.train.take(np.arange(150))), Split(*whole.test.take(np.arange(50)))
    return Dataset("digits", *half, whole.classes)


@pytest.fixture(scope="module")
def old_run(tmp_path_factory: pytest.TempPathFactory, few: Dataset) -> Path:
    """A run of the old network in torch."""
    folder = tmp_path_factory.mktemp("old")
    train(graph(OLD), "torch", few, rundir=folder / "run")
    (folder / "old.yaml").write_text(OLD)
    (folder / "new.yaml").write_text(NEW)
    return folder


def code(error: pytest.ExceptionInfo[UserError]) -> str:
    return error.value.diagnostics[0].code


# --- answers -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("last", "train", "kind"),
    [
        ("softmax", "", "softmax"),
        ("log_softmax", "", "log_softmax"),
        ("sigmoid", "", "sigmoid"),
        ("tanh", "", "logits"),
        ("tanh", "train: {loss: cross_entropy, optimizer: {sgd: {lr: 1}}}", "logits"),
        ("tanh", "train: {loss: mean_squared_error, optimizer: {sgd: {lr: 1}}}", "values"),
    ],
)
def test_what_an_output_says(last: str, train: str, kind: str) -> None:
    network = graph(f"cnnspec: 1\ninput: [2]\nlayers: [{{dense: {{units: 3}}}}, {last}]\n{train}\n")
    assert kind_of(network, network.outputs[0]) == kind


def test_probabilities() -> None:
    logits = np.array([[1000.0, 1000, -1000]])
    assert probabilities("logits", logits).tolist() == [[0.5, 0.5, 0]]
    value = np.log([[0.25, 0.75]])
    np.testing.assert_allclose(probabilities("log_softmax", value), [[0.25, 0.75]])
    maps = np.array([[[[0.0, 1.0]], [[1.0, 0.5]]]])
    np.testing.assert_allclose(probabilities("softmax", maps), [[0.5, 0.75]])
    assert ranked(np.array([0.2, 0.4, 0.4]), 2) == [1, 2]


def test_weights_of_a_run(old_run: Path) -> None:
    run = old_run / "run"
    assert weights_file(str(run)) == str(run / "weights.safetensors")
    assert weights_file(str(run), best=True) == str(run / "best.safetensors")
    with pytest.raises(SetupError) as e:
        weights_file(str(old_run))
    assert code(e) == "file-not-found"
    with pytest.raises(SetupError) as e:
        weights_file(str(run / "weights.safetensors"), best=True)
    assert code(e) == "not-a-directory"


def test_names_of_classes(old_run: Path, tmp_path: Path) -> None:
    plain = graph(OLD)
    run = described(str(old_run / "run"))
    assert run.classes == tuple("0123456789")
    assert class_names(plain, None, run) == run.classes
    assert class_names(plain, None, Described()) == ()
    assert class_names(plain, "digits", Described(("a",))) == tuple("0123456789")
    listed = OLD + "data: {source: {image_folder: {folder: none}}, classes: [cat, dog]}\n"
    assert class_names(graph(listed), None, Described()) == ("cat", "dog")
    assert described(str(tmp_path)) == Described()
    for bad in ("[", "[]", '{"statistics": {"x": {"mean": ["a"]}}}', '{"classes": 3}'):
        (tmp_path / "data.json").write_text(bad)
        with pytest.raises(DataError) as e:
            described(str(tmp_path))
        assert code(e) == "run-damaged"


def test_a_picture_is_prepared_as_the_data_section_says(tmp_path: Path) -> None:
    """The same numbers as for the samples that the section reads itself."""
    rng = np.random.default_rng(0)
    for name in ("a", "b"):
        (tmp_path / "pictures" / name).mkdir(parents=True)
        for i in range(3):
            pixels = rng.integers(0, 256, (4, 5, 3)).astype(np.uint8)
            Image.fromarray(pixels).save(tmp_path / "pictures" / name / f"{i}.png")
    spec = tmp_path / "net.yaml"
    for steps in (
        "rescale: 0.00390625",
        "normalize: per_channel",
        "normalize: {mean: [0.5, 0.25, 0.125], std: [0.5, 2, 4]}, "
        "augment: [{rescale: {scale: 2, offset: -1}}]",
    ):
        spec.write_text(
            "cnnspec: 1\ninput: [3, 4, 5]\nlayers: [flatten, {dense: {units: 2}}]\n"
            "train: {loss: cross_entropy, optimizer: {sgd: {lr: 1}}, batch: 2}\n"
            "data: {source: {image_folder: {folder: pictures}}, split: {test: 2}, "
            f"{steps}}}\n"
        )
        network = cnnspec.load(spec)
        found = data.given(None, network)
        run = Described(statistics=found.statistics)
        for known in (run, Described()):
            scaling = scaling_of(network, "input", 3, known)
            own = next(iter(found.test.inputs.values()))
            pictures = [
                read_sample(str(path), network.inputs[0], scaling=scaling).inputs["input"][0]
                for path in (tmp_path / "pictures").rglob("*.png")
            ]
            for sample in own:
                assert min(np.abs(sample - each).max() for each in pictures) < 1e-13


# --- evaluate ----------------------------------------------------------------------------------


def run_main(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    capsys.readouterr()
    status = main([str(argument) for argument in arguments])
    said = capsys.readouterr()
    return status, said.out, said.err


def test_evaluate(old_run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    weights = read_weights(old_run / "run" / "weights.safetensors", graph(OLD))
    reports: list[dict[str, Any]] = []
    for backend in ("numpy", "torch"):
        status, out, _ = run_main(
            capsys, "evaluate", old_run / "old.yaml", "-w", old_run / "run", "--data", "digits",
            "-b", backend, "--format", "json",
        )  # fmt: skip
        assert status == 0
        reports.append(json.loads(out))
    one, other = reports
    assert abs(one.pop("loss") - other.pop("loss")) < 1e-12
    test = data.load("digits").test
    images, labels = test.inputs["input"], test.targets["output"]
    with opened(graph(OLD), "numpy", weights) as session:
        found = session.forward({"input": images})["output"]
    assert one["accuracy"] == np.mean(found.argmax(axis=1) == labels)
    top5 = [label in ranked(row, 5) for row, label in zip(found, labels, strict=True)]
    assert one["top5"] == np.mean(top5)
    confusion = np.zeros((10, 10), int)
    np.add.at(confusion, (labels, found.argmax(axis=1)), 1)
    (output,) = one["outputs"].values()
    assert output["confusion"] == confusion.tolist()
    row = output["classes"][3]
    assert row["class"] == "3"
    assert row["recall"] == confusion[3, 3] / confusion[3].sum()
    assert row["precision"] == (
        confusion[3, 3] / confusion[:, 3].sum() if confusion[:, 3].sum() else None
    )
    status, out, _ = run_main(
        capsys, "evaluate", old_run / "old.yaml", "-w", old_run / "run", "--split", "train",
        "--data", "digits", "--best",
    )  # fmt: skip
    assert status == 0
    assert out.startswith("old on 1,437 train samples of digits\nloss ")
    assert "label (rows) taken for (columns):" in out


def test_evaluate_what_cannot_be(
    old_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    status, _, err = run_main(
        capsys, "evaluate", old_run / "old.yaml", "-w", old_run / "run", "--split", "validation"
    )
    assert status == 2
    assert "error[unknown-sample]" in err
    untrained = tmp_path / "net.yaml"
    untrained.write_text("cnnspec: 1\ninput: [1, 8, 8]\nlayers: [flatten]\n")
    status, _, err = run_main(capsys, "evaluate", untrained, "-w", old_run / "run")
    assert status == 1
    assert "error[train-missing]" in err


# --- predict -----------------------------------------------------------------------------------


def test_predict(old_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    images = data.load("digits").test.inputs["input"]
    paths = []
    for i in range(2):
        pixels = (images[i, 0] * 255).round().astype(np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{i}.png")
        paths.append(tmp_path / f"{i}.png")
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"\x89PNG")
    spec, run = old_run / "old.yaml", old_run / "run"
    status, out, err = run_main(capsys, "predict", spec, *paths, "-w", run, "--top", 3)
    assert (status, err) == (0, "")
    blocks = out.split(str(tmp_path))[1:]
    assert [len(block.strip().splitlines()) for block in blocks] == [4, 4]
    status, out, err = run_main(
        capsys, "predict", spec, paths[0], broken, tmp_path / "none.png", paths[1], "-w", run,
        "--format", "json",
    )  # fmt: skip
    assert status == 1
    assert "error[image-unreadable]" in err
    assert str(broken) in err
    found = json.loads(out)
    assert [each["image"] for each in found["predictions"]] == [str(path) for path in paths]
    assert [each["code"] for each in found["errors"]] == ["image-unreadable", "file-not-found"]
    weights = read_weights(run / "weights.safetensors", graph(OLD))
    exact = np.round(images[:2] * 255) / 255
    with opened(graph(OLD), "torch", weights) as session:
        expected = session.forward({"input": exact})["output"]
    for each, row in zip(found["predictions"], expected, strict=True):
        assert [k["number"] for k in each["classes"]] == ranked(row, 5)
        values = [k["probability"] for k in each["classes"]]
        np.testing.assert_allclose(values, np.sort(row)[::-1][:5], rtol=1e-12, atol=1e-15)


# --- finetune ----------------------------------------------------------------------------------


def test_train_in_torch_finetune_in_keras_predict_in_numpy(
    old_run: Path,
    tmp_path: Path,
    few: Dataset,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The example of the README."""
    monkeypatch.setattr("cnnspec.data.given", lambda *_, **__: few)
    monkeypatch.setattr("cnnspec.data.opening.load", lambda _: few)
    run = tmp_path / "new"
    status, _, err = run_main(
        capsys, "finetune", old_run / "new.yaml", "--weights", old_run / "run",
        "--from", old_run / "old.yaml", "--drop-after", "features", "--freeze", "features",
        "--rate", "hidden=0.5", "--backend", "keras", "--data", "digits", "-o", run,
    )  # fmt: skip
    assert status == 0
    assert "taken: 5 (features.0.weight, features.1.weight" in err
    assert "drawn anew: 4 (hidden.weight, hidden.bias, fc.weight, fc.bias)" in err
    assert "dropped: 2 (fc." in err
    new = graph(NEW)
    before = read_weights(old_run / "run" / "weights.safetensors", graph(OLD))
    after = read_weights(run / "weights.safetensors", new)
    for name in ("features.0.weight", "features.1.weight", "features.1.bias"):
        np.testing.assert_array_equal(after[name], before[name])
    drawn = initial_weights(new)
    assert np.abs(after["hidden.weight"] - drawn["hidden.weight"]).max() > 1e-4
    images = few.test.inputs["input"]
    outputs = {}
    for backend in BACKENDS:
        with opened(new, backend, after) as session:
            outputs[backend] = session.forward({"input": images})["output"]
    for found in outputs.values():
        np.testing.assert_allclose(found, outputs["numpy"], rtol=1e-12, atol=1e-15)


def test_finetuning_goes_on(
    old_run: Path,
    tmp_path: Path,
    few: Dataset,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A run that was interrupted ends with the weights of one that was not."""
    monkeypatch.setattr("cnnspec.data.given", lambda *_, **__: few)
    spec = tmp_path / "new.yaml"
    spec.write_text(NEW.replace("epochs: 1", "epochs: 2"))
    start: list[str | Path] = ["finetune", spec, "-w", old_run / "run", "--from"]
    start += [old_run / "old.yaml", "--drop-after", "features", "-b", "numpy", "-o"]
    assert run_main(capsys, *start, tmp_path / "whole")[0] == 0

    updates = 0

    def interrupt(self: Lines, loss: float) -> None:
        nonlocal updates
        updates += 1
        if updates == 4:  # of three in an epoch
            signal.raise_signal(signal.SIGINT)

    with monkeypatch.context() as patch:
        patch.setattr(Lines, "advance", interrupt)
        status, _, err = run_main(capsys, *start, tmp_path / "run")
    assert status == 130
    assert "interrupted at epoch 2 of 2, after update 1 of 3" in err
    command = [*start, tmp_path / "run", "--resume"]
    assert run_main(capsys, *command, "--force")[0] == 2
    other = tmp_path / "other.safetensors"
    weights = read_weights(old_run / "run" / "weights.safetensors", graph(OLD))
    write_weights(other, {name: value + 1 for name, value in weights.items()})
    status, _, err = run_main(capsys, *command, "-w", other)
    assert status == 1
    assert "error[checkpoint-differs]" in err
    assert "the fingerprint of the first weights was `" in err
    status, _, err = run_main(capsys, *command)
    assert status == 0
    assert "resumed at epoch 2 of 2, after update 1 of 3" in err
    for name in ("weights.safetensors", "metrics.csv"):
        assert (tmp_path / "run" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_rates_and_frozen_parameters(few: Dataset, old_run: Path) -> None:
    """One update: what is frozen stays, what has half the rate of SGD moves half as far."""
    text = NEW.replace("{adam: {lr: 0.01}}", "{sgd: {lr: 0.1}}").replace("batch: 64", "batch: 150")
    text = text.replace(", groups: [{match: fc, weight_decay: 0.1}]", "")
    network = graph(text)
    source = read_any(str(old_run / "run"))
    start = take(network, source, drop_after="features").weights
    moves = []
    for rates in ({}, {"hidden": 0.5}):
        tuned = grouped(network, ["features", "fc.bias"], rates)
        found = train(tuned, "numpy", few, initial=start).weights
        moves.append({name: found[name] - start[name] for name in start})
    whole, half = moves
    for name in ("features.0.weight", "features.1.weight", "fc.bias"):
        assert not whole[name].any()
    assert whole["fc.weight"].any()
    np.testing.assert_allclose(half["hidden.weight"], whole["hidden.weight"] / 2, atol=1e-15)
    np.testing.assert_allclose(half["fc.weight"], whole["fc.weight"], atol=1e-15)


def test_groups_come_before_those_of_the_spec() -> None:
    found = grouped(graph(NEW), ["features.0"], {"fc": 0.1})
    assert found.training is not None
    assert [group.match for group in found.training.groups] == [("features.0",), ("fc",), ("fc",)]
    for freeze, rates, expected in (
        (["nothing"], {}, "group-matches-nothing"),
        ([], {"fc": 0.0}, "out-of-range"),
        ([], {"fc": float("inf")}, "out-of-range"),
        (["*"], {}, "nothing-to-train"),
    ):
        with pytest.raises(SetupError) as e:
            grouped(graph(NEW), freeze, rates)
        assert code(e) == expected
    untrained = dataclasses.replace(graph(NEW), training=None)
    with pytest.raises(SpecError) as missing:
        grouped(untrained, [], {})
    assert code(missing) == "train-missing"


def test_take(tmp_path: Path) -> None:
    network, other = graph(NEW), graph(OLD)
    source = {**initial_weights(other, seed=5), "more.weight": np.zeros(3)}
    with pytest.raises(DataError) as e:
        take(network, source)
    assert code(e) == "weight-shape"
    assert "--drop-after" in e.value.diagnostics[0].help
    found = take(network, source, drop_after="features.3")
    assert found.taken == tuple(name for name in network.params() if name.startswith("features."))
    assert found.dropped == ("fc.weight", "fc.bias")
    assert found.unused == ("more.weight",)
    np.testing.assert_array_equal(found.weights["features.0.weight"], source["features.0.weight"])
    fresh = initial_weights(network)
    for name in found.fresh:
        np.testing.assert_array_equal(found.weights[name], fresh[name])
    part = take(network, source, of=other, drop_after="features.0")
    assert part.taken == ("features.0.weight",)
    with pytest.raises(SetupError) as unknown:
        take(network, source, drop_after="feature")
    assert code(unknown) == "unknown-layer"
    assert unknown.value.diagnostics[0].help == "did you mean `features`?"
    with pytest.raises(DataError) as nothing:
        take(network, {"a.weight": np.zeros(2)})
    assert code(nothing) == "nothing-taken"
    source["features.0.weight"] = source["features.0.weight"] * np.nan
    with pytest.raises(DataError) as nan:
        take(network, source, drop_after="features")
    assert code(nan) == "weight-not-finite"


def state_dict(network: Graph) -> dict[str, Any]:
    return {
        name: torch.from_numpy(value.copy()) for name, value in initial_weights(network).items()
    }


def test_a_state_dict_of_torch(tmp_path: Path) -> None:
    network = graph(OLD)
    expected = initial_weights(network)
    state = state_dict(network)
    state["features.1.num_batches_tracked"] = torch.tensor(7)
    path = str(tmp_path / "net.pth")
    for saved in (
        state,
        {"state_dict": state, "epoch": 3},
        {f"module.{n}": v for n, v in state.items()},
    ):
        torch.save(saved, path)
        found = read_any(path)
        assert list(found) == list(expected)
        for name, value in found.items():
            np.testing.assert_array_equal(value, expected[name])
    torch.save({"a": torch.ones(2, dtype=torch.bfloat16)}, path)
    assert read_any(path)["a"].dtype == np.float32


class Harmful:
    """Runs code when it is unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return (open, ("harm", "w"))


def test_files_of_torch_that_cannot_be_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "net.pt"
    whole = tmp_path / "whole.pt"
    torch.save({"a": torch.zeros(3)}, whole)
    for content in (
        Harmful(),
        {"a": Harmful()},
        {"a": "text"},
        {"a": torch.zeros(2, dtype=torch.int64)},
        {3: torch.zeros(2)},
        [torch.zeros(2)],
        {},
    ):
        torch.save(content, path)
        with pytest.raises(DataError, match=r"net\.pt") as e:
            read_any(str(path))
        assert code(e) == "weights-format"
    assert not (tmp_path / "harm").exists()
    data_ = whole.read_bytes()
    for bad in (b"", b"PK", data_[: len(data_) // 2], b"\x80\x02}."):
        path.write_bytes(bad)
        with pytest.raises(DataError) as e:
            read_any(str(path))
        assert code(e) == "weights-format"
    with pytest.raises(SetupError) as missing:
        read_any("none.pt")
    assert code(missing) == "file-not-found"


def test_tensors_of_any_network(tmp_path: Path) -> None:
    values: dict[str, npt.NDArray[np.float64]] = {"module.x": np.arange(3.0), "y": np.ones(2)}
    write_weights(tmp_path / "w.safetensors", values)
    found = read_any(str(tmp_path / "w.safetensors"))
    assert list(found) == ["module.x", "y"]  # a layer may be called so
    from safetensors.numpy import save_file

    save_file({"x": np.arange(3)}, tmp_path / "i.safetensors")
    with pytest.raises(DataError) as e:
        read_any(str(tmp_path / "i.safetensors"))
    assert code(e) == "weight-dtype"


def test_wrong_use(old_run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    start = ["finetune", old_run / "new.yaml", "-w", old_run / "run", "-b", "numpy"]
    for rate in ("fc", "=2", "fc=a", "fc=nan"):
        status, _, err = run_main(capsys, *start, "--rate", rate)
        assert status == 2
        assert "PATTERN=FACTOR" in err
