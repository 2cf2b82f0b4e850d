"""Values for a network's top-level `parameters:`, from the command line (`-p`) or from Python."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from cnnspec.diagnostics import Diagnostic, SetupError, UserError, did_you_mean
from cnnspec.document import parse
from cnnspec.expressions import MOST_INTEGER
from cnnspec.graph import REQUIRED
from cnnspec.quote import quoted

__all__ = ["Written", "fitted", "refuse_unknown", "written"]


@dataclass(frozen=True, slots=True)
class Written:
    """A value as text: for a parameter that is text it is the value, else a YAML one."""

    text: str


def written(options: Sequence[str]) -> dict[str, Written]:
    """What `-p name=value`, given any number of times, says by name.

    Raises:
        SetupError: one is of another form, or names a parameter again.
    """
    found: dict[str, Written] = {}
    for option in options:
        name, equals, text = option.partition("=")
        name = name.strip()
        if not (name and equals):
            raise _bad(f"`-p` is given {quoted(option)}", "write `-p name=value`")
        if name in found:
            raise _bad(f"`-p` gives {quoted(name)} twice")
        found[name] = Written(text)
    return found


def refuse_unknown(given: Mapping[str, object], known: Sequence[str]) -> None:
    """Refuse a value for a parameter that there is not.

    Raises:
        SetupError: with every such name.
    """
    faults = [
        Diagnostic(
            "unknown-parameter",
            f"the spec has no parameter {quoted(name)}",
            help=did_you_mean(name, known) or "it has no `parameters:`",
        )
        for name in given
        if name not in known
    ]
    if faults:
        raise SetupError(faults)


def fitted(name: str, given: object, default: object) -> object:
    """A value of the default's type; a whole number will do for a float.

    Args:
        name: of the parameter.
        given: a value, its lists tuples or lists, or `Written`.
        default: `REQUIRED` where any type will do.

    Raises:
        SetupError: the value is of another type, or none that a parameter can have.
    """
    value: object = given
    if isinstance(given, Written):
        value = given.text if isinstance(default, str) else _parsed(name, given.text)
    if isinstance(value, list):
        value = tuple(value)
    entries = value if isinstance(value, tuple) else (value,)
    if not all(type(entry) in (bool, int, float, str) for entry in entries):
        message = f"parameter `{name}` is a number, true or false, a text, or a list of these"
        raise _bad(message)
    for entry in entries:
        if isinstance(entry, int) and abs(entry) > MOST_INTEGER:
            raise _bad(f"parameter `{name}` has a whole number beyond 2^53 in size")
        if isinstance(entry, float) and not math.isfinite(entry):
            raise _bad(f"parameter `{name}` has a number that is not finite")
    if type(default) is float and type(value) is int:
        value = float(value)
    if default is not REQUIRED and type(value) is not type(default):
        raise _bad(f"parameter `{name}` is {_kind(default)}, and it is given {_kind(value)}")
    return value


def _parsed(name: str, text: str) -> object:
    try:
        return parse(text, f"-p {name}").value
    except UserError as error:
        notes = tuple(diagnostic.message for diagnostic in error.diagnostics)
        message = f"the value of `-p {name}=` cannot be read"
        raise SetupError(Diagnostic("bad-parameter", message, notes=notes)) from None


def _bad(message: str, help: str = "") -> SetupError:
    return SetupError(Diagnostic("bad-parameter", message, help=help))


def _kind(value: object) -> str:
    kinds = {bool: "true or false", int: "a whole number", float: "a number", str: "text"}
    return kinds.get(type(value), "a list")
