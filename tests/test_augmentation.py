"""Augmentation: laws that hold bit for bit, numbers that are pinned, and what does not fit."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import cnnspec
from cnnspec import data
from cnnspec.augmentation import AUGMENTATIONS, Constant, Fill, Nearest, Reflect, Wrap
from cnnspec.data import Dataset, Samples
from cnnspec.data.draws import uniforms
from cnnspec.data.geometry import combined, resampled, window
from cnnspec.data_section import DataSection
from cnnspec.diagnostics import DataError, Diagnostic
from tests.data_files import Array, npz_bytes, pictures
from tests.test_data_sources import opened, place, section

COUNT = 12


def made(
    folder: Path, steps: str, shape: tuple[int, ...] = (2, 6, 5), more: str = "", **arrays: Array
) -> Dataset:
    """Random bytes of this shape with labels 0, 1, 2, ..., both halves alike."""
    x, y = pictures(COUNT, shape), np.arange(COUNT) % 4
    (folder / "a.npz").write_bytes(npz_bytes(**{"x_train": x, "y_train": y, **arrays}))
    text = f"source: {{npz: {{file: a.npz, test: a.npz}}}}\naugment: {steps}\n{more}"
    return opened(text, folder, seed=3)


def image(found: Samples, epoch: int | None, number: int = 0) -> Array:
    inputs, _ = found.take(np.array([number]), epoch)
    found_image: Array = inputs["input"][0]
    return found_image


def fault(
    folder: Path, steps: str, shape: tuple[int, ...] = (2, 6, 5), **arrays: Array
) -> Diagnostic:
    with pytest.raises(DataError) as caught:
        made(folder, steps, shape, "", **arrays)
    (found,) = caught.value.diagnostics
    assert place(found)[0] == 6
    return found


EVERYTHING = (
    "[{rotate: {degrees: 20}}, {shift: {height: 1, width: 0.2}}, {shear: {degrees: 9}}, "
    "{zoom: {range: [0.8, 1.3], keep_aspect: false}}, flip, {crop: {padding: 2}}, "
    "{channel_shift: {by: 0.2}}, {brightness: {by: 0.3}}, {contrast: {by: 0.3}}, "
    "{rescale: {scale: 2, offset: -1}}, normalize, {cutout: {size: 2, count: 2}}, "
    "{mixup: {alpha: 0.4}}]"
)


def test_the_list_has_every_step(tmp_path: Path) -> None:
    assert all(key in EVERYTHING for key in AUGMENTATIONS)


# --- laws ----------------------------------------------------------------------------------------

IDENTITIES = [
    "rotate: {degrees: 0}",
    "shift: {height: 0.0, width: 0}",
    "shear: {degrees: 0}",
    "zoom: {range: [1, 1]}",
    "flip: {p: 0}",
    "crop: {padding: 0}",
    "channel_shift: {by: 0}",
    "brightness: {by: 0}",
    "contrast: {by: 0}",
    "rescale",
    "normalize: {mean: [0], std: [1]}",
]


@pytest.mark.parametrize("step", IDENTITIES)
@pytest.mark.parametrize("between", ["nearest", "linear", "cubic"])
def test_identities(tmp_path: Path, step: str, between: str) -> None:
    step = f"{{{step}}}" if ":" in step else step
    found = made(tmp_path, f"[{step}]", more=f"interpolation: {between}")
    x = pictures(COUNT, (2, 6, 5)) / 255
    for epoch in (0, 7):
        assert (found.train.take(slice(None), epoch)[0]["input"] == x).all()


def test_flips(tmp_path: Path) -> None:
    x = pictures(COUNT, (2, 6, 5)) / 255
    for step, flipped in (
        ("flip: {p: 1}", x[..., ::-1]),
        ("flip: {p: 1, horizontal: false, vertical: true}", x[..., ::-1, :]),
        ("flip: {p: 1, vertical: true}", x[..., ::-1, ::-1]),
        ("rotate: {degrees: 0}}, {flip: {p: 1}}, {flip: {p: 1}", x),
    ):
        found = made(tmp_path, f"[{{{step}}}]", more="interpolation: cubic")
        assert (found.train.take(slice(None), 0)[0]["input"] == flipped).all()
        assert (found.test.take(slice(None), 0)[0]["input"] == x).all()
    half = made(tmp_path, "[flip]").train
    mirrored = [(image(half, e) == x[0][..., ::-1]).all() for e in range(200)]
    kept = [(image(half, e) == x[0]).all() for e in range(200)]
    assert sum(mirrored) + sum(kept) == 200
    assert 70 < sum(mirrored) < 130


@pytest.mark.parametrize(
    ("fill", "wanted"),
    [
        (Constant(value=7.0), [7, 7, 7, 0, 1, 2, 7, 7, 7]),
        (Nearest(), [0, 0, 0, 0, 1, 2, 2, 2, 2]),
        (Reflect(), [2, 1, 0, 0, 1, 2, 2, 1, 0]),
        (Wrap(), [0, 1, 2, 0, 1, 2, 0, 1, 2]),
    ],
    ids=lambda each: each.key if isinstance(each, Fill) else "",
)
def test_what_is_beyond_the_border(fill: Fill, wanted: list[float]) -> None:
    x = np.arange(3.0)[None]
    assert window(x, [np.arange(-3, 6)], fill)[0].tolist() == wanted
    # scipy finds the same there, whole pixels or not.
    matrix = np.array([[1.0, -2.0], [0.0, 1.0]])
    far = np.arange(8.0)[None]
    exact = resampled(far, matrix, fill, "linear")
    for shift in (1e-12, -1e-12):
        moved = matrix + np.array([[0, shift], [0, 0]])
        assert np.abs(resampled(far, moved, fill, "linear") - exact).max() < 1e-10


def test_a_shift_by_whole_pixels_rolls_where_it_wraps(tmp_path: Path) -> None:
    found = made(tmp_path, "[{shift: {height: 2, width: 1}}]", more="fill: wrap").train
    x = pictures(COUNT, (2, 6, 5))[0] / 255
    rolled = {(i, j): np.roll(x, (i, j), (1, 2)) for i in range(-2, 3) for j in range(-1, 2)}
    seen = set()
    for epoch in range(150):
        moved = image(found, epoch)
        (which,) = [key for key, each in rolled.items() if (each == moved).all()]
        seen.add(which)
    assert seen == set(rolled)


def steps_of(text: str) -> DataSection:
    return section(f"source: digits\naugment: {text}")


def test_a_quarter_turn_goes_against_the_clock() -> None:
    (step,) = steps_of("[{rotate: {degrees: 90}}]").augment
    matrix = combined([step], [np.array([1.0, 1.0])], (5, 5))
    x = np.random.default_rng(0).normal(size=(1, 5, 5))
    turned = resampled(x, matrix, Constant(), "linear")
    assert np.abs(turned[0] - np.rot90(x[0])).max() < 1e-12


def test_the_first_step_acts_first() -> None:
    turn, shift = steps_of("[{rotate: {degrees: 90}}, {shift: {width: 1}}]").augment
    most = np.full(2, 1 - 2.0**-53)
    x = np.random.default_rng(0).normal(size=(1, 5, 5))
    found = resampled(x, combined([turn, shift], [most, most], (5, 5)), Wrap(), "linear")
    assert np.abs(found[0] - np.roll(np.rot90(x[0]), 1, 1)).max() < 1e-12
    found = resampled(x, combined([shift, turn], [most, most], (5, 5)), Wrap(), "linear")
    assert np.abs(found[0] - np.rot90(np.roll(x[0], 1, 1))).max() < 1e-12


def test_one_resampling_is_exact_where_several_are_not() -> None:
    """Linear interpolation keeps planes, so that the whole matrix can be read off one."""
    steps = steps_of("[{rotate: {degrees: 20}}, {shear: {degrees: 9}}, {zoom: {range: [1, 2]}}]")
    drawn = [np.array([0.7, 0.9]), np.array([0.1, 0.2]), np.array([0.5, 0.5])]
    matrix = combined(steps.augment, drawn, (9, 9))
    rows, columns = np.mgrid[:9, :9]
    plane = (3.0 * rows - 2.0 * columns)[None]
    found = resampled(plane, matrix, Nearest(), "linear")[0]
    place_of = np.stack([rows, columns, np.ones_like(rows)], axis=-1) @ matrix.T
    inside = ((place_of[..., :2] >= 0) & (place_of[..., :2] <= 8)).all(axis=-1)
    assert inside.sum() > 30
    wanted = 3 * place_of[..., 0] - 2 * place_of[..., 1]
    assert np.abs(found - wanted)[inside].max() < 1e-12


def test_zoom_enlarges() -> None:
    (step,) = steps_of("[{zoom: {range: [2, 2]}}]").augment
    matrix = combined([step], [np.array([0.5, 0.5])], (5, 5))
    x = np.zeros((1, 5, 5))
    x[0, 2, 1:4] = 1
    assert resampled(x, matrix, Constant(), "linear")[0, 2].tolist() == [1, 1, 1, 1, 1]


def test_crops(tmp_path: Path) -> None:
    x = pictures(COUNT, (2, 6, 5)) / 255
    found = made(tmp_path, "[{crop: {size: [4, 3]}}]")
    assert found.train.shapes == {"input": (2, 4, 3)}
    assert (found.test.inputs["input"] == x[:, :, 1:5, 1:4]).all()
    windows = {(i, j): x[0, :, i : i + 4, j : j + 3] for i in range(3) for j in range(3)}
    seen = {
        key
        for epoch in range(100)
        for key, each in windows.items()
        if (each == image(found.train, epoch)).all()
    }
    assert seen == set(windows)
    grown = made(tmp_path, "[{rescale: {offset: 1}}, {crop: {size: 8, padding: 2}}]")
    padded = np.pad(x + 1, ((0, 0), (0, 0), (1, 1), (2, 2)))[..., :8]
    padded[..., 7] = 0
    assert (grown.test.inputs["input"] == padded).all()


def test_values(tmp_path: Path) -> None:
    x = pictures(COUNT, (2, 6, 5))[5] / 255
    found = made(tmp_path, "[{channel_shift: {by: 0.5}}]").train
    shifts = image(found, 2, 5) - x
    assert np.ptp(shifts, axis=(1, 2)).max() < 1e-15
    assert (np.abs(shifts) <= 0.5).all()
    assert shifts[0, 0, 0] != shifts[1, 0, 0]
    factor = image(made(tmp_path, "[{brightness: {by: 0.5}}]").train, 2, 5) / x
    assert np.ptp(factor) < 1e-15
    assert 0.5 <= factor[0, 0, 0] <= 1.5
    bent = image(made(tmp_path, "[{contrast: {by: 0.5}}]").train, 2, 5)
    assert bent.mean() == pytest.approx(x.mean(), rel=1e-14)
    ratio = (bent - bent.mean()) / (x - x.mean())
    assert np.ptp(ratio) < 1e-12
    assert 0.5 <= ratio[0, 0, 0] <= 1.5


def test_cutout(tmp_path: Path) -> None:
    found = made(tmp_path, "[{cutout: {size: 3, value: -1}}]", (1, 6, 5)).train
    sizes = set()
    for epoch in range(60):
        gone = image(found, epoch)[0] == -1
        rows, columns = np.flatnonzero(gone.any(axis=1)), np.flatnonzero(gone.any(axis=0))
        assert gone[np.ix_(rows, columns)].all()
        assert (np.diff(rows) == 1).all()
        sizes.add((len(rows), len(columns)))
    assert sizes == {(2, 2), (2, 3), (3, 2), (3, 3)}


def test_mixup(tmp_path: Path) -> None:
    found = made(tmp_path, "[flip, {mixup: {alpha: 0.4}}]").train
    assert found.mixes
    apart = made(tmp_path, "[flip]").train
    shares = []
    for number in range(COUNT):
        inputs, targets = found.take(np.array([number]), 4)
        own, share = uniforms(f"3/augment/4/{number}", 4)[2:]
        partner = int(own * COUNT)
        mixed, target = inputs["input"][0], targets["output"][0]
        from scipy import stats

        part = stats.beta.ppf(share, 0.4, 0.4)
        other = image(apart, 4, partner)
        wanted = part * image(apart, 4, number) + (1 - part) * other
        assert np.abs(mixed - wanted).max() < 1e-12
        assert target.sum() == pytest.approx(1, abs=1e-15)
        labels = np.zeros(4)
        labels[number % 4] += part
        labels[partner % 4] += 1 - part
        assert np.abs(target - labels).max() < 1e-12
        shares.append(part)
    assert min(shares) < 0.1
    assert max(shares) > 0.9
    _, untouched = found.take(slice(None))
    assert untouched["output"].dtype == np.int64


def test_two_inputs_move_together(tmp_path: Path) -> None:
    x = pictures(COUNT, (1, 6, 5))
    arrays = {"a": x, "b": 255 - x, "v": np.ones((COUNT, 3)), "y": np.zeros(COUNT, np.int64)}
    (tmp_path / "a.npz").write_bytes(npz_bytes(**arrays))
    text = (
        "source: {npz: {file: a.npz, test: a.npz, inputs: {left: a, right: b, more: v}, "
        "targets: y}}\naugment: [{rotate: {degrees: 30}}, flip, {crop: {size: 4, padding: 1}}]\n"
        "fill: nearest"
    )
    found = opened(text, tmp_path)
    inputs, _ = found.train.take(slice(None), 1)
    assert np.abs(inputs["left"] + inputs["right"] - 1).max() < 1e-14
    assert np.ptp(inputs["left"] - found.train.inputs["left"]) > 0.1
    assert (inputs["more"] == 1).all()


@pytest.mark.parametrize("shape", [(3, 9), (2, 4, 5, 6)])
def test_other_numbers_of_axes(tmp_path: Path, shape: tuple[int, ...]) -> None:
    steps = (
        "[{shift: {width: 1}}, {zoom: {range: [0.9, 1.1]}}, flip, {crop: {padding: 1}}, "
        "{cutout: {size: 2}}]"
    )
    found = made(tmp_path, steps, shape)
    assert image(found.train, 0).shape == shape
    assert (image(found.train, 0) != image(found.train, None)).any()


def test_a_volume_turns_slice_by_slice(tmp_path: Path) -> None:
    volume = made(tmp_path, "[{rotate: {degrees: 30}}]", (1, 3, 6, 5)).train
    turned = image(volume, 0)
    flat = pictures(COUNT, (1, 3, 6, 5))[:, 0] / 255
    drawn = uniforms("3/augment/0/0", 3)
    (step,) = steps_of("[{rotate: {degrees: 30}}]").augment
    matrix = combined([step], [drawn[-2:]], (6, 5))
    assert np.abs(turned[0] - resampled(flat[0], matrix, Constant(), "linear")).max() < 1e-12


# --- a function of seed, epoch and number --------------------------------------------------------


def test_batches_do_not_matter(tmp_path: Path) -> None:
    found = made(tmp_path, EVERYTHING).train
    whole, targets = found.take(slice(None), 5)
    for number in range(COUNT):
        inputs, target = found.take(np.array([number]), 5)
        assert (inputs["input"][0] == whole["input"][number]).all()
        assert (target["output"][0] == targets["output"][number]).all()
    other, _ = found.take(slice(None), 6)
    assert all((a != b).any() for a, b in zip(whole["input"], other["input"], strict=True))


def test_what_one_step_is_given_changes_no_other(tmp_path: Path) -> None:
    a = made(tmp_path, "[{rotate: {degrees: 0}}, {brightness: {by: 0.5}}]").train
    b = made(tmp_path, "[{shear: {degrees: 0}}, {brightness: {by: 0.5}}]").train
    assert (image(a, 1) == image(b, 1)).all()


def test_the_stream_of_a_sample() -> None:
    """Seed 0, epoch 2, sample 7: the upper 53 bits of Philox words under their name."""
    assert uniforms("0/augment/2/7", 3).tolist() == [
        0.16375248787675611,
        0.8400708363856683,
        0.017155832745625377,
    ]


@given(st.integers(0, 2**62), st.integers(0, 1000), st.integers(0, 10**9))
def test_uniforms(seed: int, epoch: int, number: int) -> None:
    found = uniforms(f"{seed}/augment/{epoch}/{number}", 5)
    assert ((found >= 0) & (found < 1)).all()
    assert (found == uniforms(f"{seed}/augment/{epoch}/{number}", 9)[:5]).all()


def test_pinned_pixels(tmp_path: Path) -> None:
    """A spec of one release sees the same pixels in the next."""
    found = made(tmp_path, EVERYTHING).train
    inputs, targets = found.take(np.array([0, 7]), 3)
    x = inputs["input"]
    told = [x.sum(), x[0, 0, 2, 3], x[1, 1, 5, 0], x[1, 0, 1, 4], *targets["output"][1]]
    assert (
        np.abs(
            np.array(told)
            - [
                -94.4408057052091,
                -0.47739666919783463,
                -0.17334793794485462,
                -2.0482852911752665,
                0.0,
                0.0,
                0.7737027034487383,
                0.2262972965512617,
            ]
        ).max()
        < 1e-12
    )


# --- what does not fit ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("steps", "shape", "code", "said"),
    [
        ("[{rotate: {degrees: 3}}]", (3, 9), "augment-axes", "`rotate` needs 2 axes of space"),
        ("[flip]", (9,), "augment-axes", "`flip` needs 1 axis of space"),
        ("[{shift: {height: 2}}]", (3, 9), "augment-axes", "goes along the height"),
        ("[{flip: {depth: true}}]", (3, 9, 9), "augment-axes", "goes along the depth"),
        ("[{cutout: {size: [2, 2]}}]", (3, 9), "augment-axes", "`size` of `cutout` has 2 entries"),
        ("[{crop: {padding: [2]}}]", (3, 9, 9), "augment-axes", "`padding` of `crop` has 1"),
        ("[{crop: {size: [9, 11]}}]", (3, 9, 9), "crop-too-large", "cuts 9x11 out of `input`"),
        ("[{crop: {size: 12, padding: 1}}]", (3, 9, 9), "crop-too-large", "and has 11 pixels"),
        ("[{normalize: {mean: [1, 2], std: [1, 2]}}]", (3, 9), "channel-count", "2 numbers"),
    ],
)
def test_steps_that_do_not_fit(
    tmp_path: Path, steps: str, shape: tuple[int, ...], code: str, said: str
) -> None:
    found = fault(tmp_path, steps, shape)
    assert found.code == code
    assert said in found.message


def test_targets_that_would_stay(tmp_path: Path) -> None:
    masks = np.zeros((COUNT, 6, 5), np.int64)
    assert fault(tmp_path, "[flip]", y_train=masks).code == "augment-targets"
    assert fault(tmp_path, "[{mixup: {alpha: 1}}]", y_train=masks).code == "augment-targets"
    assert fault(tmp_path, "[flip]", y_train=masks[:, None] * 1.0).code == "augment-targets"
    assert made(tmp_path, "[{brightness: {by: 0.1}}]", y_train=masks)


def test_a_constant_channel(tmp_path: Path) -> None:
    x = pictures(COUNT, (2, 6, 5))
    x[:, 1] = 51
    found = fault(tmp_path, "[normalize]", x_train=x)
    assert found.code == "channel-constant"
    assert "channel 1 of `input` is 0.2 throughout" in found.message


# --- statistics ----------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["u1", "f8"])
def test_statistics(tmp_path: Path, dtype: str) -> None:
    x = pictures(COUNT, (2, 6, 5)).astype(dtype)
    steps = "[{rescale: {scale: 3, offset: 1}}]"
    found = made(tmp_path, steps, x_train=x, more="normalize: per_channel")
    values = 3 * (x / 255 if dtype == "u1" else x) + 1
    told = found.statistics["input"]
    assert np.abs(np.array(told.mean) - values.mean(axis=(0, 2, 3))).max() < 1e-12
    assert np.abs(np.array(told.std) / values.std(axis=(0, 2, 3)) - 1).max() < 1e-12
    done = found.train.inputs["input"]
    assert np.abs(done.mean(axis=(0, 2, 3))).max() < 1e-12
    assert np.abs(done.std(axis=(0, 2, 3)) - 1).max() < 1e-12


def test_statistics_are_given_back(tmp_path: Path) -> None:
    made(tmp_path, "[]")
    text = "source: {npz: {file: a.npz, test: a.npz}}\nnormalize: per_channel"
    known = {"input": data.Statistics((0.5, 0.25), (2.0, 4.0))}
    found = data.open(section(text), folder=tmp_path, statistics=known)
    x = pictures(COUNT, (2, 6, 5)) / 255
    mean, std = (np.reshape(v, (2, 1, 1)) for v in (known["input"].mean, known["input"].std))
    assert (found.test.inputs["input"] == (x - mean) / std).all()
    assert found.statistics == known
    with pytest.raises(DataError) as caught:
        data.open(section(text), folder=tmp_path, statistics={})
    assert caught.value.diagnostics[0].code == "channel-count"


# --- in a network --------------------------------------------------------------------------------

NET = """\
cnnspec: 1
input: [2, 6, 5]
layers: [flatten, {dense: {units: 4}}]
train: {loss: cross_entropy, optimizer: {sgd: {lr: 0.1}}, batch: 4}
"""


@pytest.mark.parametrize("loss", ["cross_entropy", "multi_margin"])
def test_mixup_needs_probabilities(tmp_path: Path, loss: str) -> None:
    found = made(tmp_path, "[{mixup: {alpha: 0.2}}]")
    with pytest.raises(DataError) as caught:
        data.fit(found, cnnspec.load(NET.replace("cross_entropy", loss)))
    (told,) = caught.value.diagnostics
    assert told.code == "mixup-needs-probabilities"
    assert told.help == "`cross_entropy: {targets: probabilities}`"


@pytest.mark.parametrize("backend", ["torch", "keras"])
def test_curves_are_equal_with_augmentation(tmp_path: Path, backend: str) -> None:
    from cnnspec.train import train

    steps = EVERYTHING.replace(", {mixup: {alpha: 0.4}}", "")
    found = made(tmp_path, steps)
    graph = cnnspec.load(NET)
    one, other = (train(graph, name, found, epochs=2).history for name in ("numpy", backend))
    for a, b in zip(one, other, strict=True):
        assert abs(a.train_loss - b.train_loss) <= 1e-9
