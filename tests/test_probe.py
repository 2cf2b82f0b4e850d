"""Ties and kinks, which random numbers never meet."""

from __future__ import annotations

import pytest

from cnnspec.api import read
from cnnspec.backends import Emitted, Style, get
from cnnspec.check import check
from cnnspec.graph import Graph
from tests.test_check import relocate

SPEC = """\
cnnspec: 1
name: net
input: [3, 9, 10]
layers:
  - conv: {filters: 4, kernel: 3}
  - relu
  - max_pool: {name: pool, kernel: 3, stride: 2, padding: same}
  - hard_swish
  - prelu
  - max_pool: {name: again, kernel: 2}
  - leaky_relu: {name: left, slope: 0.2}
  - conv: {from: again, filters: 4, kernel: 1}
  - elu: {name: right, alpha: 0.5}
  - maximum: {from: [left, right]}
  - flatten
  - dense: {units: 2}
"""

DECIDING = {"relu1", "pool", "hard_swish1", "prelu1", "again", "left", "right", "maximum1"}


def test_every_layer_that_decides_is_probed() -> None:
    report = check(read(SPEC).graph, backends=("numpy", "torch", "keras"), in_process=True)
    assert report
    probed = [c for c in report.specs[0].comparisons if c.mode == "probe"]
    assert {c.node for c in probed} == DECIDING
    assert {c.quantity for c in probed} == {"forward", "input_gradient", "parameter_gradient"}
    assert all(c.judged and c.dtype == "float64" for c in probed)


@pytest.mark.parametrize(
    ("backend", "old", "new", "node"),
    [
        ("numpy", "g: np.where(x > 0, g, slope * g)", "g: np.where(x >= 0, g, slope * g)", "left"),
        (
            "numpy",
            "lambda g: g * (y > 0)",
            "lambda g: g * (x >= 0)",
            "relu1",
        ),
        ("torch", "F.relu(", "torch.clamp(min=0, input=", "relu1"),
        (
            "torch",
            "torch.where(other > x, other, x)",
            "torch.where(other >= x, other, x)",
            "maximum1",
        ),
        (
            "keras",
            'layers.ReLU(name="relu1")(x)',
            'layers.Lambda(lambda x: ops.maximum(x, 0), name="relu1")(x)',
            "relu1",
        ),
    ],
)
def test_what_only_shows_at_a_tie_or_a_kink_is_found(
    monkeypatch: pytest.MonkeyPatch, backend: str, old: str, new: str, node: str
) -> None:
    emit = get(backend).emit

    def altered(graph: Graph, style: Style = Style()) -> Emitted:
        emitted = emit(graph, style)
        assert old in emitted.text, emitted.text
        return relocate(emitted, emitted.text.replace(old, new))

    monkeypatch.setattr(get(backend), "emit", altered)
    pair = ("numpy", "torch") if backend == "numpy" else ("numpy", backend)
    (found,) = check(read(SPEC).graph, backends=pair, in_process=True, dtype="float64").specs
    assert found.first_difference is not None
    comparison = found.first_difference.comparison
    assert (found.first_difference.node, comparison.mode) == (node, "probe")
    assert comparison.quantity == "input_gradient"
