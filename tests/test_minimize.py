"""`check --minimize`: the smallest case of a planted fault, and scripts that show it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cnnspec.backends import get
from cnnspec.build import build
from cnnspec.check import Options, SpecReport, samples
from cnnspec.check.api import check_graph
from cnnspec.check.command import command
from cnnspec.check.engines import engines
from cnnspec.check.minimize import Minimized, folders, minimize, refuse_directory
from cnnspec.check.minimize.authored import as_written, part_written
from cnnspec.check.minimize.plain import flat, structured, text_of
from cnnspec.check.minimize.script import Outcome
from cnnspec.check.minimize.search import Search, narrow, size_of
from cnnspec.check.minimize.wires import nested
from cnnspec.check.run import needs_process
from cnnspec.diagnostics import SetupError
from cnnspec.document import parse
from cnnspec.graph import Graph
from cnnspec.passes.reduce import reduce
from cnnspec.schema import read_spec
from cnnspec.weights import read_weights
from tests.networks import SPECS, graph, graph_of
from tests.test_failure_report import broken, comparisons

NET = """\
cnnspec: 1
name: net
input: [2, 9, 8]
define:
  unit:
    parameters: {channels: 4, slope: 0.01}
    layers:
      - conv: {name: conv1, filters: $channels, kernel: 3, padding: same, stride: 2, bias: false}
      - batch_norm: {name: bn1}
      - leaky_relu: {name: act, slope: $slope}
layers:
  - unit: {name: units, repeat: 2, last: {slope: 0.2}}
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


def checked(network: Graph, options: Options) -> SpecReport:
    with engines(needs_process(options), in_process=True) as made:
        return check_graph(network, "net.yaml", options, made)


def minimized(
    network: Graph, folder: Path, *, shown: bool = True, **more: Any
) -> tuple[SpecReport, Minimized | None]:
    """Check, and minimise what differs, in this process."""
    given: dict[str, Any] = {"backends": ("numpy", "torch"), "dtypes": ("float64",)}
    options = Options(**{**given, **more}, in_process=True)
    with engines(needs_process(options), in_process=True) as made:
        report = check_graph(network, "net.yaml", options, made)
        assert report.status == "disagree"
        found = minimize(network, report, options, made, folder)
    assert (found is not None) is shown
    return report, found


def run(script: Path) -> subprocess.CompletedProcess[str]:
    """Run a script where cnnspec cannot be imported."""
    blocked = script.parent / "blocked"
    blocked.mkdir(exist_ok=True)
    (blocked / "cnnspec.py").write_text("raise ImportError('a script needs no cnnspec')\n")
    return subprocess.run(
        [sys.executable, str(script)],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(blocked)},
        timeout=300,
        check=False,
    )


FAULTS = [
    # what torch writes, what it writes instead, the layers that remain, the input's shape
    ("nn.BatchNorm2d(4)", "nn.BatchNorm2d(4, momentum=0.2)", ["batch_norm"], (4, 1, 1)),
    ("pads=(0, 1, 1, 1)", "pads=(1, 0, 1, 1)", None, None),
    (", count_include_pad=False", "", ["avg_pool"], (1, 1, 1)),
    ("F.leaky_relu(x, 0.2)", "F.leaky_relu(x, 0.20001)", ["leaky_relu"], (1, 1, 1)),
    ("betas=(0.9, 0.999)", "betas=(0.9, 0.99)", ["dense"], (1,)),
    ("0.01 * 0.5 **", "0.01 * 0.4 **", ["dense"], (1,)),
]


@pytest.fixture
def unrun(monkeypatch: pytest.MonkeyPatch) -> None:
    """Scripts are written and not run: that takes seconds, and other tests do it."""
    module = "cnnspec.check.minimize.minimize"
    monkeypatch.setattr(sys.modules[module], "run_script", lambda path: Outcome(path.is_file(), ""))


@pytest.mark.usefixtures("unrun")
def test_a_fault_is_reduced_to_one_layer(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    broken(monkeypatch, "torch", ", count_include_pad=False", "")
    report, found = minimized(graph(NET), tmp_path / "case")
    assert found is not None
    made = graph_of(tmp_path / "case" / "spec.yaml")
    assert [node.op.key for node in made.nodes] == ["avg_pool"]
    assert [entry.shape for entry in made.inputs] == [(1, 1, 1)]
    assert found.checks <= 200
    assert not found.stopped
    # What it was found with shows it again: as a spec, and on the inputs beside it.
    assert report.first_difference is not None
    quantity = report.first_difference.comparison.quantity
    inputs = dict(np.load(tmp_path / "case" / "inputs.npz"))
    again = Options(
        backends=("numpy", "torch"), dtypes=("float64",), inputs=inputs, in_process=True
    )
    for options in (again, Options(backends=("numpy", "torch"), in_process=True)):
        shown = checked(made, options)
        assert shown.status == "disagree"
        assert quantity in {c.quantity for c in shown.comparisons if c.judged and not c.agree}
    read_weights(tmp_path / "case" / "weights.safetensors", made)


@pytest.mark.nightly
@pytest.mark.parametrize(("old", "new", "ops", "shape"), FAULTS, ids=[f[1] for f in FAULTS])
def test_every_fault_is_reduced(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    old: str,
    new: str,
    ops: list[str] | None,
    shape: tuple[int, ...] | None,
) -> None:
    broken(monkeypatch, "torch", old, new)
    _, found = minimized(graph(NET.replace("slope: $slope", "slope: 0.2")), tmp_path / "case")
    assert found is not None
    made = graph_of(tmp_path / "case" / "spec.yaml")
    assert [node.op.key for node in made.nodes] == (ops or ["conv"])
    if shape is not None:
        assert [entry.shape for entry in made.inputs] == [shape]
    assert found.scripts == {"reproduce_torch.py": True}


@pytest.mark.usefixtures("unrun")
def test_a_script_is_a_few_lines_of_plain_torch(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    broken(monkeypatch, "torch", "F.leaky_relu(x, 0.01)", "F.leaky_relu(x, 0.02)")
    minimized(graph(NET.replace("slope: $slope", "slope: 0.01")), tmp_path / "case")
    path = tmp_path / "case" / "reproduce_torch.py"
    text = path.read_text()
    code = [line for line in text.splitlines() if line and not line.startswith(('"', "import"))]
    assert len(code) == 7
    assert "y = F.leaky_relu(x, 0.02)" in code
    assert "cnnspec" not in text
    done = run(path)
    assert done.returncode == 1
    assert "AssertionError" in done.stderr
    path.write_text(text.replace("0.02", "0.01"))  # where the fault is mended
    assert run(path).returncode == 0


OTHER_FAULTS = [
    # the back end, what it writes, what it writes instead, options, and what has to differ
    (
        "torch",
        "torch.tanh(x)",
        "torch.tanh(0.5 * x + 0.5 * x.detach())",
        {},
        "input_gradient",
    ),
    ("torch", "torch.tanh(x)", "torch.tanh(x.half()).to(x.dtype)", {}, "forward"),
    (
        "torch",
        "torch.tanh(x)",
        "torch.tanh(x.half()).to(x.dtype)",
        {"dtypes": ("float32",)},
        "forward",
    ),
    ("torch", "F.relu(x)", "(lambda v: torch.clamp(v, min=0))(x)", {}, "input_gradient"),
    ("torch", "return 0.01 * 0.5", "return 0.01 * 0.4", {"steps": 0}, "step"),
    (
        "keras",
        '"tanh", name="tanh1")(x)',
        '"tanh", name="tanh1")(0.5 * x + 0.5 * keras.ops.stop_gradient(x))',
        {},
        "input_gradient",
    ),
    ("keras", "betas=(0.9, 0.999)", "betas=(0.9, 0.99)", {}, "step"),
    ("keras", "epsilon=1e-05", "epsilon=1e-03", {}, "forward"),
    ("keras", "momentum=0.9,", "momentum=0.8,", {}, "running_statistics"),
]
PLAIN = """\
cnnspec: 1
name: plain
input: [2, 5, 4]
layers:
  - conv: {filters: 3, kernel: 2, bias: false}
  - batch_norm
  - tanh
  - flatten
  - dense: {units: 3}
train: {loss: mean_squared_error, optimizer: {adam: {lr: 0.01}}, epochs: 3,
        schedule: {exponential: {gamma: 0.5}}}
"""


@pytest.mark.nightly
@pytest.mark.parametrize(("backend", "old", "new", "options", "quantity"), OTHER_FAULTS)
def test_scripts_of_every_quantity_show_it(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    backend: str,
    old: str,
    new: str,
    options: dict[str, Any],
    quantity: str,
) -> None:
    broken(monkeypatch, backend, old, new)
    given = {"backends": ("numpy", backend), **options}
    text = PLAIN.replace("tanh", "relu") if "relu" in old else PLAIN
    report, found = minimized(graph(text), tmp_path / "case", **given)
    assert found is not None
    assert report.first_difference is not None
    assert report.first_difference.comparison.quantity == quantity
    name = f"reproduce_{backend}.py"
    assert found.scripts == {name: True}, found.notes
    done = run(tmp_path / "case" / name)
    assert done.returncode == 1
    assert "AssertionError" in done.stderr
    assert found.layers <= 2


@pytest.mark.nightly
def test_a_fault_of_a_framework_needs_no_planting(tmp_path: Path) -> None:
    # docs/framework-faults.md: its slope is rounded to float32.
    text = PLAIN.replace("- tanh", "- leaky_relu")
    options: dict[str, Any] = {"backends": ("numpy", "torch", "keras"), "layers": "native"}
    report, found = minimized(graph(text), tmp_path / "case", **options)
    assert found is not None
    assert report.first_difference is not None
    assert report.first_difference.failure.standing.alone == "keras"
    assert found.layers == 1
    assert found.scripts == {"reproduce_keras.py": True}
    script = (tmp_path / "case" / "reproduce_keras.py").read_text()
    assert "layers.LeakyReLU(0.01, name='leaky_relu1')" in script
    assert "class " not in script
    assert "--native" in found.command


def test_a_smaller_case_is_not_run_on_what_was_given_for_the_whole() -> None:
    network = graph(PLAIN)
    given = Options(weights=samples.weights(network, 0), inputs={}, seed=3, reduce=True)
    (found,) = comparisons({"numpy": 1, "torch": 2})
    small = narrow(given, found)
    assert (small.weights, small.inputs, small.seed, small.reduce) == (None, None, None, False)
    assert small.backends == ("numpy", "torch")
    assert (small.dtypes, small.steps) == (("float64",), 0)
    assert not small.probe
    assert not small.initializers


def test_initial_weights_have_no_script(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    broken(monkeypatch, "torch", 'nonlinearity="relu"', 'nonlinearity="linear"')
    text = "cnnspec: 1\nname: net\ninput: [50]\nlayers: [{dense: {units: 60}}]\n"
    report, found = minimized(graph(text), tmp_path / "case", steps=0)
    assert found is not None
    assert report.first_difference is not None
    assert report.first_difference.comparison.quantity == "initializer"
    assert found.scripts == {}
    assert "initial weights are wrong, which `check` alone shows" in found.notes


@pytest.mark.usefixtures("unrun")
def test_a_fault_of_an_instance_of_a_block_keeps_the_block(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    # A wrong default of a constructor shows only where there is a class, and two instances of it.
    broken(monkeypatch, "torch", "slope=0.01)", "slope=0.03)")
    report, found = minimized(graph(NET), tmp_path / "case")
    assert found is not None
    made = graph_of(tmp_path / "case" / "spec.yaml")
    assert "define:" in found.text
    assert len(made.nodes) <= 4
    assert "leaky_relu" in {node.op.key for node in made.nodes}
    assert report.first_difference is not None
    carried = report.first_difference.minimized
    assert carried is not None
    assert carried["spec"] == found.text
    assert carried["complete"] is True


def test_a_search_stops_at_its_limit_and_says_so(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    broken(monkeypatch, "torch", ", count_include_pad=False", "")
    options = Options(("numpy", "torch"), ("float64",), in_process=True)
    network = graph(NET)
    with engines(["torch"], in_process=True) as made:
        report = check_graph(network, "net.yaml", options, made)
        assert report.first_difference is not None
        search = Search(network, report.first_difference, options, made, most_checks=1)
        best = search.run()
    assert best is not None
    assert search.checks == 1
    assert search.stopped == "it was stopped after 1 checks"


def test_what_does_not_show_again_is_a_note(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    options = Options(("numpy", "torch"), ("float64",), in_process=True)
    network = graph(NET)
    with monkeypatch.context() as planted:
        broken(planted, "torch", ", count_include_pad=False", "")
        report = checked(network, options)
    with engines(["torch"], in_process=True) as made:  # the fault is gone
        assert minimize(network, report, options, made, tmp_path / "case") is None
    assert not (tmp_path / "case").exists()
    assert "no minimal case was found" in report.notes[-1]
    assert report.first_difference is not None
    assert report.first_difference.minimized is None


def test_a_file_of_the_users_is_run_on_smaller_inputs(tmp_path: Path) -> None:
    text = "cnnspec: 1\nname: net\ninput: [2, 30, 24]\nlayers: [{conv: {filters: 3, kernel: 3}}]\n"
    network = graph(text)
    own = get("torch").emit(network).text
    assert "2, 3, 3)" in own
    path = tmp_path / "mine.py"
    path.write_text(own.replace("return x", "return x * 1.001"))
    _, found = minimized(network, tmp_path / "case", sources={"torch": (str(path), None)})
    assert found is not None
    made = graph_of(tmp_path / "case" / "spec.yaml")
    assert made.inputs[0].shape == (2, 3, 3)
    assert found.text == text.replace("[2, 30, 24]", "[2, 3, 3]").replace(
        "layers: [{conv: {filters: 3, kernel: 3}}]", "layers:\n  - conv: {filters: 3, kernel: 3}"
    )
    assert (tmp_path / "case" / "source_torch.py").read_text() == path.read_text()
    assert any("the file of torch is yours" in note for note in found.notes)
    assert "--source torch=source_torch.py" in found.command
    assert found.scripts == {}


# --- the directory, and the command line ---------------------------------------------------------


@pytest.fixture
def planted(monkeypatch: pytest.MonkeyPatch) -> None:
    broken(monkeypatch, "torch", "torch.tanh(x)", "torch.tanh(1.25 * x)")


TANH = "cnnspec: 1\nname: net\ninput: [2, 4, 3]\nlayers: [tanh]\n"


def commanded(tmp_path: Path, **more: Any) -> tuple[int, str]:
    out: list[str] = []
    (tmp_path / "net.yaml").write_text(TANH)
    options: dict[str, Any] = {
        "backends": ("numpy", "torch"),
        "form": "text",
        "dtype": "float64",
        "seed": None,
        "steps": 0,
        "inputs": None,
        "save": None,
        "sources": (),
        "in_process": True,
        "minimize": str(tmp_path / "case"),
    }
    options.update(more)
    specs = options.pop("specs", [str(tmp_path / "net.yaml")])
    status = command(specs, **options, out=out.append, say=out.append)
    return status, "\n".join(out)


@pytest.mark.usefixtures("planted", "unrun")
def test_the_command_prints_the_spec_and_replaces_an_earlier_case(tmp_path: Path) -> None:
    status, text = commanded(tmp_path)
    assert status == 1
    assert "minimal case in" in text
    assert "      - tanh" in text
    names = {entry.name for entry in (tmp_path / "case").iterdir()}
    expected = "README.md cotangents.npz inputs.npz reproduce_torch.py spec.yaml"
    assert names == {*expected.split(), "weights.safetensors"}
    assert "numpy" in (tmp_path / "case" / "README.md").read_text()
    with pytest.raises(SetupError, match="an earlier case") as caught:
        commanded(tmp_path)
    assert caught.value.diagnostics[0].code == "directory-not-empty"
    status, text = commanded(tmp_path, force=True, form="json")
    found = json.loads(text)["specs"][0]["first_difference"]["minimized"]
    assert found["directory"] == str(tmp_path / "case")
    assert found["layers"] == 1
    assert found["scripts"] == {"reproduce_torch.py": True}
    assert {entry.name for entry in tmp_path.iterdir()} == {"net.yaml", "case"}


def test_a_directory_of_somebody_elses_is_never_replaced(tmp_path: Path) -> None:
    (tmp_path / "spec.yaml").write_text(TANH)
    (tmp_path / "thesis.tex").write_text("")
    with pytest.raises(SetupError, match=r"such as `thesis\.tex`") as caught:
        refuse_directory(tmp_path, force=True)
    assert caught.value.diagnostics[0].code == "directory-not-empty"
    with pytest.raises(SetupError, match="is a file") as caught:
        refuse_directory(tmp_path / "spec.yaml", force=True)
    assert caught.value.diagnostics[0].code == "not-a-directory"


@pytest.mark.usefixtures("planted", "unrun")
def test_of_several_specs_each_has_a_directory(tmp_path: Path) -> None:
    (tmp_path / "other.yaml").write_text(TANH.replace("tanh", "relu"))
    specs = [str(tmp_path / "other.yaml"), str(tmp_path / "net.yaml")]
    status, _ = commanded(tmp_path, specs=specs)
    assert status == 1
    assert [entry.name for entry in (tmp_path / "case").iterdir()] == ["net"]


def test_specs_of_one_name_have_directories_of_their_own() -> None:
    assert folders(["a/net.yaml", "b/net.yaml"], Path("case")) == [
        Path("case/net"),
        Path("case/net-2"),
    ]
    assert folders(["a/net.yaml"], Path("case")) == [Path("case")]


def test_agreement_writes_nothing(tmp_path: Path) -> None:
    status, _ = commanded(tmp_path)
    assert status == 0
    assert not (tmp_path / "case").exists()


# --- specs as plain values -----------------------------------------------------------------------


@pytest.mark.parametrize("name", ["digits", "two_towers", "unet", "gallery_shapes", "googlenet"])
def test_a_network_reads_back_from_plain_values(name: str) -> None:
    network = graph_of(SPECS[name])
    again = build(read_spec(parse(text_of(structured(network, train=True, seed=3)), "x"))).graph
    assert [(n.id, n.op, n.shape) for n in again.nodes] == [
        (n.id, n.op, n.shape) for n in network.nodes
    ]
    assert again.seed == 3
    ids = [node.id for node in network.nodes]
    outputs = list(dict.fromkeys(output.value.id for output in network.outputs))
    spec = flat(network, ids, outputs, train=True, seed=0)
    plain = build(read_spec(parse(text_of(spec), "x"))).graph
    assert [(n.op, n.shape) for n in plain.nodes] == [(n.op, n.shape) for n in network.nodes]
    assert len(plain.params()) == len(network.params())
    assert size_of(spec, plain)[0] == len(network.nodes)


@pytest.mark.parametrize("name", ["resnet18", "digits", "unet", "googlenet"])
def test_a_spec_is_taken_as_it_was_written(name: str) -> None:
    network = graph_of(SPECS[name])
    for seen in (network, reduce(network)):
        written = as_written(seen, train=True, seed=seen.seed)
        assert written is not None
        assert "expect" not in text_of(written)
        assert "include" not in text_of(written)
        again = graph(text_of(written))
        assert [(n.id, n.op, n.shape) for n in again.nodes] == [
            (n.id, n.op, n.shape) for n in seen.nodes
        ]


def test_the_block_of_a_layer_is_taken_alone() -> None:
    written = part_written(graph_of(SPECS["resnet18"]), "layer3.1.bn2", seed=0)
    assert written is not None
    part = graph(text_of(written))
    (entry,) = part.inputs
    assert entry.shape == (128, 28, 28)
    assert {node.id.partition(".")[0] for node in part.nodes} == {"layer3"}
    assert part_written(graph_of(SPECS["resnet18"]), "conv1", seed=0) is None


def test_more_and_more_is_taken_out_of_a_raw_spec() -> None:
    layers = ["relu", "tanh", "sigmoid", "relu"]
    spec = {"raw": {"cnnspec": 1, "name": "net", "input": [2], "layers": layers}}
    left = [made["raw"]["layers"] for made in nested(spec)]
    assert left[:2] == [["relu", "tanh"], ["sigmoid", "relu"]]
    assert left[2:] == [
        ["relu", "tanh", "sigmoid"],
        ["relu", "tanh", "relu"],
        ["relu", "sigmoid", "relu"],
        ["tanh", "sigmoid", "relu"],
    ]
