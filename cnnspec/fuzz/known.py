"""Faults of frameworks that are known: what fuzzing finds of them is reported as such.

Each has a minimal script in plain Keras or torch, which shows it and has nothing of cnnspec. The
page docs/framework-faults.md is written from the same list.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

import yaml

from cnnspec.fuzz.options import FuzzOptions, Verdict

LIST = Path(__file__).with_name("known_faults.yaml")


@dataclass(frozen=True, slots=True)
class KnownFault:
    """One fault of a framework.

    Attributes:
        id: its name.
        title: what is wrong, in a line.
        symptom: the same in a few.
        engines: back ends that show it, as `--backends` names them; `keras` is on TensorFlow.
        package: whose fault it is.
        versions: the first and the last version that is known to have it.
        layers: "native" where only the framework's own layer has it; "exact" where both may.
        match: what a finding has to say to be this fault: of `op`, `outcome`, `dtype`, `quantity`,
            `rank`, `channels` (of the input) and `width` (of the output) any of a list, of
            `fields` the values of the op's fields, of `message` parts of its text.
        script: plain Python that ends with status 0 where the fault shows, and 1 where not.
        environment: variables that the script needs.
        upstream: where it is reported, or "none found".
        avoided: what cnnspec writes instead.
    """

    id: str
    title: str
    symptom: str
    engines: tuple[str, ...]
    package: str
    versions: tuple[str, str]
    layers: str
    match: Mapping[str, Any]
    script: str
    upstream: str
    avoided: str
    environment: Mapping[str, str] = field(default_factory=dict)


@cache
def faults() -> tuple[KnownFault, ...]:
    """The list, in its order."""
    entries = yaml.safe_load(LIST.read_text(encoding="utf-8"))
    return tuple(
        KnownFault(
            **{
                **entry,
                "engines": tuple(entry["engines"]),
                "versions": (str(entry["versions"][0]), str(entry["versions"][1])),
            }
        )
        for entry in entries
    )


def match(verdict: Verdict, options: FuzzOptions) -> KnownFault | None:
    """The known fault that a finding is, or None."""
    if verdict.way is None:
        return None
    return next((f for f in faults() if _is(f, verdict, options) and _installed(f)), None)


def _is(fault: KnownFault, verdict: Verdict, options: FuzzOptions) -> bool:
    if fault.layers == "native" and options.layers != "native":
        return False
    blamed = {_engine(name) for name in verdict.about.get("backends", ())}
    if not blamed or not blamed <= {_engine(name) for name in fault.engines}:
        return False
    said = {**verdict.about, "outcome": verdict.outcome}
    for name, wanted in fault.match.items():
        if name == "fields":
            given = said.get("fields", {})
            if any(given.get(field) not in _listed(value) for field, value in wanted.items()):
                return False
        elif name == "message":
            if not any(part in verdict.message for part in _listed(wanted)):
                return False
        elif name == "op" and "op" not in said:
            if not set(_listed(wanted)) & set(said.get("ops", ())):
                return False
        elif said.get(name) not in _listed(wanted):
            return False
    return True


def _engine(name: str) -> str:
    return "keras:tensorflow" if name == "keras" else name


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _installed(fault: KnownFault) -> bool:
    """Whether the package has one of the versions."""
    try:
        found = _numbers(metadata.version(fault.package))
    except metadata.PackageNotFoundError:
        return False
    first, last = (_numbers(version) for version in fault.versions)
    return first <= found <= last


def _numbers(version: str) -> tuple[int, ...]:
    """The numbers of a version; what is local or a preview does not count."""
    found = re.match(r"\d+(\.\d+)*", version)
    return tuple(int(part) for part in found.group().split(".")) if found else ()
