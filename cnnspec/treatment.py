"""How training treats the parameters of a layer: `trainable`, `regularize` and `constrain`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cnnspec.document import Path
from cnnspec.faults import Faults
from cnnspec.graph import Node
from cnnspec.ops.base import Op, Param
from cnnspec.schema_fields import read_model, wrong_type
from cnnspec.spec import Layer
from cnnspec.templates import FAULT, evaluate, names_in

if TYPE_CHECKING:
    from cnnspec.training import Constrain, Regularize

__all__ = [
    "UNTREATED",
    "Treatment",
    "read_treatment",
    "report_untreatable",
    "treated",
    "treatment_of",
]


@dataclass(frozen=True, slots=True)
class Treatment:
    """What training does with the parameters of a layer.

    Attributes:
        trainable: whether it changes them.
        regularize: what its weights cost.
        constrain: what its weights are held to.
    """

    trainable: bool = True
    regularize: Regularize | None = None
    constrain: Constrain | None = None


UNTREATED = Treatment()


def treatment_of(node: Node[Op]) -> dict[str, object]:
    """The fields of a node's layer that say it; none where its parameters are another's."""
    if node.owner is not None or not node.params:
        return {}
    found: dict[str, object] = {} if node.trainable else {"trainable": False}
    if node.regularize is not None and any(p.name.endswith("weight") for p in node.params):
        found["regularize"] = node.regularize
    if node.constrain is not None and _has_units(node.params):
        found["constrain"] = node.constrain
    return found


def _has_units(params: tuple[Param, ...]) -> bool:
    return any(p.name.endswith("weight") and "O" in p.layout for p in params)


def read_treatment(
    faults: Faults, values: Mapping[str, object], at: Path
) -> dict[str, object] | None:
    """The fields as far as they are constant; None with a fault.

    Args:
        faults: where to report.
        values: of those of the three fields that a layer has, templates resolved.
        at: the path of the layer's fields.
    """
    found: dict[str, object] = {}
    for name, value in values.items():
        if value is FAULT:
            return None
        read = value if names_in(value) else _read(faults, name, value, (*at, name))
        if read is None:
            return None
        found[name] = read
    return found


def treated(
    faults: Faults, layer: Layer, values: Mapping[str, object], around: Treatment
) -> Treatment:
    """The treatment of a layer: what is said of the block around it, unless it says otherwise.

    What is frozen as a whole is frozen in all its parts.
    """
    if not layer.treatment:
        return around
    own: dict[str, Any] = {}
    for name, written in layer.treatment.items():
        read = written
        if names_in(written):
            value = evaluate(faults, written, values)
            read = None if value is FAULT else _read(faults, name, value, (*layer.fields, name))
        if read is not None:
            own[name] = read
    return Treatment(
        own.get("trainable", True) and around.trainable,
        own.get("regularize", around.regularize),
        own.get("constrain", around.constrain),
    )


def report_untreatable(faults: Faults, layer: Layer, params: tuple[Param, ...]) -> None:
    """Report a field that means nothing for a layer with these parameters."""
    weights = [param for param in params if param.name.endswith("weight")]
    able = {
        "trainable": any(not param.statistic for param in params),
        "regularize": bool(weights),
        "constrain": _has_units(params),
    }
    lacks = {
        "trainable": "parameters to train",
        "regularize": "weights to regularize",
        "constrain": "weights of output units to constrain",
    }
    for name in layer.treatment:
        if not able[name]:
            faults.add(
                "nothing-to-treat",
                (*layer.fields, name),
                f"`{layer.key}` has no {lacks[name]}",
                key=True,
            )


def _read(faults: Faults, name: str, value: object, at: Path) -> object | None:
    if name == "trainable":
        if isinstance(value, bool):
            return value
        wrong_type(faults, at, "`trainable` is true or false")
        return None
    from cnnspec.training import Constrain, Regularize

    cls = Regularize if name == "regularize" else Constrain
    if not isinstance(value, dict):
        example = "{l2: 0.0001}" if cls is Regularize else "{max_norm: 3}"
        wrong_type(faults, at, f"`{name}` is a mapping, such as `{example}`")
        return None
    return read_model(faults, cls, value, at, what=f"`{name}`", known=list(cls.model_fields))
