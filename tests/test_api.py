from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import cnnspec
from cnnspec.api import SpecWarning
from cnnspec.diagnostics import DataError, SetupError, SpecError

SPEC = """\
cnnspec: 1
name: small
input: [1, 5, 6]
layers:
  - conv: {name: conv1, filters: 2, kernel: 3}
  - relu
  - flatten
  - dense: {name: fc, units: 3}
"""


def test_load_takes_a_path_a_text_or_a_mapping(tmp_path: Path) -> None:
    import yaml

    path = tmp_path / "net.yaml"
    path.write_text(SPEC)
    plain = yaml.safe_load(SPEC)
    graphs = [cnnspec.load(source) for source in (path, str(path), SPEC, plain)]
    assert [graph.name for graph in graphs] == ["small"] * 4
    assert len({cnnspec.emit(graph, "torch").text for graph in graphs}) == 1


def test_load_reports_places() -> None:
    with pytest.raises(SpecError, match="<string>:5:") as error:
        cnnspec.load(SPEC.replace("kernel: 3", "kernel: 9"))
    assert error.value.exit_status == 1
    with pytest.raises(SpecError, match="<mapping>:"):
        cnnspec.load({"cnnspec": 1, "input": [3], "layers": ["rellu"]})
    with pytest.raises(SetupError, match=r"there is no file `missing\.yaml`"):
        cnnspec.load("missing.yaml")


def test_load_passes_warnings_on() -> None:
    spec = "cnnspec: 1\ninput: [1, 6, 6]\nlayers: [conv: {filters: 1, kernel: 3, stride: 2}]\n"
    with pytest.warns(SpecWarning, match="<string>:3:"):
        cnnspec.load(spec)


def test_emit() -> None:
    graph = cnnspec.load(SPEC)
    emitted = cnnspec.emit(graph, "torch")
    assert emitted.entry == "Small"
    compile(emitted.text, "small.py", "exec")
    assert cnnspec.emit(graph, "torch", style=cnnspec.Style()) == emitted
    with pytest.raises(SetupError, match="there is no backend `torhc`") as error:
        cnnspec.emit(graph, "torhc")
    assert error.value.diagnostics[0].help == "did you mean `torch`?"
    with pytest.raises(TypeError, match="either"):
        cnnspec.emit(graph, "torch", reproducible=True, style=cnnspec.Style())


def test_reproducible_changes_random_layers_only() -> None:
    dropout = SPEC.replace("  - relu\n", "  - dropout\n")
    for spec, same in ((SPEC, True), (dropout, False)):
        plain = cnnspec.emit(spec, "torch").text
        assert (cnnspec.emit(spec, "torch", reproducible=True).text == plain) is same


def test_build_torch(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    graph = cnnspec.load(SPEC)
    model = cnnspec.build(graph, "torch")
    assert isinstance(model, torch.nn.Module)
    weights = cnnspec.initial_weights(graph)
    state = {name: value.detach().numpy() for name, value in model.state_dict().items()}
    assert all(np.array_equal(state[n], w.astype(np.float32)) for n, w in weights.items())

    other = cnnspec.initial_weights(graph, seed=1)
    cnnspec.write_weights(tmp_path / "w", other)
    for given in (other, tmp_path / "w", str(tmp_path / "w")):
        model = cnnspec.build(SPEC, "torch", weights=given, dtype="float64")
        state = {name: value.detach().numpy() for name, value in model.state_dict().items()}
        assert all(np.array_equal(state[n], w) for n, w in other.items())

    with pytest.raises(DataError, match=r"there is no `fc\.bias`"):
        cnnspec.build(SPEC, "torch", weights={n: w for n, w in other.items() if n != "fc.bias"})


@pytest.mark.parametrize("backend", ["numpy", "torch", "keras"])
def test_all_builds_agree(backend: str) -> None:
    pytest.importorskip({"numpy": "numpy", "torch": "torch", "keras": "tensorflow"}[backend])
    x = np.random.default_rng(0).standard_normal((4, 1, 5, 6))
    model: Any = cnnspec.build(SPEC, backend, dtype="float64")
    if backend == "torch":
        import torch

        y = model(torch.tensor(x)).detach().numpy()
    elif backend == "keras":
        y = np.asarray(model(np.moveaxis(x, 1, -1)))
    else:
        y = model.forward(x)
        y = y[0] if isinstance(y, tuple) else y
    w = cnnspec.initial_weights(cnnspec.load(SPEC))
    windows = np.lib.stride_tricks.sliding_window_view(x[:, 0], (3, 3), axis=(1, 2))
    z = np.einsum("nhwij,oij->nohw", windows, w["conv1.weight"][:, 0])
    z = np.maximum(z + w["conv1.bias"][:, None, None], 0).reshape(4, -1)
    np.testing.assert_allclose(y, z @ w["fc.weight"].T + w["fc.bias"], rtol=0, atol=1e-13)


# --- the package itself ------------------------------------------------------------------------


def test_every_export_exists_and_is_documented() -> None:
    assert sorted(cnnspec._HOMES) == [n for n in cnnspec.__all__ if n != "__version__"]
    assert set(cnnspec.__all__) <= set(dir(cnnspec))
    for name in cnnspec.__all__:
        value = getattr(cnnspec, name)
        if name != "__version__":
            assert inspect.getdoc(value), name
        if inspect.isfunction(value):
            assert set(value.__annotations__) == {*inspect.signature(value).parameters, "return"}


def test_functions_are_not_hidden_by_the_modules_of_their_names() -> None:
    import importlib

    for name in ("build", "render"):
        module = importlib.import_module(f"cnnspec.{name}")
        assert inspect.isfunction(getattr(cnnspec, name))
        assert inspect.ismodule(module)
    from cnnspec.build import Built

    assert inspect.isclass(Built)


def test_unknown_names_are_attribute_errors() -> None:
    with pytest.raises(AttributeError, match="no attribute 'compile'"):
        _ = cnnspec.compile  # type: ignore[attr-defined]
