from __future__ import annotations

import itertools
import math
from collections.abc import Iterator

import pytest

from cnnspec.ops.conv import Conv
from cnnspec.ops.pool import MaxPool
from cnnspec.window import Window, output_size, resolve_pads, same_size, with_ceil

# n, kernel, stride, dilation, before, after
Case = tuple[int, int, int, int, int, int]


def cases() -> Iterator[Case]:
    yield from itertools.product(
        range(1, 8), range(1, 5), range(1, 5), range(1, 4), range(4), range(4)
    )


def window(case: Case) -> tuple[Window, tuple[int, ...]]:
    n, k, s, d, before, after = case
    return Window((k,), (s,), (d,), ((before, after),)), (n,)


def slide(case: Case) -> list[list[int]]:
    """The elements that each window reads, counted from the first real one; by sliding it."""
    n, k, s, d, before, after = case
    found = []
    start = -before
    while start + (k - 1) * d <= n + after - 1:
        found.append([start + tap * d for tap in range(k)])
        start += s
    return found


def test_output_size_is_what_sliding_gives() -> None:
    for case in cases():
        w, size = window(case)
        assert max(0, *w.output(size)) == len(slide(case)), case


def test_unread_is_what_sliding_leaves() -> None:
    for case in cases():
        windows = slide(case)
        if not windows:
            continue
        w, (n,) = window(case)
        # What lies between taps or windows is skipped on purpose: only the end counts.
        last = max(itertools.chain(*windows))
        assert w.unread((n,)) == (max(0, n - 1 - last),), case


def test_empty_is_what_sliding_finds() -> None:
    for case in cases():
        windows = slide(case)
        if not windows:
            continue
        w, (n,) = window(case)
        empty = any(all(not 0 <= i < n for i in read) for read in windows)
        assert (w.empty((n,)) == 0) == empty, case


def test_empty_names_the_axis() -> None:
    w = Window((3, 2), (1, 1), (1, 1), ((1, 1), (2, 0)))
    assert w.empty((5, 5)) == 1
    assert Window((3, 3), (1, 1), (1, 1), ((1, 1), (1, 1))).empty((5, 5)) is None


def test_empty_is_quick_for_very_many_windows() -> None:
    n, d = 999_999, 1_000_000
    assert Window((2,), (1,), (d,), ((d, d),)).empty((n,)) == 0
    assert Window((2,), (2,), (d,), ((d, d),)).empty((n,)) is None  # never at an odd place


def test_same_is_the_size_divided_rounded_up() -> None:
    for n, k, s, d in itertools.product(range(1, 9), range(1, 6), range(1, 5), range(1, 4)):
        extent = (k - 1) * d + 1
        ((before, after),) = resolve_pads("same", (n,), (k,), (s,), (d,))
        ((lower_before, lower_after),) = resolve_pads("same_lower", (n,), (k,), (s,), (d,))
        assert same_size(n, s) == math.ceil(n / s)
        assert output_size(n, extent, s, before, after) == math.ceil(n / s)
        assert (before, after) == (lower_after, lower_before)
        assert after - before in (0, 1)


@pytest.mark.parametrize(
    ("padding", "pads"),
    [
        ("valid", ((0, 0), (0, 0))),
        ("full", ((4, 4), (1, 1))),
        ("same", ((2, 2), (0, 1))),
        ("same_lower", ((2, 2), (1, 0))),
        (3, ((3, 3), (3, 3))),
        ((0, 3), ((0, 0), (3, 3))),
        (((0, 1), (2, 3)), ((0, 1), (2, 3))),
    ],
)
def test_every_form_of_padding(padding: object, pads: tuple[tuple[int, int], ...]) -> None:
    found = resolve_pads(padding, (9, 9), (3, 2), (1, 1), (2, 1))  # type: ignore[arg-type]
    assert found == pads


def test_causal_sees_nothing_later() -> None:
    for k, d in itertools.product(range(1, 5), range(1, 4)):
        pads = resolve_pads("causal", (9,), (k,), (1,), (d,))
        case = (9, k, 1, d, *pads[0])
        assert [max(read) for read in slide(case)] == list(range(9))


def test_unknown_padding_is_a_bug() -> None:
    with pytest.raises(ValueError, match="unknown padding"):
        resolve_pads("sam", (9,), (3,), (1,), (1,))


def test_symmetric() -> None:
    assert Window((3,), (1,), (1,), ((1, 1),)).symmetric
    assert not Window((3,), (1,), (1,), ((0, 1),)).symmetric


def test_ceil_mode_is_that_of_torch() -> None:
    torch = pytest.importorskip("torch")
    compared = 0
    for n, k, s, d, p in itertools.product(
        range(1, 8), range(1, 5), range(1, 5), range(1, 4), range(3)
    ):
        if p > k // 2:  # torch allows no more
            continue
        pads = with_ceil(((p, p),), (n,), (k,), (s,), (d,))
        found = Window((k,), (s,), (d,), pads).output((n,))
        x = torch.arange(1.0, n + 1).reshape(1, 1, n)
        try:
            y = torch.nn.functional.max_pool1d(x, k, s, p, d, ceil_mode=True)
        except RuntimeError:
            assert found[0] < 1, (n, k, s, d, p)
            continue
        assert (y.shape[-1],) == found, (n, k, s, d, p)
        compared += 1
    assert compared > 500


def test_formula_of_the_lecture_notes() -> None:
    def size(n: int, kernel: int, stride: int, padding: object) -> int:
        op = Conv(filters=1, kernel=kernel, stride=stride, padding=padding)  # type: ignore[arg-type]
        return op.infer((1, n, n)).shape[1]

    assert size(28, 5, 1, "valid") == 24  # not 25, not 23
    assert size(224, 11, 4, "same") == 56  # not 55
    assert size(224, 11, 4, 2) == 55
    assert size(227, 11, 4, "valid") == 55
    for kernel, stride, padding, n in ((3, 1, 1, 32), (5, 1, 2, 32), (1, 1, 0, 32)):
        assert size(n, kernel, stride, padding) == n


def test_toy_image_pools_the_last_odd_row() -> None:
    assert MaxPool(kernel=2, ceil_mode=True).infer((1, 7, 7)).shape == (1, 4, 4)
    assert MaxPool(kernel=2).infer((1, 7, 7)).shape == (1, 3, 3)
