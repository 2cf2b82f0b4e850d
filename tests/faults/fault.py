"""One planted fault, and what `check` says of it at its default settings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from cnnspec.backends.base import Emitted
from cnnspec.build import build
from cnnspec.check.api import check_graph
from cnnspec.check.engines import Engine
from cnnspec.check.options import Options, SpecReport
from cnnspec.check.selftest.edit import edited, replaced
from cnnspec.document import parse
from cnnspec.graph import Graph
from cnnspec.schema import read_spec

NUMPY, TORCH, KERAS = "numpy", "torch", "keras"
STEPS = ""
"""In the place of a layer: training goes wrong, which is no layer's fault."""


@dataclass(frozen=True)
class Fault:
    """A piece of a back end's text, and what stands there instead.

    Attributes:
        trap: what is wrong, in a few words; no two faults of a back end share them.
        backend: whose text it is.
        layers: of the spec, as a YAML list, or the whole of it from `input:` on.
        old: what the back end writes; exactly `count` times.
        new: what is planted.
        layer: that has to be named; `STEPS` for what belongs to no layer.
        quantity: that has to be named, where there is but one right answer; of steps which
            tensor, where it starts with a dot.
        count: how often `old` stands in the text, all of which is replaced.
        train: the section of that name, if the spec has one.
    """

    trap: str
    backend: str
    layers: str
    old: str
    new: str
    layer: str
    quantity: str = ""
    count: int = 1
    train: str = ""

    @property
    def id(self) -> str:
        """As tests are called."""
        return f"{self.backend}: {self.trap}"

    def graph(self) -> Graph:
        """The network."""
        body = (
            self.layers if "input:" in self.layers else f"input: [2, 9, 8]\nlayers:\n{self.layers}"
        )
        text = f"cnnspec: 1\nname: net\n{body.rstrip()}\n{self.train}"
        return build(read_spec(parse(text, "fault.yaml"))).graph

    def plant(self, emitted: Emitted) -> Emitted:
        """The text with the fault in it."""
        return edited(emitted, replaced(emitted.text, self.old, self.new, self.count))

    def check(self, engines: Mapping[str, Engine]) -> SpecReport:
        """What `check` finds, by default."""
        others = [name for name in engines if name == self.backend] or [TORCH]
        options = Options(backends=(NUMPY, *others), planted={self.backend: self.plant})
        return check_graph(self.graph(), "fault.yaml", options, engines)

    def named(self, report: SpecReport) -> str:
        """What the report names first: layer, quantity, tensor."""
        found = report.first_difference
        if found is None:
            return ""
        c = found.comparison
        return f"`{found.node}` {c.quantity} {c.name}"

    def named_right(self, report: SpecReport) -> bool:
        """Whether it is the layer, and the quantity where one is stated."""
        found = report.first_difference
        if found is None:
            return False
        c = found.comparison
        if self.layer == STEPS:
            return c.quantity == "step" and self.quantity in ("", f".{c.name}")
        return (
            c.quantity != "step" and found.node == self.layer and self.quantity in ("", c.quantity)
        )
