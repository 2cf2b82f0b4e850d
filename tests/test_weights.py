from __future__ import annotations

import json
import os
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cnnspec import weights as weights_module
from cnnspec.api import load
from cnnspec.diagnostics import DataError, SetupError, UserError
from cnnspec.graph import Graph
from cnnspec.initializers import initial_weights
from cnnspec.weights import fit, read_weights, write_weights

SPEC = """\
cnnspec: 1
input: [2, 6, 6]
layers:
  - conv: {name: conv1, filters: 4, kernel: 3, bias: false}
  - batch_norm: {name: bn1}
  - flatten
  - dense: {name: fc, units: 3}
"""


@pytest.fixture(scope="module")
def graph() -> Graph:
    return load(SPEC)


@pytest.fixture
def stored(graph: Graph, tmp_path: Path) -> Path:
    path = tmp_path / "net.safetensors"
    write_weights(path, initial_weights(graph))
    return path


def raw(path: Path, header: Any, data: bytes = b"", length: int | None = None) -> Path:
    """A safetensors file by hand, right or wrong."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text) if length is None else length) + text + data)
    return path


def codes(error: pytest.ExceptionInfo[Any]) -> list[str]:
    return [diagnostic.code for diagnostic in error.value.diagnostics]


# --- round trips -------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.float16])
def test_round_trip(graph: Graph, tmp_path: Path, dtype: type[np.floating[Any]]) -> None:
    weights = {name: value.astype(dtype) for name, value in initial_weights(graph).items()}
    write_weights(tmp_path / "a", weights)
    found = read_weights(tmp_path / "a", graph)
    assert list(found) == list(graph.params())
    for name, value in found.items():
        assert value.dtype == dtype
        assert np.array_equal(value, weights[name])
        assert value.flags.writeable


def test_any_memory_order_is_written(graph: Graph, tmp_path: Path) -> None:
    weights = initial_weights(graph)
    write_weights(tmp_path / "a", {name: np.asfortranarray(w) for name, w in weights.items()})
    found = read_weights(tmp_path / "a", graph)
    assert all(np.array_equal(found[name], weights[name]) for name in weights)


def test_same_weights_same_bytes(graph: Graph, tmp_path: Path) -> None:
    weights = initial_weights(graph)
    write_weights(tmp_path / "a", weights)
    write_weights(tmp_path / "b", dict(reversed(weights.items())))
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_torch_reads_and_writes_them(graph: Graph, stored: Path, tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    from safetensors.torch import load_file, save_file

    state = load_file(stored)
    weights = initial_weights(graph)
    assert all(np.array_equal(state[name].numpy(), weights[name]) for name in weights)
    state["bn1.num_batches_tracked"] = torch.tensor(7)
    half = {
        name: value.to(torch.bfloat16) if value.is_floating_point() else value
        for name, value in state.items()
    }
    save_file(half, tmp_path / "half")
    found = read_weights(tmp_path / "half", graph)
    assert list(found) == list(weights)
    for name, value in found.items():
        assert value.dtype == np.float32
        assert np.array_equal(value, half[name].to(torch.float32).numpy())


def test_bfloat16_includes_every_finite_value(tmp_path: Path) -> None:
    graph = load("cnnspec: 1\ninput: [255]\nlayers: [dense: {name: fc, units: 255, bias: false}]\n")
    # Every finite bit pattern once: 2^16 less the 256 with all exponent bits set, less 255 more.
    bits = np.arange(2**16, dtype=np.uint16)
    finite = bits[(bits >> 7) & 0xFF != 0xFF][: 255 * 255]
    header = {"fc.weight": {"dtype": "BF16", "shape": [255, 255], "data_offsets": [0, 255 * 510]}}
    found = read_weights(raw(tmp_path / "a", header, finite.tobytes()), graph)["fc.weight"]
    assert np.array_equal(found.view(np.uint32).ravel() >> 16, finite)


# --- files that are none -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "expected"),
    [("missing", "file-not-found"), (".", "is-a-directory"), ("a\0b", "file-unreadable")],
)
def test_no_file(
    graph: Graph, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, expected: str
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SetupError) as error:
        read_weights(name, graph)
    assert codes(error) == [expected]
    assert error.value.exit_status == 2


def test_no_read_right(graph: Graph, stored: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Root may read everything, so the refusal is played.
    def refuse(*args: object) -> None:
        raise PermissionError(13, "Permission denied", str(stored))

    monkeypatch.setattr("builtins.open", refuse)
    with pytest.raises(SetupError, match="cannot be read: permission denied") as error:
        read_weights(stored, graph)
    assert codes(error) == ["file-unreadable"]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"abc",
        b"cnnspec: 1\nlayers: [relu]\n",
        struct.pack("<Q", 2**63) + b"{}",
        struct.pack("<Q", 50_000_000) + b"{}",
        struct.pack("<Q", 2) + b"{]",
        struct.pack("<Q", 100_000) + b"[" * 100_000,
        struct.pack("<Q", 2) + b"{}" + b"tail",
        b"\x80\x04\x95" + bytes(100),
        b"PK\x03\x04" + bytes(100),
    ],
)
def test_no_safetensors_file(graph: Graph, tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a"
    path.write_bytes(content)
    with pytest.raises(DataError, match="is not a safetensors file") as error:
        read_weights(path, graph)
    assert codes(error) == ["weights-format"]
    assert error.value.exit_status == 1


@pytest.mark.parametrize("cut", [1, 8, 500])
def test_truncated(graph: Graph, stored: Path, cut: int) -> None:
    stored.write_bytes(stored.read_bytes()[:-cut])
    with pytest.raises(DataError, match="or only a part of one") as error:
        read_weights(stored, graph)
    assert codes(error) == ["weights-format"]


@given(st.data())
def test_damage_is_found_or_harmless(data: st.DataObject) -> None:
    """Any one byte changed gives a UserError or weights of the right form, never a traceback."""
    import tempfile

    graph = load(SPEC)
    with tempfile.TemporaryDirectory() as place:
        path = Path(place) / "a"
        write_weights(path, initial_weights(graph))
        content = bytearray(path.read_bytes())
        at = data.draw(st.integers(0, 700))
        content[at] = data.draw(st.integers(0, 255))
        path.write_bytes(content)
        try:
            found = read_weights(path, graph)
        except UserError:
            return
        assert {n: v.shape for n, v in found.items()} == {
            n: p.shape for n, p in graph.params().items()
        }
        assert all(np.isfinite(value).all() for value in found.values())


# --- weights that do not fit -------------------------------------------------------------------


def test_all_faults_are_reported(graph: Graph, tmp_path: Path) -> None:
    weights: dict[str, Any] = dict(initial_weights(graph))
    weights["fc.wieght"] = weights.pop("fc.weight")
    weights["conv1.weight"] = weights["conv1.weight"].reshape(2, 4, 3, 3)
    del weights["bn1.running_var"]
    write_weights(tmp_path / "a", weights)
    with pytest.raises(DataError) as error:
        read_weights(tmp_path / "a", graph)
    assert codes(error) == ["weight-unexpected", "weight-missing", "weight-missing", "weight-shape"]
    unexpected, running_var, fc, shape = error.value.diagnostics
    assert unexpected.help == "did you mean `fc.weight`?"
    assert str(tmp_path / "a") in unexpected.message
    assert "`bn1.running_var`" in running_var.message
    assert "`fc.weight`" in fc.message
    assert "has shape [2, 4, 3, 3], and the network needs [4, 2, 3, 3]" in shape.message
    (label,) = shape.secondary
    assert (label.span.line, label.span.column) == (4, 5)


def test_wrong_type(graph: Graph, tmp_path: Path) -> None:
    from safetensors.numpy import save_file

    weights: dict[str, Any] = dict(initial_weights(graph))
    weights["fc.bias"] = weights["fc.bias"].astype(np.int64)
    save_file(weights, tmp_path / "a")
    with pytest.raises(DataError, match=r"`fc\.bias` has type i64") as error:
        read_weights(tmp_path / "a", graph)
    assert codes(error) == ["weight-dtype"]
    with pytest.raises(DataError, match=r"the weights: `fc\.bias` has type int64"):
        fit(weights, graph)
    with pytest.raises(TypeError, match=r"fc\.bias is int64"):
        write_weights(tmp_path / "b", weights)
    assert os.listdir(tmp_path) == ["a"]


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_not_finite(graph: Graph, tmp_path: Path, value: float) -> None:
    weights = initial_weights(graph)
    weights["conv1.weight"][1, 0, 2, 1:] = value
    write_weights(tmp_path / "a", weights)
    with pytest.raises(DataError) as error:
        read_weights(tmp_path / "a", graph)
    (fault,) = error.value.diagnostics
    assert fault.code == "weight-not-finite"
    assert f"`conv1.weight` is {value} at index [1, 0, 2, 1]" in fault.message
    assert fault.notes == ("2 of its 72 values are not finite",)


def test_a_long_list_is_cut(monkeypatch: pytest.MonkeyPatch, graph: Graph) -> None:
    monkeypatch.setattr(weights_module, "MOST_REPORTED", 2)
    with pytest.raises(DataError) as error:
        fit({f"x{i}": np.zeros(1) for i in range(9)}, graph)
    assert codes(error) == ["weight-unexpected"] * 2 + ["weight-missing"] * 2
    assert error.value.diagnostics[1].notes == ("and 7 more of this kind",)
    assert error.value.diagnostics[3].notes == ("and 5 more of this kind",)


def test_fit_takes_arrays(graph: Graph) -> None:
    weights = initial_weights(graph)
    found = fit(dict(reversed(weights.items())), graph)
    assert list(found) == list(graph.params())
    assert found["fc.bias"] is weights["fc.bias"]


def test_writing_does_not_overwrite(graph: Graph, stored: Path) -> None:
    before = stored.read_bytes()
    with pytest.raises(SetupError, match="exists already"):
        write_weights(stored, {})
    assert stored.read_bytes() == before
    write_weights(stored, {}, force=True)
    assert stored.read_bytes() != before
