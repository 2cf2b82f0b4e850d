"""What `check` proves, and what it says when a proof fails."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cnnspec.backends import Emitted, Style, get
from cnnspec.build import build
from cnnspec.check import SpecReport, check
from cnnspec.check import engines as engines_module
from cnnspec.check.command import command
from cnnspec.check.compare import severity
from cnnspec.check.engines import Child, EngineFailed
from cnnspec.check.formats.document import to_json
from cnnspec.check.report import largest_relative, to_text
from cnnspec.diagnostics import SetupError
from cnnspec.document import parse
from cnnspec.graph import Graph
from cnnspec.quantities import MODES
from cnnspec.schema import read_spec
from tests.night import at_night

SPEC = """\
cnnspec: 1
name: small
input: [2, 9, 8]
layers:
  - conv: {name: conv1, filters: 4, kernel: 3, padding: same, bias: false}
  - batch_norm: {name: bn1}
  - relu
  - max_pool: {kernel: 3, stride: 2, padding: 1}
  - conv: {name: conv2, filters: 5, kernel: [2, 3], stride: 2, padding: same}
  - leaky_relu
  - avg_pool: {name: mean, kernel: 2, stride: 1, padding: 1}
  - dropout: {p: 0.4}
  - flatten
  - dense: {name: fc, units: 6}
  - softmax
train:
  loss: cross_entropy
  optimizer: {adam: {lr: 0.01}}
  schedule: {exponential: {gamma: 0.5}}
  epochs: 4
"""


def graph_of(text: str = SPEC) -> Graph:
    return build(read_spec(parse(text, "small.yaml"))).graph


def only(report: Any) -> SpecReport:
    (found,) = report.specs
    assert isinstance(found, SpecReport)
    return found


def test_agreement_is_far_below_what_a_fault_would_give() -> None:
    report = check(graph_of(), backends=("numpy", "torch"), in_process=True)
    assert report
    found = only(report)
    assert largest_relative(found.comparisons) < 1e-13
    kinds = {(c.quantity, c.mode) for c in found.comparisons if c.dtype == "float64"}
    assert kinds == {
        ("initializer", "initial"),
        ("forward", "probe"),
        ("input_gradient", "probe"),
        ("forward", "isolated"),
        ("forward", "end_to_end"),
        ("input_gradient", "isolated"),
        ("input_gradient", "end_to_end"),
        ("parameter_gradient", "isolated"),
        ("parameter_gradient", "end_to_end"),
        ("running_statistics", "isolated"),
        ("running_statistics", "end_to_end"),
        ("step", "end_to_end"),
        ("forward", "after_training"),
    }
    assert {c.training for c in found.comparisons} == {True, False}
    assert any(c.dtype == "float32" and c.reference_error is not None for c in found.comparisons)


FAULTS = [
    # back end, what it writes, what it writes instead, the layer, its line in the spec
    ("torch", "nn.BatchNorm2d(4)", "nn.BatchNorm2d(4, eps=0.001)", "bn1", 6),
    ("torch", "nn.BatchNorm2d(4)", "nn.BatchNorm2d(4, momentum=0.2)", "bn1", 6),
    ("torch", "F.leaky_relu(x, 0.01)", "F.leaky_relu(x, 0.010000000001)", "leaky_relu1", 10),
    (  # this layer has no modes of its own, and is judged alone in inference
        "torch",
        "F.leaky_relu(x, 0.01)",
        "F.leaky_relu(x, 0.02 if self.training else 0.01)",
        "leaky_relu1",
        10,
    ),
    ("torch", "F.max_pool2d(x, 3,", "F.avg_pool2d(x, 3,", "max_pool1", 8),
    ("torch", ", count_include_pad=False", "", "mean", 11),
    (
        "torch",
        "F.softmax(self.logits(x), dim=1)",
        "F.softmax(self.logits(x) * 1.0000001, 1)",
        "softmax1",
        15,
    ),
    ("torch", "(1 / (1 - self.p))", "(1 / self.p)", "dropout1", 12),
    ("torch", "self.p * 2**32", "self.p * 2**31", "dropout1", 12),
    ("torch", "pads=(0, 1, 0, 1)", "pads=(1, 0, 0, 1)", "conv2", 9),
    ("torch", "betas=(0.9, 0.999)", "betas=(0.9, 0.99)", None, None),
    ("torch", "eps=1e-08", "eps=1e-07", None, None),
    ("torch", "0.01 * 0.5 **", "0.01 * 0.4 **", None, None),
    ("torch", 'reduction="sum"), targets.numel()', 'reduction="sum"), 11', None, None),
    ("numpy", "np.where(x > 0, g, slope * g)", "np.where(x > 0, g, 0.1 * g)", "leaky_relu1", 10),
    ("numpy", "return y, keeping(lambda g: g * (y > 0))", "return y, lambda g: g", "relu1", 7),
    ("keras", "momentum=0.9", "momentum=0.1", "bn1", 6),
    ("keras", "epsilon=1e-05", "epsilon=1e-03", "bn1", 6),
]


def relocate(made: Emitted, text: str) -> Emitted:
    """The same places in altered text: an edit on one line moves what stands behind it there."""
    before, after = made.text.splitlines(), text.splitlines()
    assert len(before) == len(after)

    def column(line: int, position: int) -> int:
        old, new = before[line - 1], after[line - 1]
        if old == new:
            return position
        same = next(i for i, (a, b) in enumerate(zip(old, new, strict=False)) if a != b)
        return position if position <= same else position + len(new) - len(old)

    def move(part: Any) -> Any:
        return dataclasses.replace(
            part,
            column=column(part.line, part.column),
            end_column=column(part.end_line, part.end_column),
        )

    lines = {
        node: dataclasses.replace(
            place, range=move(place.range), inputs=tuple(move(part) for part in place.inputs)
        )
        for node, place in made.lines.items()
    }
    return dataclasses.replace(made, text=text, lines=lines)


@pytest.mark.parametrize(
    ("backend", "old", "new", "node", "line"), at_night(FAULTS, FAULTS[::3].__contains__)
)
def test_a_planted_fault_is_found_and_named(
    monkeypatch: pytest.MonkeyPatch,
    backend: str,
    old: str,
    new: str,
    node: str | None,
    line: int | None,
) -> None:
    made = get(backend)
    emit = made.emit

    def altered(graph: Graph, style: Style = Style()) -> Emitted:
        emitted = emit(graph, style)
        assert old in emitted.text
        return relocate(emitted, emitted.text.replace(old, new))

    monkeypatch.setattr(made, "emit", altered)
    pair = ("numpy", "torch") if backend == "numpy" else ("numpy", backend)
    found = only(check(graph_of(), backends=pair, in_process=True, dtype="float64"))
    assert found.status == "disagree"
    assert found.first_difference is not None
    if node is not None:
        assert (found.first_difference.node, found.first_difference.line) == (node, line)
    else:
        assert found.first_difference.comparison.quantity == "step"


def test_the_json_report_has_what_is_promised() -> None:
    report = check(graph_of(), backends=("numpy", "torch"), in_process=True, dtype="float64")
    document = json.loads(to_json(report))
    assert document["status"] == "agree"
    (spec,) = document["specs"]
    assert spec["agree"] is True
    assert spec["first_difference"] is None
    for found in spec["comparisons"]:
        promised = "backends quantity mode dtype training node max_error bound worst"
        assert set(promised.split()) <= set(found)
        assert found["mode"] in MODES
        assert found["max_error"] <= found["bound"] or not found["judged"] or found["worst"]


def test_a_spec_without_train_says_what_it_was_checked_with() -> None:
    text = SPEC.partition("train:")[0]
    found = only(
        check(graph_of(text), backends=("numpy", "torch"), in_process=True, dtype="float64")
    )
    assert found.agree
    assert any("mean squared error" in note for note in found.notes)
    assert any(c.quantity == "step" for c in found.comparisons)


def test_a_bias_in_front_of_a_norm_is_reported_and_not_judged_after_adaptive_steps() -> None:
    text = SPEC.replace("padding: same, bias: false", "padding: same")
    found = only(
        check(graph_of(text), backends=("numpy", "torch"), in_process=True, dtype="float64")
    )
    assert found.agree
    left_out = {c.name for c in found.comparisons if not c.judged}
    assert left_out == {"conv1.bias", "bn1.running_mean"}
    assert any("conv1.bias" in note for note in found.notes)


def test_nothing_compared_is_never_green() -> None:
    with pytest.raises(SetupError, match="at least two"):
        check(graph_of(), backends=("numpy",))
    with pytest.raises(SetupError, match="twice"):
        check(graph_of(), backends=("numpy", "torch", "torch"))
    with pytest.raises(SetupError, match="no spec"):
        check(backends=("numpy", "torch"))
    with pytest.raises(SetupError, match="no backend"):
        check(graph_of(), backends=("numpy", "pytorch"))


def test_a_network_whose_training_diverges_is_not_accused() -> None:
    text = SPEC.partition("train:")[0] + (
        "train: {loss: mean_squared_error, optimizer: {sgd: {lr: 1.0e+150, momentum: 0.9}}}\n"
    )
    found = only(
        check(graph_of(text), backends=("numpy", "torch"), in_process=True, dtype="float64")
    )
    assert found.agree
    assert any("diverges" in note for note in found.notes)


def test_engines_in_their_own_processes_agree_too() -> None:
    report = check(graph_of(), backends=("numpy", "torch"), dtype="float64", steps=1)
    assert only(report).agree


def test_a_crash_is_that_engines_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    made = get("torch")
    emit = made.emit

    def crashing(graph: Graph, style: Style = Style()) -> Emitted:
        emitted = emit(graph, style)
        text = emitted.text.replace("super().__init__()", "torch.ops.load_library('x')", 1)
        return dataclasses.replace(emitted, text=text)

    monkeypatch.setattr(made, "emit", crashing)
    found = only(check(graph_of(), backends=("numpy", "torch"), dtype="float64", steps=1))
    assert found.status == "engine_failed"
    assert found.diagnostics[0].code == "engine-failed"


def test_a_dead_child_is_reported_and_can_be_revived() -> None:
    child = Child("torch")
    try:
        child._process.kill()
        with pytest.raises(EngineFailed, match="killed"):
            child.submit("close", key="none").result()
        child.revive()
        with pytest.raises(EngineFailed, match="KeyError"):
            child.submit("close", key="none").result()
    finally:
        child.close()


def test_an_engine_that_hangs_is_stopped() -> None:
    child = Child("torch", timeout=0.05)
    try:
        with pytest.raises(EngineFailed, match="no answer"):
            # Importing the framework takes longer than that.
            child.submit("open", key="k", backend="torch", emitted=None, dtype="float64").result()
    finally:
        child.close()
    assert child._process.poll() is not None


def run_command(tmp_path: Path, **options: Any) -> tuple[int, list[str]]:
    spec = tmp_path / "small.yaml"
    if not spec.exists():
        spec.write_text(SPEC)
    said: list[str] = []
    given: dict[str, Any] = {
        "backends": ("numpy", "torch"),
        "form": "text",
        "dtype": "float64",
        "seed": None,
        "steps": 2,
        "inputs": None,
        "save": None,
        "sources": (),
        "in_process": True,
        "out": said.append,
        "say": said.append,
        **options,
    }
    return command([str(spec)], **given), said


def test_saved_results_are_those_of_the_compiled_file(tmp_path: Path) -> None:
    status, _ = run_command(tmp_path, save=str(tmp_path / "out"))
    assert status == 0
    from safetensors.numpy import load_file

    weights = load_file(tmp_path / "out" / "weights.safetensors")
    inputs = np.load(tmp_path / "out" / "inputs.npz")
    outputs = np.load(tmp_path / "out" / "outputs.npz")
    session = get("torch").open(get("torch").emit(graph_of()))
    session.assign(weights)
    made = session.forward({"input": inputs["input"]})
    assert np.max(np.abs(made["output"] - outputs["output"])) < 1e-12
    with pytest.raises(SetupError, match="exists"):
        run_command(tmp_path, save=str(tmp_path / "out"))
    again, _ = run_command(tmp_path, inputs=str(tmp_path / "out" / "inputs.npz"))
    assert again == 0


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"other": np.zeros((3, 2, 9, 8))}, "no `input`"),
        ({"input": np.zeros((3, 2, 8, 9))}, "shape 3x2x8x9"),
        ({"input": np.full((3, 2, 9, 8), np.nan)}, "not finite"),
        ({"input": np.zeros((3, 2, 9, 8), dtype="U1")}, "dtype"),
        ({"input": np.zeros((3, 2, 9, 8)), "more": np.zeros(1)}, "no input `more`"),
    ],
)
def test_wrong_inputs_are_named(tmp_path: Path, arrays: dict[str, Any], message: str) -> None:
    np.savez(tmp_path / "in.npz", **arrays)
    status, said = run_command(tmp_path, inputs=str(tmp_path / "in.npz"))
    assert status == 1
    assert message in "\n".join(said)
    assert "the data are wrong" in said[0]


def test_a_broken_inputs_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "in.npz").write_bytes(b"PK\x03\x04 nonsense")
    status, said = run_command(tmp_path, inputs=str(tmp_path / "in.npz"))
    assert status == 1
    assert "is no .npz file" in "\n".join(said)


def compiled(tmp_path: Path, text: str = SPEC, old: str = "", new: str = "") -> Path:
    emitted = get("torch").emit(graph_of(text))
    assert old in emitted.text
    file = tmp_path / "mine.py"
    file.write_text(emitted.text.replace(old, new) if old else emitted.text)
    return file


def test_a_compiled_file_agrees_as_a_source_of_its_own(tmp_path: Path) -> None:
    file = compiled(tmp_path)
    status, said = run_command(tmp_path, sources=(("torch", str(file), None),))
    assert status == 0, said
    assert any("switched off" in text for text in said)


def test_what_lies_between_named_modules_is_said(tmp_path: Path) -> None:
    file = compiled(tmp_path, SPEC, "F.leaky_relu(x, 0.01)", "F.leaky_relu(x, 0.011)")
    _, said = run_command(tmp_path, sources=(("torch", str(file), None),))
    assert "the last named module in front of it that agrees is `conv2`" in "\n".join(said)


def test_functional_dropout_is_compared_in_inference_alone(tmp_path: Path) -> None:
    old, new = "self.dropout1(x)", "F.dropout(x, 0.4, self.training)"
    file = compiled(tmp_path, SPEC, old, new)
    file.write_text(file.read_text().replace("self.dropout1 = nn.Dropout(0.4)", "pass"))
    status, said = run_command(tmp_path, sources=(("torch", str(file), None),))
    assert status == 0, said
    assert any("not compared in training" in text for text in said)


@pytest.mark.parametrize(
    ("old", "new", "module"),
    [
        ("nn.BatchNorm2d(4)", "nn.BatchNorm2d(4, eps=1.1e-05)", "bn1"),
        ("F.leaky_relu(x, 0.01)", "F.leaky_relu(x, 0.011)", "dropout1"),
        ("betas=(0.9, 0.999)", "betas=(0.9, 0.998)", ""),
        ("nn.Dropout(0.4)", "nn.Dropout(0.41)", "dropout1"),
        ("nn.BatchNorm2d(4)", "nn.BatchNorm2d(4, momentum=0.11)", "bn1"),
        ("0.01 * 0.5 **", "0.01 * 0.51 **", ""),
    ],
)
def test_one_number_edited_in_a_source_is_found(
    tmp_path: Path, old: str, new: str, module: str
) -> None:
    file = compiled(tmp_path, SPEC, old, new)
    status, said = run_command(tmp_path, sources=(("torch", str(file), None),))
    assert status == 1
    assert "differ" in "\n".join(said)
    if module:
        assert f"`{module}" in "\n".join(said)


HAND_WRITTEN = """\
from torch import nn


def make():
    return Net()


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(2, 4, 3, padding=1)
        self.fc = nn.Linear(4, 3)

    def forward(self, x):
        return self.fc(self.conv1(x).relu().mean((2, 3)))
"""
HAND_SPEC = """\
cnnspec: 1
name: hand
input: [2, 7, 6]
layers:
  - conv: {name: conv1, filters: 4, kernel: 3, padding: 1}
  - relu
  - global_avg_pool
  - flatten
  - dense: {name: fc, units: 3}
"""


@pytest.mark.parametrize("name", ["Net", "make"])
def test_a_hand_written_file_needs_only_the_names(tmp_path: Path, name: str) -> None:
    (tmp_path / "small.yaml").write_text(HAND_SPEC)
    (tmp_path / "hand.py").write_text(HAND_WRITTEN)
    source = ("torch", str(tmp_path / "hand.py"), name)
    status, said = run_command(tmp_path, sources=(source,), form="json")
    document = json.loads(said[0])
    assert status == 0, said
    assert any("no training functions" in note for note in document["specs"][0]["notes"])


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("class Net", "class Other", "raised NameError|no class or function"),
        ("self.fc = nn.Linear(4, 3)", "self.fc = nn.Linear(4, 2)", "`fc.weight` is 2x4, not 3x4"),
        ("self.fc = nn", "self.fd = nn", "has no `fc.weight`"),
        ("from torch import nn", "from torch import nn\n1 / 0", "ZeroDivisionError"),
        ("from torch", "from from torch", "cannot be run"),
    ],
)
def test_a_source_that_does_not_fit_is_named(
    tmp_path: Path, old: str, new: str, message: str
) -> None:
    (tmp_path / "small.yaml").write_text(HAND_SPEC)
    (tmp_path / "hand.py").write_text(HAND_WRITTEN.replace(old, new, 1))
    source = ("torch", str(tmp_path / "hand.py"), "Net")
    status, said = run_command(tmp_path, sources=(source,))
    assert status == 1
    import re

    assert re.search(message, "\n".join(said)), said


def test_the_text_report_shows_the_line_of_the_layer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = get("torch")
    emit = made.emit

    def altered(graph: Graph, style: Style = Style()) -> Emitted:
        emitted = emit(graph, style)
        return relocate(emitted, emitted.text.replace("(4)", "(4, eps=0.002)"))

    monkeypatch.setattr(made, "emit", altered)
    status, said = run_command(tmp_path)
    assert status == 1
    text = "\n".join(said)
    assert "small.yaml:6:5" in text
    assert "worst element" in text
    assert "bound" in text


def test_reports_of_several_specs_count(tmp_path: Path) -> None:
    report = check(graph_of(), graph_of(), backends=("numpy", "torch"), in_process=True, steps=1)
    assert "2 of 2 specs agree" in to_text(report)


def test_no_child_outlives_its_check(monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[Child] = []
    start = engines_module.Child._start

    def remember(self: Child) -> None:
        start(self)
        started.append(self)

    monkeypatch.setattr(engines_module.Child, "_start", remember)
    check(graph_of(), backends=("numpy", "torch"), dtype="float64", steps=1)
    assert [child.name for child in started] == ["torch"]  # the reference is the other
    assert all(child._process.poll() is not None for child in started)


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ({"backends": ("torch",)}, "nothing-compared"),
        ({"backends": ("torch", "torch")}, "backend-twice"),
        ({"backends": ("numpy", "torhc")}, "unknown-backend"),
        ({"sources": (("keras", __file__, None),)}, "source-unused"),
        ({"sources": (("torch", "nowhere.py", None),)}, "file-not-found"),
    ],
)
def test_a_request_that_makes_no_sense_is_refused(
    tmp_path: Path, options: dict[str, Any], code: str
) -> None:
    with pytest.raises(SetupError) as refused:
        run_command(tmp_path, **options)
    assert refused.value.exit_status == 2
    assert [d.code for d in refused.value.diagnostics] == [code]


def test_only_one_spec_can_be_saved(tmp_path: Path) -> None:
    with pytest.raises(SetupError) as refused:
        command(
            ["a.yaml", "b.yaml"],
            backends=("numpy", "torch"),
            form="text",
            dtype=None,
            seed=None,
            steps=1,
            inputs=None,
            save=str(tmp_path),
            sources=(),
        )
    assert refused.value.diagnostics[0].code == "save-one"


CODES = {
    # code: what brings it about
    "bad-inputs": "an .npz without the network's input",
    "bad-source": "a file that cannot be run",
    "not-finite": "an input with NaN",
    "backends-differ": "an edited number",
}


def test_faults_of_a_check_have_their_codes(tmp_path: Path) -> None:
    found = set()
    np.savez(tmp_path / "in.npz", other=np.zeros(2))
    np.savez(tmp_path / "nan.npz", input=np.full((3, 2, 9, 8), np.nan))
    (tmp_path / "broken.py").write_text("(")
    file = compiled(tmp_path, SPEC, "nn.BatchNorm2d(4)", "nn.BatchNorm2d(4, eps=0.5)")
    for options in (
        {"inputs": str(tmp_path / "in.npz")},
        {"inputs": str(tmp_path / "nan.npz")},
        {"sources": (("torch", str(tmp_path / "broken.py"), None),)},
        {"sources": (("torch", str(file), None),)},
    ):
        status, said = run_command(tmp_path, **options)
        assert status == 1
        found |= {code for code in CODES if f"[{code}]" in "\n".join(said)}
    assert found == set(CODES)


def test_a_missing_framework_is_the_surroundings_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    modules: Any = sys.modules
    monkeypatch.setitem(modules, "torch", None)
    monkeypatch.delitem(sys.modules, "cnnspec.backends.torch.session", raising=False)
    with pytest.raises(SetupError) as refused:
        get("torch").open(get("torch").emit(graph_of()))
    assert refused.value.diagnostics[0].code == "backend-missing"
    assert "cnnspec[torch]" in refused.value.diagnostics[0].help


def test_numpy_has_no_other_device() -> None:
    with pytest.raises(SetupError) as refused:
        get("numpy").open(get("numpy").emit(graph_of()), device="cuda")
    assert refused.value.diagnostics[0].code == "unknown-device"


def test_a_network_called_like_a_helper_is_refused() -> None:
    from cnnspec.diagnostics import SpecError

    with pytest.raises(SpecError) as refused:
        get("numpy").emit(graph_of(SPEC.replace("name: small", "name: conv")))
    (clash,) = refused.value.diagnostics
    assert clash.code == "name-clash"
    assert clash.primary is not None
    assert (clash.primary.span.line, clash.primary.span.column) == (2, 7)


def test_an_op_without_a_spelling_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    from cnnspec.backends.columns import Unsupported
    from cnnspec.backends.torch.cells import COLUMN
    from cnnspec.diagnostics import SpecError
    from cnnspec.ops.activation import LeakyRelu

    cells: Any = COLUMN._cells
    monkeypatch.setitem(cells, LeakyRelu, Unsupported("for the sake of the test"))
    with pytest.raises(SpecError) as refused:
        get("torch").emit(graph_of())
    (diagnostic,) = refused.value.diagnostics
    assert diagnostic.code == "unsupported-op"
    assert diagnostic.primary is not None
    assert (diagnostic.primary.span.line, diagnostic.primary.span.column) == (10, 5)


def test_a_missing_spec_is_in_the_report_and_the_others_stand(tmp_path: Path) -> None:
    (tmp_path / "small.yaml").write_text(SPEC)
    said: list[str] = []
    status = command(
        [str(tmp_path / "nowhere.yaml"), str(tmp_path / "small.yaml")],
        backends=("numpy", "torch"),
        form="json",
        dtype="float64",
        seed=None,
        steps=1,
        inputs=None,
        save=None,
        sources=(),
        in_process=True,
        out=said.append,
    )
    document = json.loads(said[0])
    assert status == 2
    assert document["status"] == "environment"
    assert [spec["status"] for spec in document["specs"]] == ["environment", "agree"]


def test_what_does_not_fit_into_memory_is_refused_first(monkeypatch: pytest.MonkeyPatch) -> None:
    from cnnspec import memory

    monkeypatch.setattr(memory, "available", lambda: 10_000)
    found = only(check(graph_of(), backends=("numpy", "torch"), in_process=True))
    assert found.status == "environment"
    assert found.diagnostics[0].code == "not-enough-memory"


REFLECT = """\
cnnspec: 1
input: [6, 5, 2]
layers: [tanh, {conv: {filters: 1, kernel: 1, padding: [3, 1], padding_mode: reflect}}, tanh, tanh]
"""
SHARED_IN_BRANCHES = """\
cnnspec: 1
input: {left: [2, 3], right: [2, 3]}
layers:
  - batch_norm: {name: first, from: left}
  - tanh: {from: right}
  - batch_norm: {name: second, from: right, share: first}
  - tanh: {name: third, from: left}
  - batch_norm: {name: fourth, from: third, share: first}
outputs: {a: first, b: tanh1, c: second, d: fourth}
"""


LONG_SUM = """\
cnnspec: 1
input: [4, 6, 3, 3]
layers:
  - leaky_relu
  - conv: {filters: 1, kernel: 1, padding: 2, weight_init: zeros}
  - prelu
  - batch_norm: {name: norm, bias_init: he_normal}
  - tanh: {name: first}
  - prelu: {from: leaky_relu1}
  - tanh: {name: second}
outputs: {first: first, second: second}
"""


LRN_BEHIND_MOVED_AXES = """\
cnnspec: 1
input: [2, 3, 2, 2]
layers: [layer_norm: {axes: [height, channels]}, local_response_norm]
"""
ALL_DROPPED = """\
cnnspec: 1
input: [1]
layers: [rbf: {units: 1}, dropout: {p: 1.0}]
"""
COHERENT_VARIANCE = """\
cnnspec: 1
input: [2, 3, 1, 3]
layers:
- {depthwise_conv: {kernel: [2, 1, 3], padding: [3, 2, 3]}}
- {batch_norm: {momentum: 1.0}}
"""
COHERENT_GRADIENT = """\
cnnspec: 1
input: {left: [2, 4, 2, 5], right: [3]}
layers:
- {batch_norm: {from: left}}
- global_avg_pool
- flatten
- {dense: {name: at4, units: 2}}
- {flatten: {from: right}}
- {dense: {name: at6, units: 1}}
outputs: {out0: at4, out1: at6}
"""
SHIFTED_IN_A_SEQUENCE = """\
cnnspec: 1
input: [1, 1]
define:
  block0:
    parameters: {c: 2, n: 0}
    layers:
    - {sequence: {when: $(c > 1), layers: [dropout: {repeat: $n}, conv: {filters: $c, kernel: 1}]}}
layers: [block0, block0: {n: 1}]
"""
SHARED_UNDER_A_CONDITION = """\
cnnspec: 1
input: [3, 8, 8]
define:
  inner:
    parameters: {d: 2}
    layers:
    - sequence: {when: $(d > 1), layers: [dropout, {conv: {filters: 3, kernel: 3, padding: 1}}]}
    - relu
  outer:
    parameters: {d: 2}
    layers: [inner: {d: $d}, inner: {share: inner1, d: $d}, conv: {filters: 3, kernel: 1}]
layers: [outer, outer: {d: 0}, outer: {d: 3}]
"""
NAMES_IN_NAMED_INSTANCES = """\
cnnspec: 1
input: [2, 4]
define:
  block2:
    parameters: {c: 0}
    layers:
    - sequence:
        name: one$(index + 1)
        repeat: 2
        layers: [{conv: {filters: 2, kernel: 1, name: own}}, {mish: {when: $(c > 1)}}, tanh]
layers: [block2, block2: {c: 2}]
"""
ARGUMENT_OF_A_REPEATED_LAYER = """\
cnnspec: 1
input: [3, 4]
define:
  block0:
    parameters: {c: required}
    layers: [{conv: {filters: "$(max(c * 2 % 3, 1))", kernel: 3, padding: 1}}, prelu: {repeat: 3}]
layers: [block0: {c: 3}, block0: {c: 1}]
"""


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(REFLECT, id="reflect"),
        pytest.param(SHARED_IN_BRANCHES, id="shared"),
        pytest.param(LONG_SUM, id="long_sum"),
        pytest.param(LRN_BEHIND_MOVED_AXES, id="lrn_behind_moved_axes"),
        pytest.param(ALL_DROPPED, id="all_dropped"),
        pytest.param(COHERENT_VARIANCE, id="coherent_variance"),
        pytest.param(COHERENT_GRADIENT, id="coherent_gradient"),
        pytest.param(SHIFTED_IN_A_SEQUENCE, id="shifted_in_a_sequence"),
        pytest.param(SHARED_UNDER_A_CONDITION, id="shared_under_a_condition"),
        pytest.param(NAMES_IN_NAMED_INSTANCES, id="names_in_named_instances"),
        pytest.param(ARGUMENT_OF_A_REPEATED_LAYER, id="argument_of_a_repeated_layer"),
    ],
)
def test_what_random_networks_have_found(text: str) -> None:
    report = check(graph_of(text), backends=("numpy", "torch", "keras"), in_process=True)
    assert report, only(report).first_difference


@pytest.mark.parametrize("lr", [1e-3, 1e60, 1e75])
def test_inference_that_overflows_after_training_is_not_compared(lr: float) -> None:
    text = f"""\
cnnspec: 1
name: deep
input: [3]
layers: [{", ".join(["dense: {units: 3}"] * 6)}]
train: {{loss: mean_squared_error, optimizer: {{sgd: {{lr: {lr}}}}}}}
"""
    options: dict[str, Any] = {"in_process": True, "dtype": "float64", "steps": 1}
    found = only(check(graph_of(text), backends=("numpy", "torch"), **options))
    assert found.agree
    after = [c for c in found.comparisons if c.mode == "after_training"]
    assert bool(after) == (lr < 1)


def test_a_batch_norm_of_two_values_has_room_for_what_cancels_in_it() -> None:
    """It gives plus and minus one whatever they are, so that moving them shows next to nothing."""
    text = """\
cnnspec: 1
name: pairs
input: [2000, 1, 1]
layers: [batch_norm: {eps: 0.001}]
train: {loss: mean_squared_error, optimizer: {sgd: {lr: 1.0e-6}}}
"""
    rng = np.random.default_rng(0)
    x = 5 * rng.normal(size=(1, 2000, 1, 1)) + rng.normal(size=(2, 2000, 1, 1))
    options: dict[str, Any] = {"inputs": {"input": x}, "steps": 0, "dtype": "float32"}
    found = only(check(graph_of(text), backends=("numpy", "torch"), in_process=True, **options))
    assert found.agree
    gradients = [c for c in found.comparisons if c.quantity == "parameter_gradient" and c.training]
    assert gradients
    assert max(severity(c) for c in gradients) < 0.1
