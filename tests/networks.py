"""Networks that several tests emit, and what they are run on."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from cnnspec.backends import BUILT_IN
from cnnspec.backends.base import Style
from cnnspec.build import build
from cnnspec.check import samples
from cnnspec.document import parse, read
from cnnspec.graph import Graph
from cnnspec.schema import read_spec

ROOT = Path(__file__).parents[1]
GOLDEN = ROOT / "tests" / "golden"
SPECS = {
    path.stem: path for folder in (ROOT / "specs", GOLDEN) for path in sorted(folder.glob("*.yaml"))
}
BACKENDS = tuple(BUILT_IN)
STYLES = {"plain": Style(), "reproducible": Style(random="counter")}

Arrays = dict[str, npt.NDArray[Any]]


@cache
def graph_of(path: Path) -> Graph:
    """The network of a spec file."""
    return build(read_spec(read(path))).graph


def graph(text: str) -> Graph:
    """The network of a spec."""
    return build(read_spec(parse(text, "spec.yaml"))).graph


def layers(*lines: str, input: str = "[3, 9, 8]", rest: str = "") -> Graph:
    """A network of these layers, one line each."""
    listed = "".join(f"  - {line}\n" for line in lines)
    return graph(f"cnnspec: 1\nname: net\ninput: {input}\nlayers:\n{listed}{rest}")


def data(network: Graph, size: int = 3) -> tuple[Arrays, Arrays, Arrays]:
    """Weights that are nowhere constant, inputs, and targets."""
    weights = samples.weights(network, 0)
    inputs = dict(samples.sample(network, 0, 0, size).inputs)
    return weights, inputs, samples.targets(network, 0, 0, size)


def distance(a: npt.NDArray[Any], b: npt.NDArray[Any]) -> float:
    """Largest difference over largest magnitude."""
    assert a.shape == b.shape
    scale = float(np.abs(a).max(initial=0.0))
    return float(np.abs(a - b).max(initial=0.0)) / (scale or 1.0)
