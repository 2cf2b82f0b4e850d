"""Models of emitted files, saved and loaded as each framework's users do."""

from __future__ import annotations

import copy
import importlib.util
import pickle
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cnnspec import backends
from cnnspec.backends.base import Emitted
from cnnspec.diagnostics import DataError
from cnnspec.graph import Graph
from cnnspec.weights import read_weights, write_weights
from tests.networks import SPECS, STYLES, Arrays, data, distance, graph_of

CHOSEN = ("digits", "lenet_modern", "two_towers", "named_sequence", "asymmetric")
every_spec = pytest.mark.parametrize("spec", CHOSEN)


class File:
    """An emitted file, written to disk and imported from there."""

    def __init__(self, spec: str, backend: str, place: Path) -> None:
        self.graph: Graph = graph_of(SPECS[spec])
        self.emitted: Emitted = backends.get(backend).emit(self.graph, STYLES["reproducible"])
        self.name = f"roundtrip_{backend}_{spec}"
        path = place / f"{self.name}.py"
        path.write_text(self.emitted.text, encoding="utf-8")
        found = importlib.util.spec_from_file_location(self.name, path)
        assert found is not None
        assert found.loader is not None
        self.module: Any = importlib.util.module_from_spec(found)
        sys.modules[self.name] = self.module
        found.loader.exec_module(self.module)
        self.weights_values, self.inputs, self.targets = data(self.graph)
        self.weights = place / f"{self.name}.safetensors"
        write_weights(self.weights, self.weights_values)

    def make(self) -> Any:
        return getattr(self.module, self.emitted.entry)()


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Path]:
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        if name.startswith("roundtrip_"):
            del sys.modules[name]


def same(a: dict[str, Any], b: dict[str, Any], bound: float = 0.0) -> None:
    assert a.keys() == b.keys()
    for name, value in a.items():
        assert distance(np.asarray(value), np.asarray(b[name])) <= bound, name


# --- PyTorch -----------------------------------------------------------------------------------


def torch_outputs(file: File, model: Any) -> Arrays:
    import torch

    dtype = next(model.parameters()).dtype
    model.eval()
    with torch.no_grad():
        found = model(*(torch.from_numpy(v).to(dtype) for v in file.inputs.values()))
    return {k: v.numpy() for k, v in (found if isinstance(found, dict) else {"": found}).items()}


@every_spec
def test_torch(spec: str, place: Path) -> None:
    torch = pytest.importorskip("torch")
    from safetensors.torch import load_file

    file = File(spec, "torch", place)
    model = file.make().double()
    # Plain load_state_dict, strict, no renaming.
    model.load_state_dict(load_file(file.weights), strict=True)
    wanted = torch_outputs(file, model)

    torch.save(model.state_dict(), place / "state.pt")
    loaded = file.make().double()
    loaded.load_state_dict(torch.load(place / "state.pt", weights_only=True))
    same(wanted, torch_outputs(file, loaded))

    same(wanted, torch_outputs(file, copy.deepcopy(model)))
    same(wanted, torch_outputs(file, pickle.loads(pickle.dumps(model))))  # noqa: S301 - made a moment ago
    torch.save(model, place / "model.pt")
    same(wanted, torch_outputs(file, torch.load(place / "model.pt", weights_only=False)))

    loaded = file.make().to(torch.device("cpu")).to(torch.float64)
    loaded.load_weights(file.weights)
    same(wanted, torch_outputs(file, loaded))
    assert all(p.dtype == torch.float64 for p in loaded.parameters())
    single = torch_outputs(file, copy.deepcopy(model).float())
    assert {v.dtype for v in single.values()} == {np.dtype(np.float32)}
    same(wanted, single, 1e-3)

    model.save_weights(place / "after.safetensors")
    same(file.weights_values, read_weights(place / "after.safetensors", file.graph))


@every_spec
def test_torch_on_the_meta_device(spec: str, place: Path) -> None:
    torch = pytest.importorskip("torch")
    file = File(spec, "torch", place)
    with torch.device("meta"):
        model = file.make()
    assert all(p.device.type == "meta" for p in model.parameters())
    real = model.to_empty(device="cpu").double()
    real.load_weights(file.weights)
    other = file.make().double()
    other.load_weights(file.weights)
    same(torch_outputs(file, other), torch_outputs(file, real))


@every_spec
def test_torch_copies_share_nothing_with_the_original(spec: str, place: Path) -> None:
    torch = pytest.importorskip("torch")
    file = File(spec, "torch", place)
    model = file.make().double()
    model.load_weights(file.weights)
    wanted = torch_outputs(file, model)
    other = copy.deepcopy(model)
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.add_(1.0)
    same(wanted, torch_outputs(file, model))
    # A shared layer is still shared in the copy.
    assert len(list(other.parameters())) == len(list(model.parameters()))


# --- NumPy -------------------------------------------------------------------------------------


def numpy_outputs(file: File, model: Any) -> Arrays:
    found, _ = model.forward(*file.inputs.values())
    return dict(found) if isinstance(found, dict) else {"": found}


@every_spec
def test_numpy(spec: str, place: Path) -> None:
    file = File(spec, "numpy", place)
    model = file.make().astype(np.float64)
    model.load_weights(file.weights)
    wanted = numpy_outputs(file, model)
    assert {v.dtype for v in wanted.values()} == {np.dtype(np.float64)}

    same(wanted, numpy_outputs(file, pickle.loads(pickle.dumps(model))))  # noqa: S301 - made a moment ago
    other = copy.deepcopy(model)
    same(wanted, numpy_outputs(file, other))
    for array in other.parameters().values():
        np.add(array, 1.0, out=array)
    same(wanted, numpy_outputs(file, model))
    assert list(other.parameters()) == list(model.parameters())

    model.save_weights(place / "after.safetensors")
    same(file.weights_values, read_weights(place / "after.safetensors", file.graph))
    with pytest.raises(ValueError, match="missing"):
        model.load_state({})


# --- Keras -------------------------------------------------------------------------------------


def keras_outputs(file: File, model: Any) -> Arrays:
    given = {k: np.moveaxis(v, 1, -1) if v.ndim > 2 else v for k, v in file.inputs.items()}
    found = model(given if len(given) > 1 else next(iter(given.values())), training=False)
    named = found if isinstance(found, dict) else {"": found}
    return {k: np.asarray(v) for k, v in named.items()}


@pytest.fixture
def double() -> Iterator[None]:
    pytest.importorskip("tensorflow")
    import keras

    floatx, policy = keras.config.floatx(), keras.config.dtype_policy()
    keras.config.set_floatx("float64")
    keras.config.set_dtype_policy("float64")
    yield
    keras.config.set_floatx(floatx)
    keras.config.set_dtype_policy(policy)


@every_spec
@pytest.mark.usefixtures("double")
@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # Keras' own
def test_keras(spec: str, place: Path) -> None:
    import keras

    file = File(spec, "keras", place)
    model = file.make()
    file.module.load_weights(model, file.weights)
    wanted = keras_outputs(file, model)

    model.save(place / "model.keras")
    # Helpers are registered, so nothing has to be named here.
    same(wanted, keras_outputs(file, keras.models.load_model(place / "model.keras")))
    clone = keras.models.clone_model(model)
    clone.set_weights(model.get_weights())
    same(wanted, keras_outputs(file, clone))
    model.save_weights(place / "model.weights.h5")
    other = file.make()
    other.load_weights(place / "model.weights.h5")
    same(wanted, keras_outputs(file, other))

    file.module.save_weights(model, place / "after.safetensors")
    same(file.weights_values, read_weights(place / "after.safetensors", file.graph))


@pytest.mark.usefixtures("double")
@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # Keras' own
def test_keras_with_its_compilation(place: Path) -> None:
    import keras

    file = File("digits", "keras", place)
    model = file.make()
    file.module.load_weights(model, file.weights)
    trained = file.module.logits_model(model)
    file.module.compile_model(trained, run_eagerly=True)
    inputs = np.moveaxis(file.inputs["input"], 1, -1)
    targets = file.targets["output"]
    file.module.train_step(trained, inputs, targets, 0, 2)
    trained.save(place / "model.keras")
    loaded = keras.models.load_model(place / "model.keras")
    loaded.run_eagerly = True
    losses = [file.module.train_step(m, inputs, targets, 1, 2) for m in (trained, loaded)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-12)


# --- trained outside ---------------------------------------------------------------------------


def test_weights_trained_by_the_file_alone_come_back(place: Path) -> None:
    torch = pytest.importorskip("torch")
    torch_file = File("digits", "torch", place)
    model = torch_file.make().double()
    model.load_weights(torch_file.weights)
    optimizer = torch_file.module.make_optimizer(model)
    inputs = torch.from_numpy(torch_file.inputs["input"])
    targets = torch.from_numpy(torch_file.targets["output"])
    for update in range(3):
        torch_file.module.train_step(model, optimizer, inputs, targets, update, 2)
    model.save_weights(place / "trained.safetensors")

    weights = read_weights(place / "trained.safetensors", torch_file.graph)
    assert any(not np.array_equal(weights[n], v) for n, v in torch_file.weights_values.items())
    wanted = torch_outputs(torch_file, model)
    numpy_file = File("digits", "numpy", place)
    other = numpy_file.make().astype(np.float64)
    other.load_weights(place / "trained.safetensors")
    same(wanted, numpy_outputs(numpy_file, other), 1e-12)

    chosen = backends.get("numpy")
    session = chosen.open(numpy_file.emitted)
    session.assign(weights)
    same(wanted, {"": session.forward(numpy_file.inputs)["output"]}, 1e-12)
    session.close()


def test_weights_of_another_network_do_not(place: Path) -> None:
    file = File("digits", "numpy", place)
    with pytest.raises(DataError):
        read_weights(file.weights, graph_of(SPECS["lenet_modern"]))
