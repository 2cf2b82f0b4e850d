"""What frameworks make of compiled files: graphs without a break, traced once, exported."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import cnnspec
from cnnspec.backends.base import Style
from cnnspec.backends.program import Program
from cnnspec.check import samples
from cnnspec.graph import Graph
from cnnspec.passes.reduce import reduce
from tests.networks import SPECS, Arrays, distance, graph_of

STYLES = {
    "plain": Style(),
    "reproducible": Style(random="counter"),
    "native": Style(layers="native"),
    "optimized": Style(),
}
WIDE = (
    "mini_resnet",
    "two_towers",
    "gallery_activations",
    "gallery_convolutions",
    "gallery_pool_norm",
    "gallery_shapes",
    "googlenet",
    "mobilenet_v3_small",
    "unet",
)
CHOSEN = ["digits", *(pytest.param(name, marks=pytest.mark.nightly) for name in WIDE)]


def network_of(name: str, style: str = "plain") -> Graph:
    """A network at its smallest size."""
    network = reduce(graph_of(SPECS[name]))
    return cnnspec.optimize(network) if style == "optimized" else network


def inputs_of(network: Graph, batch: int = 3) -> Arrays:
    return {n: v.astype(np.float32) for n, v in samples.inputs(network, 0, 0, batch).items()}


def several(outputs: Any) -> dict[str, Any]:
    return outputs if isinstance(outputs, dict) else {"output": outputs}


# --- torch ---------------------------------------------------------------------------------------


def module_of(network: Graph, style: str) -> Any:
    emitted = cnnspec.emit(network, "torch", style=STYLES[style])
    return getattr(Program(emitted.text, "torch").run(), emitted.entry)().eval()


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("name", CHOSEN)
def test_torch_compiles_it_as_one_graph(name: str, style: str) -> None:
    torch = pytest.importorskip("torch")
    network = network_of(name, style)
    module = module_of(network, style)
    given = [torch.from_numpy(value) for value in inputs_of(network).values()]
    for training in (False, True) if style != "optimized" else (False,):
        module.train(training)
        torch._dynamo.reset()
        # `fullgraph` makes a break an error; what is behind the graph is no matter of ours.
        outputs = several(torch.compile(module, fullgraph=True, backend="eager")(*given))
        if not training:
            for key, value in several(module(*given)).items():
                assert torch.equal(outputs[key], value)


@pytest.mark.parametrize("style", ["reproducible", "optimized"])
@pytest.mark.parametrize("name", CHOSEN)
def test_torch_exports_it(name: str, style: str, tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    network = network_of(name, style)
    module = module_of(network, style)
    given = tuple(torch.from_numpy(value) for value in inputs_of(network).values())
    torch._dynamo.reset()
    torch.export.save(torch.export.export(module, given), tmp_path / "net.pt2")
    exported = torch.export.load(tmp_path / "net.pt2").module()
    with torch.inference_mode():
        outputs = several(exported(*given))
        for key, value in several(module(*given)).items():
            assert distance(value.numpy(), outputs[key].numpy()) < 1e-5


@pytest.mark.parametrize("name", CHOSEN[:3])
def test_torch_runs_it_channels_last_and_in_bfloat16(name: str) -> None:
    torch = pytest.importorskip("torch")
    network = network_of(name, "optimized")
    module = module_of(network, "optimized")
    given = [torch.from_numpy(value) for value in inputs_of(network).values()]
    with torch.inference_mode():
        right = several(module(*given))
        last = [x.to(memory_format=torch.channels_last) if x.dim() == 4 else x for x in given]
        module.to(memory_format=torch.channels_last)
        for key, value in several(module(*last)).items():
            assert distance(right[key].numpy(), value.numpy()) < 1e-5
        with torch.autocast("cpu", torch.bfloat16):
            outputs = several(module(*last))
        for key, value in outputs.items():
            found = distance(right[key].numpy(), value.float().numpy())
            assert 0 < found < 0.1


# --- Keras ---------------------------------------------------------------------------------------


def model_of(network: Graph) -> Any:
    """A Keras model with weights that are nowhere constant."""
    weights = samples.weights(network, 0)
    return cnnspec.build(network, "keras", weights=weights, reproducible=True)


def last(values: Arrays) -> Any:
    """Channels last, as the Keras file takes them: an array, or several by name."""
    moved = {n: np.ascontiguousarray(np.moveaxis(value, 1, -1)) for n, value in values.items()}
    return moved if len(moved) > 1 else next(iter(moved.values()))


@pytest.mark.parametrize("name", CHOSEN)
def test_keras_is_compiled_by_xla_and_traced_once(name: str) -> None:
    tf = pytest.importorskip("tensorflow")
    network = network_of(name)
    model = model_of(network)
    traces = []

    def call(given: Any) -> Any:
        traces.append(given)
        return model(given, training=False)

    jitted = tf.function(call, jit_compile=True)
    for seed in range(3):
        given = last({n: v + seed for n, v in inputs_of(network).items()})
        outputs = several(jitted(tf.nest.map_structure(tf.constant, given)))
        plain = several(model(given, training=False))
        for key, value in plain.items():
            assert distance(np.asarray(value), np.asarray(outputs[key])) < 1e-4
    assert len(traces) == 1


def test_keras_predicts_with_one_trace() -> None:
    pytest.importorskip("tensorflow")
    network = network_of("mini_resnet")
    model = model_of(network)
    images = last(inputs_of(network, 8))
    for _ in range(3):
        model.predict(images, batch_size=4, verbose=0)
    assert model.predict_function.experimental_get_tracing_count() == 1


@pytest.mark.parametrize(
    "name", ["resnet18", pytest.param("mobilenet_v2", marks=pytest.mark.nightly)]
)
def test_keras_moves_no_axes_between_layers(name: str) -> None:
    tf = pytest.importorskip("tensorflow")
    network = network_of(name, "optimized")
    model = model_of(network)
    shape = last(inputs_of(network, 1)).shape
    graph = tf.function(lambda x: model(x, training=False)).get_concrete_function(
        tf.TensorSpec(shape, tf.float32)
    )
    assert not [op.name for op in graph.graph.get_operations() if op.type == "Transpose"]


@pytest.mark.parametrize("name", CHOSEN[:3])
def test_keras_exports_it(name: str, tmp_path: Path) -> None:
    tf = pytest.importorskip("tensorflow")
    network = network_of(name)
    model = model_of(network)
    given = last(inputs_of(network))
    model.export(tmp_path / "saved", verbose=False)
    loaded = tf.saved_model.load(str(tmp_path / "saved"))  # which holds the variables
    right = several(model(given, training=False))
    for key, value in several(loaded.serve(given)).items():
        assert distance(np.asarray(right[key]), np.asarray(value)) < 1e-5
