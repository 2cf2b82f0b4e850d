"""Final activations inside of blocks: losses read what goes into them, whatever holds them."""

from __future__ import annotations

import pytest

import cnnspec

TAIL = "train: {loss: %s, optimizer: {sgd: {lr: 0.1}}}\n"
BLOCK = """\
cnnspec: 1
input: [4]
define:
  head:
    layers: [{dense: {name: fc, units: 3}}, softmax]
layers:
"""
NESTED = """\
cnnspec: 1
input: [2, 6, 6]
define:
  inner:
    layers: [{dense: {name: fc, units: 3}}, softmax]
  head:
    parameters: {units: 4}
    layers: [flatten, {dense: {name: hidden, units: $units}}, relu, {inner: {name: end}}]
  whole:
    outputs: {main: main, aux: aux}
    layers:
      - conv: {name: c, filters: 3, kernel: 3}
      - head: {name: main}
      - head: {name: aux, from: c, units: 5}
layers:
  - whole: {name: net}
outputs: {main: net.main, aux: net.aux}
"""
SPECS = {
    "block": BLOCK + "- tanh\n- head\n" + TAIL % "cross_entropy",
    "twice": BLOCK + "- head\n- tanh\n- dense: {units: 4}\n- head\n" + TAIL % "cross_entropy",
    "in a sequence": BLOCK
    + "- sequence: {name: s, layers: [tanh, head]}\n"
    + TAIL % "cross_entropy",
    "nested": NESTED + TAIL % "{main: cross_entropy, aux: {kl_divergence: {weight: 0.3}}}",
}


@pytest.mark.parametrize("name", SPECS)
def test_back_ends_agree(name: str) -> None:
    graph = cnnspec.load(SPECS[name])
    report = cnnspec.check(graph, dtype="float64", steps=2, in_process=True)
    assert report.status == "agree"


def test_the_block_has_no_activation_of_its_own() -> None:
    text = cnnspec.emit(cnnspec.load(SPECS["block"]), "torch").text
    assert "        x = self.head1(x)\n        return x\n" in text
    assert "return F.softmax(self.logits(x), dim=1)" in text
