"""The file that a checkpoint is: equal bytes, every bit checked, and nothing believed."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cnnspec.train import checkpoint as checkpoints
from cnnspec.train.checkpoint import Checkpoint, Unusable, from_bytes, to_bytes
from cnnspec.train.metrics import Epoch
from cnnspec.train.store import Checkpoints

FINITE = st.floats(allow_nan=False, allow_infinity=False)


def made(**changes: Any) -> Checkpoint:
    rng = np.random.default_rng(0)
    fields: dict[str, Any] = {
        "epoch": 1,
        "update": 3,
        "loss_sum": 0.1 + 0.2,
        "history": (Epoch(1, 0.1, None, 2 / 3, 0.5, 1e-3, None, 1.0, {"test_loss.a": None}),),
        "weights": {"conv.weight": rng.normal(size=(2, 3)), "bias": np.zeros(2, np.float32)},
        "state": {"steps/conv.weight": np.array(7), "mean/bias": rng.normal(size=2)},
        "confusion": {"a": np.array([[1, 2], [0, 3]])},
        "identity": {"spec": "name: ü\n", "seed": "0"},
        "surroundings": {"python": "3"},
    }
    return Checkpoint(**{**fields, **changes})


DATA = to_bytes(made())


def same(found: Checkpoint, expected: Checkpoint) -> bool:
    plain = ("epoch", "update", "loss_sum", "history", "identity", "surroundings")
    arrays = ("weights", "state", "confusion")

    def bits(entries: Any) -> dict[str, Any]:
        return {n: (a.dtype, a.shape, a.tobytes()) for n, a in entries.items()}

    return all(getattr(found, n) == getattr(expected, n) for n in plain) and all(
        bits(getattr(found, n)) == bits(getattr(expected, n)) for n in arrays
    )


def test_reads_what_it_wrote() -> None:
    assert same(from_bytes(DATA), made())
    assert to_bytes(from_bytes(DATA)) == DATA == to_bytes(made())


@given(st.lists(FINITE, min_size=4, max_size=4), FINITE)
def test_every_number_is_exact(row: list[float], loss: float) -> None:
    one = made(history=(Epoch(1, row[0], row[1], row[2], row[3], row[0]),), loss_sum=loss)
    assert same(from_bytes(to_bytes(one)), one)


def test_every_flipped_bit_is_found() -> None:
    for position in range(len(DATA)):
        for bit in (0, 5) if position > 8 else range(8):
            data = bytearray(DATA)
            data[position] ^= 1 << bit
            with pytest.raises(Unusable):
                from_bytes(bytes(data))


@given(st.integers(0, len(DATA) - 1))
def test_every_truncation_is_found(length: int) -> None:
    with pytest.raises(Unusable):
        from_bytes(DATA[:length])


@given(st.binary(max_size=300))
def test_anything_else_is_refused(data: bytes) -> None:
    for content in (data, DATA + data[:1] if data else b"", struct.pack("<Q", len(data)) + data):
        with pytest.raises(Unusable):
            from_bytes(content)


# --- files with a checksum that is right, and a content that is not -------------------------------


def rewritten(change: Callable[[dict[str, Any]], object], **arrays: Any) -> bytes:
    """A checkpoint whose record was changed by somebody who knows how the checksum is made."""
    from safetensors.numpy import save

    found, metadata = checkpoints._parts(DATA)
    record = json.loads(metadata[checkpoints.ENTRY].partition(" ")[2])
    text = change(record)
    text = text if isinstance(text, str) else json.dumps(record)
    entries = {**found, **arrays}
    entry = f"{checkpoints._checksum(text, entries)} {text}"
    data: bytes = save(entries, {checkpoints.ENTRY: entry})
    return data


CRAFTED: dict[str, tuple[Callable[[dict[str, Any]], object], str]] = {
    "another format": (lambda r: r.update(format=2), "it has format 2"),
    "negative": (lambda r: r.update(epoch=-1), "wrong at `epoch`"),
    "a float": (lambda r: r.update(update=1.5), "wrong at `update`"),
    "a string": (lambda r: r.update(loss_sum="1"), "wrong at `loss_sum`"),
    "an epoch too many": (lambda r: r.update(epoch=10**30), "history is not that of its epochs"),
    "no history": (lambda r: r.update(history=[]), "history is not that of its epochs"),
    "more": (lambda r: r.update(more=1), "wrong at `more`"),
    "less": (lambda r: r.pop("identity"), "wrong at `identity`"),
    "not a number": (lambda r: json.dumps({**r, "loss_sum": float("nan")}), "at `loss_sum`"),
    "an array": (lambda r: "[]", "cannot be read"),
    "no JSON": (lambda r: "{", "cannot be read"),
    "deep": (lambda r: '{"format":' * 100_000, "cannot be read"),
    "long": (lambda r: '{"format": ' + "9" * 10_000 + "}", "cannot be read"),
}


@pytest.mark.parametrize("name", CRAFTED)
def test_crafted_records(name: str) -> None:
    change, message = CRAFTED[name]
    with pytest.raises(Unusable, match=message):
        from_bytes(rewritten(change))


def test_crafted_arrays() -> None:
    assert same(from_bytes(rewritten(lambda r: None)), made())  # the way in works
    with pytest.raises(Unusable, match="no matrix of counts"):
        from_bytes(rewritten(lambda r: None, **{"confusion/a": np.zeros((2, 3), np.int64)}))
    with pytest.raises(Unusable, match="has an entry `code/x`"):
        from_bytes(rewritten(lambda r: None, **{"code/x": np.zeros(1)}))
    with pytest.raises(Unusable, match="has type bool"):
        from_bytes(rewritten(lambda r: None, **{"state/x": np.zeros(1, np.bool_)}))


def test_weights_are_no_checkpoint() -> None:
    from safetensors.numpy import save

    with pytest.raises(Unusable, match="it is no checkpoint"):
        from_bytes(save({"conv.weight": np.zeros(3)}))


# --- the two files -------------------------------------------------------------------------------


def test_last_and_previous(tmp_path: Path) -> None:
    store = Checkpoints(tmp_path / "new")
    assert store.load() is None
    for update in (1, 2, 3):
        store.save(made(update=update))
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == [
        "last.safetensors",
        "previous.safetensors",
    ]
    again = Checkpoints(tmp_path / "new")
    found = again.load()
    assert found is not None
    assert (found[0].update, found[1].name, again.remarks) == (3, "last.safetensors", [])
    found[1].unlink()
    found = again.load()
    assert found is not None
    assert (found[0].update, found[1].name) == (2, "previous.safetensors")


def test_a_file_system_without_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr("os.link", refuse)
    test_last_and_previous(tmp_path)


def test_what_is_no_file_is_not_waited_for(tmp_path: Path) -> None:
    import os

    store = Checkpoints(tmp_path)
    store.save(made(update=1))
    store.save(made(update=2))
    (tmp_path / "last.safetensors").unlink()
    os.mkfifo(tmp_path / "last.safetensors")
    found = store.load()
    assert found is not None
    assert found[0].update == 1
    (remark,) = store.remarks
    assert (remark.code, remark.severity) == ("checkpoint-corrupt", "warning")
    assert remark.message.endswith("cannot be used: it is no file")
