"""Feature maps, filters, saliency and occlusion: their numbers, their pictures and their page."""

from __future__ import annotations

import base64
import io
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from cnnspec.backends import get
from cnnspec.backends.base import Style
from cnnspec.cli import main
from cnnspec.diagnostics import SetupError
from cnnspec.evaluate.model import opened
from cnnspec.graph import Graph
from cnnspec.images import Sample
from cnnspec.initializers import initial_weights
from cnnspec.inspect import Options, features, occlusion, saliency, select
from cnnspec.inspect.attribution import choose_class
from cnnspec.inspect.maps import feature_maps, filters, spaced, summary
from cnnspec.passes.rebuild import logits
from tests.networks import BACKENDS, SPECS, graph, graph_of

Image = pytest.importorskip("PIL.Image")
pytest.importorskip("matplotlib")

SOFTMAX = """\
cnnspec: 1
name: small
input: [2, 5, 6]
layers:
  - conv: {name: conv1, filters: 3, kernel: 3}
  - tanh
  - sequence: {name: middle, layers: [{conv: {filters: 2, kernel: 2}}, elu]}
  - sequence: {name: top, layers: [flatten, {dense: {units: 4}}, softmax]}
train: {loss: cross_entropy, optimizer: {sgd: {lr: 0.1}}, batch: 4, epochs: 1}
"""


@pytest.fixture
def small() -> Graph:
    return graph(SOFTMAX)


def sample_of(network: Graph, seed: int = 0) -> Sample:
    rng = np.random.default_rng(seed)
    inputs = {entry.name: rng.normal(size=(1, *entry.shape)) for entry in network.inputs}
    return Sample("noise", inputs)


def test_without_its_softmax_a_network_gives_what_the_loss_reads(small: Graph) -> None:
    weights, sample = initial_weights(small), sample_of(small)
    bare = logits(small, "output")
    assert bare.outputs[0].value.id == "top.1"
    assert len(bare.nodes) == len(small.nodes) - 1
    assert set(bare.params()) == set(small.params())
    with opened(small, "numpy", weights) as session:
        read = session.evaluate(sample.inputs, {"output": np.array([0])}).outputs["output"]
    for backend in BACKENDS:
        with opened(bare, backend, weights) as session:
            found = session.forward(sample.inputs)["output"]
        np.testing.assert_allclose(found, read, rtol=1e-13, atol=1e-14)


@pytest.mark.parametrize(
    "layers",
    [
        "[{dense: {units: 3}}]",  # nothing to leave out
        "[softmax]",  # reads the input itself
        "[{dense: {units: 3}}, {softmax: {name: p}}, {scale_shift: {}}]",
    ],
)
def test_what_has_no_final_softmax_stays(layers: str) -> None:
    layers = layers.replace("{scale_shift: {}}", "relu")
    network = graph(f"cnnspec: 1\ninput: [4]\nlayers: {layers}\n")
    assert logits(network, "output") is network


def test_a_softmax_with_another_reader_stays() -> None:
    network = graph(
        "cnnspec: 1\ninput: [4]\nlayers: [{dense: {units: 3}}, {softmax: {name: p}}, "
        "{relu: {name: r}}]\noutputs: {p: p, r: r}\n"
    )
    assert logits(network, "p") is network


@pytest.mark.parametrize("backend", BACKENDS)
def test_saliency_is_the_gradient_of_the_logit(small: Graph, backend: str) -> None:
    """Against central differences of what `evaluate` gives, of the network with its softmax."""
    weights, sample = initial_weights(small), sample_of(small)
    with opened(logits(small, "output"), backend, weights) as session:
        found = saliency(session, sample.inputs, "output", 2, logit=True)
    x, targets = sample.inputs["input"], {"output": np.array([0])}
    expected = np.zeros_like(x[0])
    with opened(small, "numpy", weights) as session:
        read = session.evaluate({"input": x}, targets).outputs["output"]
        for place in np.ndindex(expected.shape):
            ends = []
            for step in (1e-5, -1e-5):
                moved = x.copy()
                moved[(0, *place)] += step
                ends.append(session.evaluate({"input": moved}, targets).outputs["output"][0, 2])
            expected[place] = (ends[0] - ends[1]) / 2e-5
    assert abs(found.score - read[0, 2]) < 1e-13
    np.testing.assert_allclose(found.gradients["input"], expected, atol=1e-9)


def test_saliency_of_a_map_is_of_the_sum_over_positions() -> None:
    network = graph(
        "cnnspec: 1\ninput: [1, 3, 4]\nlayers: [{conv: {name: c, filters: 2, kernel: 1}}]\n"
    )
    weights = {"c.weight": np.array([[[[2.0]]], [[[5.0]]]]), "c.bias": np.array([1.0, 0.0])}
    sample = sample_of(network)
    with opened(network, "numpy", weights) as session:
        found = saliency(session, sample.inputs, "output", 1, logit=False)
    np.testing.assert_allclose(found.gradients["input"], 5)
    assert found.score == pytest.approx(5 * sample.inputs["input"].sum(), abs=1e-12)


def test_occlusion_of_a_sum() -> None:
    """The score is the sum of the pixels: a patch costs what it holds above the mean."""
    x = np.arange(30.0).reshape(1, 1, 5, 6)

    def measure(inputs: dict[str, npt.NDArray[np.float64]]) -> npt.NDArray[np.float64]:
        return np.asarray(inputs["x"].sum(axis=(1, 2, 3))[:, None])

    found = occlusion(measure, {"x": x}, 0, probability=False, patch=1, stride=1)  # type: ignore[arg-type] # a dict is a Mapping
    np.testing.assert_allclose(found.fall["x"], x[0, 0] - x.mean(), atol=1e-12)
    assert (found.before, found.passes, found.patch["x"]) == (x.sum(), 30, (1, 1))
    found = occlusion(measure, {"x": x}, 0, probability=False, patch=4, stride=3)  # type: ignore[arg-type] # a dict is a Mapping
    assert found.passes == 4  # rows 0 and 1, columns 0 and 2: the last patch ends at the border
    above = x[0, 0] - x.mean()
    corner = above[:4, :4].sum()
    assert found.fall["x"][0, 0] == pytest.approx(corner)
    both = (corner + above[:4, 2:].sum()) / 2
    assert found.fall["x"][0, 3] == pytest.approx(both)


def test_occlusion_of_vectors_and_volumes() -> None:
    def measure(inputs: dict[str, npt.NDArray[np.float64]]) -> npt.NDArray[np.float64]:
        total = inputs["v"].sum(axis=1) + inputs["w"].sum(axis=(1, 2, 3, 4))
        return np.stack([total, total], axis=1)

    inputs = {"v": np.array([[1.0, 2.0, 6.0]]), "w": np.ones((1, 2, 4, 4, 4))}
    done: list[int] = []
    found = occlusion(
        measure,  # type: ignore[arg-type] # a dict is a Mapping
        inputs,
        1,
        probability=False,
        told=lambda number, total: done.append(total - number),
    )
    np.testing.assert_allclose(found.fall["v"], [-2, -1, 3])
    assert found.fall["w"].shape == (4, 4, 4)
    assert done[-1] == 0
    assert found.passes == 3 + 2**3


def test_the_values_are_those_of_the_compiled_file(
    small: Graph, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: dict[str, npt.NDArray[np.float64]] = {}

    def keep(node: object, value: npt.NDArray[np.float64], **_: object) -> object:
        drawn[node.id] = value  # type: ignore[attr-defined] # a node
        return feature_maps(node, value, most=4)  # type: ignore[arg-type] # the same

    monkeypatch.setattr("cnnspec.inspect.sheets.feature_maps", keep)
    weights, sample = initial_weights(small), sample_of(small)
    features(small, "numpy", weights, sample, options=Options(saliency=False, occlusion=False))
    emitted = get("torch").emit(small, Style())
    session = get("torch").open(emitted)
    session.assign(weights)
    watched = session.watch(sample.inputs)
    assert set(drawn) == {node.id for node in small.nodes}
    for name in ("conv1", "middle.0", "top.1"):
        np.testing.assert_allclose(drawn[name], watched[name][0], rtol=1e-12, atol=1e-13)


def test_select() -> None:
    network = graph_of(SPECS["resnet18"])
    chosen, note = select(network, None)
    assert len(chosen) == 21
    assert all(any(len(param.shape) > 1 for param in node.params) for node in chosen)
    assert "21 of 69 layers" in note
    chosen, note = select(network, "layer1, fc")
    assert [node.id for node in chosen][-1] == "fc"
    assert all(node.id.startswith("layer1.") for node in chosen[:-1])
    assert len(select(network, "all")[0]) == len(network.nodes)
    assert [node.id for node in select(network, "conv*,fc")[0]] == ["conv1", "fc"]
    assert [n.id for n in select(network, "*.downsample.0")[0]] == [
        f"layer{k}.0.downsample.0" for k in (2, 3, 4)
    ]
    for wrong, help in (("conv9", "did you mean `conv1`?"), (",", "`--layers all`")):
        with pytest.raises(SetupError) as e:
            select(network, wrong)
        assert e.value.diagnostics[0].code == "unknown-layer"
        assert e.value.diagnostics[0].help == help


def test_choose_class() -> None:
    score = np.array([1.0, 3.0, 3.0])
    names = ("cat", "dog", "0")
    assert choose_class(None, score, names) == 1
    assert choose_class("cat", score, names) == 0
    assert choose_class("0", score, names) == 2  # a name before a number
    assert choose_class("2", score, ()) == 2
    for wrong in ("3", "-1", "cow", "\u00b2"):
        with pytest.raises(SetupError) as e:
            choose_class(wrong, score, names)
        assert e.value.diagnostics[0].code == "unknown-class"


def test_summary_and_spaced() -> None:
    assert summary(np.array([-1.0, 2, 0, 0])) == "min -1, max 2, 50 % are 0"
    assert summary(np.zeros(3)) == "all 0"
    assert summary(np.array([np.nan, np.inf])) == "no finite value"
    assert summary(np.array([1.0, np.inf])) == "min 1, max 1, 1 not finite"
    assert spaced(5, 8) == [0, 1, 2, 3, 4]
    assert spaced(100, 4) == [0, 33, 66, 99]


@pytest.mark.parametrize(
    ("spec", "options", "facts"),
    [
        (
            "audio_1d",
            Options(layers="conv1,bn2,fc", patch=32, stride=32),
            ("conv, 8x2x5", "batch_norm, 12x64"),
        ),
        ("video_3d", Options(layers="conv2", patch=8, stride=8), ("4 of 8 input channels shown",)),
        pytest.param(
            "two_towers",
            Options(layers="mix,place", patch=8),
            ("16 of 20 filters shown",),
            marks=pytest.mark.nightly,
        ),
        pytest.param(
            "unet",
            Options(layers="up1.upconv", occlusion=False, most=5),
            ("5 of 16 channels shown",),
            marks=pytest.mark.nightly,
        ),
        ("mnist_softmax", Options(occlusion=False), ("dense, 10x784",)),
        ("cifar10_simple", Options(layers="conv1", most=3), ("grey is 0; 3 of 32 filters shown",)),
    ],
)
def test_every_kind_of_picture(spec: str, options: Options, facts: tuple[str, ...]) -> None:
    """Any rank, several inputs, any number of channels; each is a picture that says what it is."""
    network = graph_of(SPECS[spec])
    found = features(
        network, "numpy", initial_weights(network), sample_of(network), options=options
    )
    for picture in found.pictures:
        with Image.open(io.BytesIO(picture.sheet.png)) as image:
            image.load()
            assert 300 < image.width < 1600
            assert 150 < image.height < 1600
            assert len(image.convert("RGB").getcolors(2**20)) > 30
    said = "\n".join(f"{p.sheet.title}; {p.sheet.facts}" for p in found.pictures)
    for fact in facts:
        assert fact in said
    heads = len(network.inputs) * (1 + options.saliency + options.occlusion)
    assert sum(not picture.layer for picture in found.pictures) == heads


def test_values_that_are_not_finite_are_counted() -> None:
    network = graph("cnnspec: 1\ninput: [2, 4, 4]\nlayers: [relu]\n")
    value = np.full((2, 4, 4), np.nan)
    assert "no finite value" in feature_maps(network.nodes[0], value, most=4).facts
    value[0] = 0
    assert "all 0, 16 not finite" in feature_maps(network.nodes[0], value, most=4).facts


def test_filters_of_a_transposed_convolution() -> None:
    """Its weight has the input channels first; a row of the grid is a filter all the same."""
    network = graph(
        "cnnspec: 1\ninput: [20, 4, 4]\nlayers: [{conv_transpose: {filters: 3, kernel: 2}}]\n"
    )
    (node,) = network.nodes
    sheet = filters(node, node.params[0], np.ones((20, 3, 2, 2)), most=64)
    assert sheet is not None
    assert sheet.facts.endswith("; 16 of 20 input channels shown")


def test_a_vector_is_no_filter(small: Graph) -> None:
    conv = small.node("conv1")
    weight, bias = conv.params
    assert filters(conv, bias, np.zeros(3), most=4) is None
    assert filters(conv, weight, np.zeros((3, 2, 3, 3)), most=4) is not None


def test_equal_values_give_equal_files(small: Graph) -> None:
    node, value = small.node("conv1"), np.arange(60.0).reshape(3, 4, 5)
    one, two = (feature_maps(node, value, most=3) for _ in range(2))
    assert one.png == two.png


def test_without_a_softmax_inside_a_block() -> None:
    network = graph(
        "cnnspec: 1\ninput: [4]\n"
        "define: {head: {layers: [{dense: {name: fc, units: 3}}, softmax]}}\n"
        "layers: [tanh, {head: {name: a}}]\n"
    )
    bare = logits(network, "output")
    assert bare.outputs[0].value.id == "a.fc"
    weights, sample = initial_weights(network), sample_of(network)
    with opened(bare, "torch", weights) as session:
        found = session.forward(sample.inputs)["output"]
    expected = np.tanh(sample.inputs["input"]) @ weights["a.fc.weight"].T
    np.testing.assert_allclose(found, expected, atol=1e-14)


# --- the page ----------------------------------------------------------------------------------


class Elements(HTMLParser):
    """Every element, and whether they close in order."""

    VOID = frozenset("meta link input img br".split())

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.texts: dict[str, str] = {}
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open:
            self.texts[self.open[-1]] = self.texts.get(self.open[-1], "") + data


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the command writes for one of the digits, whose file has a name that needs care."""
    folder = tmp_path_factory.mktemp("features")
    (folder / "net.yaml").write_text(SPECS["digits"].read_text())
    picture = folder / "<b>$x$ & \u00e9.png"
    Image.fromarray((np.random.default_rng(0).random((8, 8)) * 255).astype(np.uint8)).save(picture)
    assert (
        main(["init-weights", str(folder / "net.yaml"), "-o", str(folder / "weights.safetensors")])
        == 0
    )
    arguments = ["--data", "digits", "--layers", "conv*,fc2", "-o", str(folder / "out")]
    status = main(
        ["features", str(folder / "net.yaml"), "-w", str(folder), "-i", str(picture), *arguments]
    )
    assert status == 0
    return folder / "out"


def test_the_page_is_whole_and_asks_for_nothing(written: Path) -> None:
    text = (written / "index.html").read_text()
    elements = Elements(text)
    assert elements.open == []
    pictures = [a for tag, a in elements.found if tag == "img" and a.get("src")]
    files = sorted(written.glob("*.png"))
    assert len(pictures) == len(files) == 3 + 2 * 3
    for attributes, file in zip(pictures, files, strict=True):
        kind, _, data = str(attributes["src"]).partition(",")
        assert kind == "data:image/png;base64"
        assert base64.b64decode(data, validate=True) == file.read_bytes()
        assert attributes["alt"]
    assert not [a for _, a in elements.found if {"srcset", "action", "background"} & set(a)]
    links = [a.get("href") or a.get("src") or "" for _, a in elements.found]
    assert all(link.startswith(("data:", "#")) for link in links if link)
    assert not re.search(r"url\(|@import|fetch\(|XMLHttp|https?:", text)
    targets = {a["id"] for _, a in elements.found if "id" in a}
    assert {a["data-target"] for _, a in elements.found if "data-target" in a} <= targets
    assert "<b>$x$" not in text
    assert "&lt;b&gt;$x$ &amp; \u00e9.png" in text


def test_the_script_parses(written: Path, tmp_path: Path) -> None:
    node = shutil.which("node")
    script = Elements((written / "index.html").read_text()).texts["script"]
    assert "showModal" in script
    if node is None:
        pytest.skip("there is no node to parse it")
    (tmp_path / "page.js").write_text(script)
    subprocess.run([node, "--check", str(tmp_path / "page.js")], check=True, timeout=60)


@pytest.mark.nightly
def test_in_a_browser(written: Path, tmp_path: Path) -> None:
    """No console errors, every picture decoded, the filter hides what it should."""
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if browser is None:
        pytest.skip("there is no browser")
    probe = """<script>
      addEventListener("load", () => {
        const all = Array.from(document.querySelectorAll("figure img"));
        filter.value = "CONV1"; filter.dispatchEvent(new Event("input"));
        all[0].click();
        document.title = JSON.stringify([all.length,
          all.every(i => i.complete && i.naturalWidth > 300),
          document.querySelectorAll("section:not([hidden])").length, zoom.open]);
      });
    </script></body>"""
    text = (written / "index.html").read_text().replace("</body>", probe)
    (tmp_path / "page.html").write_text(text)
    done = subprocess.run(
        [
            browser,
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--enable-logging=stderr",
            "--virtual-time-budget=5000",
            "--dump-dom",
            f"file://{tmp_path / 'page.html'}",
        ],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    assert "CONSOLE" not in done.stderr
    assert "<title>[9,true,1,true]</title>" in done.stdout


# --- the command -------------------------------------------------------------------------------


def test_into_a_directory_that_is_used(written: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = written.parent
    arguments = [
        "features",
        str(folder / "net.yaml"),
        "-w",
        str(folder),
        "--sample",
        "0",
        "--layers",
        "conv1",
        "--no-saliency",
        "--no-occlusion",
        "-o",
    ]
    assert main([*arguments, str(written)]) == 2
    assert "error[directory-in-use]" in capsys.readouterr().err
    (folder / "other").mkdir()
    (folder / "other" / "007_old.png").write_bytes(b"")
    (folder / "other" / "mine.png").write_bytes(b"")
    assert main([*arguments, str(folder / "other"), "--force"]) == 0
    said = capsys.readouterr().err
    assert "note: labelled 0" in said
    names = sorted(path.name for path in (folder / "other").iterdir())
    assert names == [
        "000_input_input.png",
        "001_conv1_weight.png",
        "002_conv1_maps.png",
        "index.html",
        "mine.png",
    ]


def test_wrong_use(written: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = written.parent
    start = ["features", str(folder / "net.yaml"), "-w", str(folder), "-o", str(tmp_path / "o")]
    cases = {
        "either --image or --sample": [],
        "two numbers": ["--sample", "0", "--rescale", "1"],
        "not numbers": ["--sample", "0", "--mean", "a"],
        "error[unknown-layer]": ["--sample", "0", "--layers", "nothing"],
        "error[unknown-class]": ["--sample", "0", "--class", "ten"],
        "error[unknown-sample]": ["--sample", "360"],
        "error[file-not-found]": ["-i", "none.png"],
    }
    for said, arguments in cases.items():
        assert main([*start, *arguments]) == 2
        assert said in capsys.readouterr().err
    assert not (tmp_path / "o").exists()
    arguments = ["--sample", "0", "--best"]
    assert main([*start, *arguments]) == 2
    assert "weights of the best epoch" in capsys.readouterr().err


def test_without_the_libraries(
    written: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder = written.parent
    start = ["features", str(folder / "net.yaml"), "-w", str(folder), "-o", str(tmp_path / "o")]
    monkeypatch.setitem(__import__("sys").modules, "PIL.Image", None)
    assert main([*start, "-i", "a.png"]) == 2
    assert "Pillow, which cannot be imported" in capsys.readouterr().err
    monkeypatch.setitem(__import__("sys").modules, "matplotlib.figure", None)
    assert main([*start, "--sample", "0"]) == 2
    assert "matplotlib, which cannot be imported" in capsys.readouterr().err
