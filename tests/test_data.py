from __future__ import annotations

import sys
from typing import Any

import numpy as np
import pytest

import cnnspec
from cnnspec import data
from cnnspec.data import Dataset, Split, order
from cnnspec.diagnostics import DataError, SetupError
from cnnspec.graph import Graph

HEAD = "cnnspec: 1\nname: net\n"
TRAIN = "train: {loss: cross_entropy, optimizer: {adam: {lr: 0.01}}, batch: 4}\n"


def graph(text: str) -> Graph:
    return cnnspec.load(HEAD + text)


def dense(channels: int) -> Graph:
    layers = f"layers: [flatten, {{dense: {{units: {channels}}}}}]\n"
    return graph("input: [1, 8, 8]\n" + layers + TRAIN)


def made(inputs: dict[str, np.ndarray], targets: dict[str, np.ndarray]) -> Dataset:
    split = Split(inputs, targets)
    return Dataset("made", split, split)


def test_order_is_the_documented_one() -> None:
    assert order(0, 0, 10).tolist() == [1, 4, 7, 2, 8, 5, 6, 9, 0, 3]


def test_order_is_a_permutation_that_depends_on_seed_and_epoch() -> None:
    first = order(7, 3, 500)
    assert sorted(first) == list(range(500))
    assert (order(7, 3, 500) == first).all()
    assert (order(7, 4, 500) != first).any()
    assert (order(8, 3, 500) != first).any()


def test_order_of_longer_data_is_no_prefix_trap() -> None:
    # More samples draw more numbers, and the first ones stay: what is left keeps its order.
    longer = order(0, 0, 12)
    assert [k for k in longer if k < 10] == order(0, 0, 10).tolist()


def test_digits_are_split_by_number() -> None:
    digits = data.load("digits")
    assert len(digits.train) == 1437
    assert len(digits.test) == 360
    assert digits.classes == tuple("0123456789")
    from sklearn.datasets import load_digits

    images = load_digits().images
    assert (digits.test.inputs["input"][1, 0] * 16 == images[5]).all()
    assert (digits.train.inputs["input"][4, 0] * 16 == images[6]).all()
    for split in (digits.train, digits.test):
        image, label = split.inputs["input"], split.targets["output"]
        assert image.shape[1:] == (1, 8, 8)
        assert image.dtype == np.float64
        assert image.min() == 0
        assert image.max() == 1
        assert label.dtype == np.int64
        assert set(label) == set(range(10))


def test_missing_library_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    with pytest.raises(SetupError) as caught:
        data.load("digits")
    (fault,) = caught.value.diagnostics
    assert fault.code == "extra-missing"
    assert fault.help == "pip install 'cnnspec[data]'"
    assert caught.value.exit_status == 2


def test_unknown_data_suggests_a_name() -> None:
    with pytest.raises(SetupError) as caught:
        data.load("digit")
    (fault,) = caught.value.diagnostics
    assert fault.code == "unknown-data"
    assert fault.help == "did you mean `digits`?"


def test_a_split_has_one_number_of_samples() -> None:
    with pytest.raises(ValueError, match="one number of samples"):
        Split({"x": np.zeros((3, 1))}, {"y": np.zeros(4)})
    with pytest.raises(ValueError, match="one number of samples"):
        Split({"x": np.zeros((0, 1))}, {"y": np.zeros(0)})


def test_data_take_the_names_of_the_network() -> None:
    net = graph(
        "input: {image: [1, 8, 8]}\nlayers:\n"
        "  - flatten\n"
        "  - dense: {name: fc1, units: 10}\n"
        "  - dense: {name: fc2, units: 10}\n"
        "outputs: {main: fc2, aux: fc1}\n"
        "train:\n  loss: {main: cross_entropy, aux: {cross_entropy: {weight: 0.3}}}\n"
        "  optimizer: {adam: {lr: 0.01}}\n"
    )
    digits = data.load("digits")
    fitted = data.fit(digits, net)
    assert list(fitted.train.inputs) == ["image"]
    assert list(fitted.test.targets) == ["main", "aux"]
    assert fitted.test.targets["aux"] is digits.test.targets["output"]
    assert fitted.train.inputs["image"] is digits.train.inputs["input"]


def fault_of(dataset: Dataset, net: Graph) -> tuple[str, int, int, str, str]:
    with pytest.raises(DataError) as caught:
        data.fit(dataset, net)
    (fault,) = caught.value.diagnostics
    assert fault.primary is not None
    span = fault.primary.span
    return fault.code, span.line, span.column, fault.message, fault.help


def test_wrong_image_size_shows_both_shapes() -> None:
    net = graph("input: [3, 32, 32]\nlayers: [flatten, {dense: {units: 10}}]\n" + TRAIN)
    code, line, column, message, help = fault_of(data.load("digits"), net)
    assert (code, line, column) == ("data-shape", 3, 8)
    assert message == "`input` is 3x32x32, and a sample of the data `digits` is 1x8x8"
    assert help == "`input: [1, 8, 8]` would fit this data"


@pytest.mark.parametrize("channels", [9, 11])
def test_wrong_number_of_classes(channels: int) -> None:
    code, line, column, message, _ = fault_of(data.load("digits"), dense(channels))
    assert (code, line) == ("class-count", 4)
    assert column > 1
    assert message == f"`output` has {channels} channels, and the data `digits` has 10 classes"


def test_labels_are_no_values() -> None:
    net = graph(
        "input: [1, 8, 8]\nlayers: [flatten, {dense: {units: 10}}]\n"
        "train: {loss: mean_squared_error, optimizer: {adam: {lr: 0.01}}}\n"
    )
    code, line, _, message, _ = fault_of(data.load("digits"), net)
    assert (code, line) == ("target-kind", 4)
    assert "needs values" in message


def test_labels_beyond_the_channels() -> None:
    for label in (3, -1):
        dataset = made({"input": np.zeros((4, 1, 8, 8))}, {"output": np.array([0, 1, 2, label])})
        code, _, _, message, _ = fault_of(dataset, dense(3))
        assert code == "label-range"
        assert f"a label {label}" in message


def test_targets_of_another_shape() -> None:
    dataset = made({"input": np.zeros((4, 1, 8, 8))}, {"output": np.zeros((4, 8), np.int64)})
    code, _, _, message, _ = fault_of(dataset, dense(3))
    assert code == "target-shape"
    assert "targets of one number a sample" in message


def of_loss(loss: str, channels: int = 3) -> Graph:
    return graph(
        f"input: [4]\nlayers: [dense: {{units: {channels}}}]\n"
        f"train: {{loss: {loss}, optimizer: {{sgd: {{lr: 1}}}}, batch: 1}}\n"
    )


def of_targets(*rows: Any, dtype: Any = float) -> Dataset:
    return made({"input": np.zeros((len(rows), 4))}, {"output": np.array(rows, dtype)})


SOFT = "{cross_entropy: {targets: probabilities}}"


@pytest.mark.parametrize(
    ("loss", "rows", "message"),
    [
        (
            "binary_cross_entropy",
            [(0, 1, 1.5)],
            "needs fractions, and the data `made` has a value 1.5",
        ),
        ("binary_cross_entropy", [(0, -0.25, 1)], "has a value -0.25, outside of 0 to 1"),
        ("binary_cross_entropy", [(0, np.nan, 1)], "has a value nan, outside of 0 to 1"),
        ("hinge", [(-1, 1, 0)], "has a value 0, and signs are -1 or 1"),
        ("squared_hinge", [(-1, 1, 0.5)], "has a value 0.5, and signs are -1 or 1"),
        (SOFT, [(0.5, 0.5, 0), (0.5, 0.25, 0)], "add up to 0.75 over the channels, not to 1"),
        (SOFT, [(0.5, 0.5, 2e-6)], "add up to 1.000002 over the channels, not to 1"),
        ("kl_divergence", [(1.5, -0.5, 0)], "has a probability -0.5, below 0"),
        ("kl_divergence", [(1, np.nan, 0)], "has a probability nan, below 0"),
    ],
)
def test_values_that_a_loss_does_not_compare_with(loss: str, rows: Any, message: str) -> None:
    code, line, column, found, help = fault_of(of_targets(*rows), of_loss(loss))
    assert (code, line, column, help) == ("target-values", 4, 10, "")
    assert message in found


def test_signs_are_not_0_and_1() -> None:
    code, _, _, _, help = fault_of(of_targets(0, 1, dtype=int), of_loss("hinge", 1))
    assert (code, help) == ("target-values", "give the labels 0 and 1 as -1 and 1")


@pytest.mark.parametrize(
    ("loss", "channels", "rows", "wanted"),
    [
        ("binary_cross_entropy", 1, [0, 1, 1], [[0], [1], [1]]),
        ("hinge", 1, [-1, 1], [[-1], [1]]),
        ("binary_cross_entropy", 2, [(0, 1), (1, 1)], [(0, 1), (1, 1)]),
        ("mean_absolute_error", 2, [(3, -4)], [(3, -4)]),
        (SOFT, 3, [2, 0], [(0, 0, 1), (1, 0, 0)]),
        (SOFT, 3, [(0, 1, 0), (1, 0, 0)], [(0, 1, 0), (1, 0, 0)]),
        ("kl_divergence", 2, [1], [(0, 1)]),
    ],
)
def test_whole_numbers_become_values(loss: str, channels: int, rows: Any, wanted: Any) -> None:
    fitted = data.fit(of_targets(*rows, dtype=np.int64), of_loss(loss, channels))
    for split in (fitted.train, fitted.test):
        assert split.targets["output"].dtype == np.float64
        np.testing.assert_array_equal(split.targets["output"], wanted)


@pytest.mark.parametrize("loss", ["cross_entropy", "multi_margin"])
def test_labels_stay_labels(loss: str) -> None:
    labels = of_targets(0, 2, 1, dtype=np.int64)
    fitted = data.fit(labels, of_loss(loss))
    assert fitted.train.targets["output"] is labels.train.targets["output"]
    assert fault_of(of_targets(0.0, 1.0), of_loss(loss))[0] == "target-kind"


@pytest.mark.parametrize("loss", ["binary_cross_entropy", "hinge", "huber"])
def test_labels_are_no_values_of_several_channels(loss: str) -> None:
    code, _, _, _, help = fault_of(of_targets(0, 1, dtype=np.int64), of_loss(loss))
    assert (code, help) == ("target-kind", "`cross_entropy` is the loss for labels")


def test_labels_beyond_the_probabilities() -> None:
    assert fault_of(of_targets(0, 3, dtype=np.int64), of_loss("kl_divergence"))[0] == "label-range"


def test_several_inputs_go_by_name() -> None:
    net = graph(
        "input: {a: [4], b: [4]}\nlayers: [{add: {from: [a, b]}}, {dense: {units: 2}}]\n" + TRAIN
    )
    array, labels = np.zeros((4, 4)), {"output": np.zeros(4, np.int64)}
    data.fit(made({"b": array, "a": array}, labels), net)
    code, line, _, _, _ = fault_of(made({"a": array, "c": array}, labels), net)
    assert (code, line) == ("data-names", 3)
    assert fault_of(made({"a": array}, labels), net)[0] == "data-names"
