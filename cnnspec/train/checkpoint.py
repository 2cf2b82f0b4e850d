"""A moment of a run, from which it can go on, as one safetensors file.

The file is untrusted input: nothing in it is executed, and nothing is used before its checksum,
names, types and numbers have been found right.
"""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, NonNegativeInt, ValidationError

from cnnspec.data.dataset import Array
from cnnspec.train.metrics import FIELDS, Epoch

__all__ = ["Checkpoint", "Unusable", "from_bytes", "to_bytes"]

FORMAT = 1
ENTRY = "checkpoint"
DTYPES = {"F64": "float64", "F32": "float32", "F16": "float16", "I64": "int64", "I32": "int32"}
"""What a checkpoint may hold."""


class Unusable(Exception):
    """Bytes that are no whole checkpoint; the message says why."""


@dataclass(frozen=True, slots=True, eq=False)
class Checkpoint:
    """Everything that a run needs to go on as if nothing had happened.

    Attributes:
        epoch: complete epochs.
        update: updates of the epoch after these.
        loss_sum: of those updates, the sum of each one's loss times its samples.
        history: the metrics of the complete epochs.
        weights: by canonical name, in canonical layout.
        state: see `Session.state`.
        confusion: by output, after the last complete epoch; see `OutputScore`.
        identity: what the run is; see `cnnspec.train.identity`.
        surroundings: where it ran.
    """

    epoch: int
    update: int
    loss_sum: float
    history: tuple[Epoch, ...]
    weights: Mapping[str, Array]
    state: Mapping[str, Array]
    confusion: Mapping[str, Array] = field(default_factory=dict)
    identity: Mapping[str, str] = field(default_factory=dict)
    surroundings: Mapping[str, str] = field(default_factory=dict)


class _Row(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False)

    epoch: int
    train_loss: float
    train_accuracy: float | None
    test_loss: float
    test_accuracy: float | None
    learning_rate: float
    train_top5: float | None
    test_top5: float | None
    outputs: dict[str, float | None]


class _Record(BaseModel):
    """What a checkpoint has besides arrays."""

    model_config = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False)

    format: Literal[1]
    epoch: NonNegativeInt
    update: NonNegativeInt
    loss_sum: float
    history: list[_Row]
    identity: dict[str, str]
    surroundings: dict[str, str]


def to_bytes(checkpoint: Checkpoint) -> bytes:
    """The file; the same bytes for the same checkpoint."""
    from safetensors.numpy import save

    groups = {
        "weights": checkpoint.weights,
        "state": checkpoint.state,
        "confusion": checkpoint.confusion,
    }
    arrays = {
        f"{group}/{name}": np.ascontiguousarray(array).reshape(array.shape)
        for group, entries in groups.items()
        for name, array in entries.items()
    }
    record = json.dumps(
        {
            "format": FORMAT,
            "epoch": checkpoint.epoch,
            "update": checkpoint.update,
            "loss_sum": checkpoint.loss_sum,
            "history": [
                {name: getattr(row, name) for name in FIELDS} | {"outputs": dict(row.outputs)}
                for row in checkpoint.history
            ],
            "identity": dict(checkpoint.identity),
            "surroundings": dict(checkpoint.surroundings),
        },
        allow_nan=False,
    )
    # One entry: several would be written in an order of chance.
    data: bytes = save(arrays, {ENTRY: f"{_checksum(record, arrays)} {record}"})
    return data


def from_bytes(data: bytes) -> Checkpoint:
    """Read a file.

    Raises:
        Unusable: it is not exactly what `to_bytes` has written.
    """
    arrays, metadata = _parts(data)
    if ENTRY not in metadata:
        raise Unusable("it is no checkpoint")
    checksum, _, text = metadata[ENTRY].partition(" ")
    if _checksum(text, arrays) != checksum:
        raise Unusable("its checksum is not that of its content")
    record = _record(text)
    groups: dict[str, dict[str, Array]] = {"weights": {}, "state": {}, "confusion": {}}
    for key, array in arrays.items():
        group, _, name = key.partition("/")
        if group not in groups:
            raise Unusable(f"it has an entry `{key}`")
        groups[group][name] = array
    for name, matrix in groups["confusion"].items():
        if matrix.dtype != np.int64 or matrix.ndim != 2 or len(set(matrix.shape)) != 1:
            raise Unusable(f"its `confusion/{name}` is no matrix of counts")
    numbers = list(range(1, len(record.history) + 1))
    if record.epoch != len(numbers) or [row.epoch for row in record.history] != numbers:
        raise Unusable("its history is not that of its epochs")
    return Checkpoint(
        record.epoch,
        record.update,
        record.loss_sum,
        tuple(Epoch(**row.model_dump()) for row in record.history),
        groups["weights"],
        groups["state"],
        groups["confusion"],
        record.identity,
        record.surroundings,
    )


def _record(text: str) -> _Record:
    try:
        version = json.loads(text).get("format")
        if version != FORMAT:
            raise Unusable(f"it has format {version!r}, and this version of cnnspec reads {FORMAT}")
        return _Record.model_validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise Unusable(f"its record is wrong at `{place}`: {first['msg'].lower()}") from None
    except (ValueError, AttributeError, RecursionError):
        raise Unusable("its record cannot be read") from None


def _parts(data: bytes) -> tuple[dict[str, Array], dict[str, str]]:
    """Arrays and metadata; the library has found the header well-formed and within the file."""
    import safetensors

    read: Callable[[bytes], list[tuple[str, dict[str, Any]]]] = safetensors.deserialize
    try:
        found = read(data)
        (length,) = struct.unpack("<Q", data[:8])
        metadata = json.loads(data[8 : 8 + length]).get("__metadata__") or {}
    except (safetensors.SafetensorError, ValueError, RecursionError) as error:
        fault = str(error).removeprefix("Error while deserializing header: ")
        raise Unusable(f"it is not a safetensors file, or only a part of one: {fault}") from None
    arrays = {}
    for name, entry in found:
        kind = DTYPES.get(entry["dtype"])
        if kind is None:
            raise Unusable(f"`{name}` has type {entry['dtype'].lower()}")
        little = np.frombuffer(entry["data"], np.dtype(kind).newbyteorder("<"))
        arrays[name] = little.astype(kind).reshape(entry["shape"])
    return arrays, metadata


def _checksum(record: str, arrays: Mapping[str, Array]) -> str:
    """Over everything that is in the file, whatever the order in which it stands there."""
    digest = hashlib.blake2b(record.encode(), digest_size=32)
    for name, array in sorted(arrays.items()):
        little: np.ndarray[Any, Any] = array.astype(array.dtype.newbyteorder("<"), copy=False)
        head = json.dumps([name, array.dtype.name, list(array.shape)])
        digest.update(head.encode())
        digest.update(np.ascontiguousarray(little).data)
    return digest.hexdigest()
