"""The file as written: a Document becomes a Spec, or every fault of its form is reported."""

from __future__ import annotations

from collections.abc import Mapping

from cnnspec.diagnostics import did_you_mean
from cnnspec.document import Document, Path
from cnnspec.faults import Faults, quoted
from cnnspec.ops.base import Shape
from cnnspec.schema_fields import later, read_name, read_shape, read_whole, wrong_type
from cnnspec.schema_layers import read_layers
from cnnspec.schema_train import read_train
from cnnspec.spec import Layer, OutputEntry, Spec, TrainSection

__all__ = ["Faults", "Layer", "OutputEntry", "Spec", "TrainSection", "read_spec"]

VERSION = 1
MOST_SEED = 2**63 - 1

TOP_LEVEL = ("cnnspec", "name", "input", "layers", "outputs", "train", "seed")
LATER_TOP_LEVEL = ("define", "parameters", "include")
_EXAMPLES = {
    "cnnspec": "cnnspec: 1",
    "input": "input: [3, 224, 224]",
    "layers": "layers: [flatten, {dense: {units: 10}}]",
}


def read_spec(document: Document) -> Spec:
    """Check the form of a document.

    Raises:
        SpecError: with every fault of form.
    """
    faults = Faults(document)
    spec = _spec(faults)
    faults.raise_any()
    assert spec is not None, "no spec without a fault"
    return spec


def _spec(faults: Faults) -> Spec | None:
    value = faults.document.value
    if not isinstance(value, dict):
        faults.add(
            "not-a-spec",
            (),
            "a spec is a mapping",
            help="it starts with `cnnspec: 1`, and has `input:` and `layers:`",
        )
        return None
    _top_level(faults, value)
    name: str | None = "network"
    if "name" in value:
        name = read_name(faults, value["name"], ("name",), attribute=False)
    inputs = _inputs(faults, value["input"]) if "input" in value else ()
    layers = read_layers(faults, value["layers"], ("layers",)) if "layers" in value else ()
    outputs = _outputs(faults, value["outputs"]) if "outputs" in value else None
    train = read_train(faults, value["train"]) if "train" in value else None
    seed = read_whole(faults, value.get("seed", 0), ("seed",), 0, MOST_SEED)
    return Spec(faults.document, name or "network", inputs, layers, outputs, train, seed)


def _top_level(faults: Faults, value: Mapping[str, object]) -> None:
    for key in value:
        if key in LATER_TOP_LEVEL:
            later(faults, (key,))
        elif key not in TOP_LEVEL:
            help = did_you_mean(key, TOP_LEVEL)
            faults.add("unknown-key", (key,), f"a spec has no {quoted(key)}", help=help, key=True)
    for key, example in _EXAMPLES.items():
        if key not in value:
            faults.add("missing-key", (), f"a spec needs `{key}`", help=f"such as `{example}`")
    version = value.get("cnnspec", VERSION)
    if isinstance(version, bool) or version != VERSION:
        faults.add(
            "unknown-version",
            ("cnnspec",),
            "this version of the spec language is unknown",
            help=f"this cnnspec reads `cnnspec: {VERSION}`",
        )


def _inputs(faults: Faults, value: object) -> tuple[tuple[str, Shape], ...]:
    path: Path = ("input",)
    if not isinstance(value, dict):
        shape = read_shape(faults, value, path)
        return () if shape is None else (("input", shape),)
    if not value:
        wrong_type(faults, path, "a network needs an input")
    found = []
    for name, entry in value.items():
        at = (*path, name)
        if name != "input":
            read_name(faults, name, at, key=True, attribute=False)
        elif len(value) > 1:
            faults.add(
                "bad-name",
                at,
                "`input` cannot be the name of one of several inputs: "
                "it means a scope's only input",
                key=True,
            )
        shape = read_shape(faults, entry, at)
        if shape is not None:
            found.append((name, shape))
    return tuple(found)


def _outputs(faults: Faults, value: object) -> tuple[OutputEntry, ...]:
    path: Path = ("outputs",)
    if isinstance(value, str):
        return (OutputEntry("output", value, path),)
    if not isinstance(value, dict) or not value:
        wrong_type(
            faults,
            path,
            "`outputs` is the name of a layer, or a mapping from output names to layers",
        )
        return ()
    found = []
    for name, entry in value.items():
        at = (*path, name)
        read_name(faults, name, at, key=True, attribute=False)
        if isinstance(entry, dict) and "training_only" in entry:
            later(faults, (*at, "training_only"))
        elif isinstance(entry, dict) and set(entry) == {"from"}:
            if isinstance(entry["from"], str):
                found.append(OutputEntry(name, entry["from"], (*at, "from")))
            else:
                wrong_type(faults, (*at, "from"), "`from` of an output is the name of a layer")
        elif isinstance(entry, str):
            found.append(OutputEntry(name, entry, at))
        else:
            wrong_type(faults, at, "an output is the name of a layer")
    return tuple(found)
