"""Plain values of a document to checked ones: names, numbers, shapes, and fields of a model.

Every function here reports what is wrong at its path and returns None (or a stand-in), so that
one run finds all faults.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import BaseModel, ValidationError

from cnnspec import names
from cnnspec.diagnostics import did_you_mean
from cnnspec.document import Path
from cnnspec.expressions import MOST_INTEGER
from cnnspec.faults import Faults, quoted
from cnnspec.ops.base import Shape
from cnnspec.templates import FAULT, Template

if TYPE_CHECKING:
    from cnnspec.training import Vocabulary

MOST_SIZE = 2**31 - 1

ModelT = TypeVar("ModelT", bound=BaseModel)
WordT = TypeVar("WordT", bound="Vocabulary")


def wrong_type(faults: Faults, path: Path, message: str, help: str = "") -> None:
    """Report a value of the wrong type."""
    faults.add("wrong-type", path, message, help=help)


def unknown_field(faults: Faults, at: Path, what: str, field: str, known: Sequence[str]) -> None:
    """Report a field that `what` does not have."""
    faults.add(
        "unknown-field",
        (*at, field),
        f"{what} has no field {quoted(field)}",
        help=did_you_mean(field, known),
        key=True,
    )


def missing_field(faults: Faults, at: Path, what: str, field: str) -> None:
    """Report a field that `what` cannot do without."""
    faults.add("missing-field", at, f"{what} needs `{field}`", key=True)


def read_name(
    faults: Faults, value: object, path: Path, *, key: bool = False, attribute: bool = True
) -> str | None:
    """A name that can be given.

    Args:
        faults: where to report.
        value: as written.
        path: of the value, or of the key that is the name.
        key: whether it is a key.
        attribute: whether it becomes an attribute of emitted classes, as names of layers do.
    """
    if not isinstance(value, str):
        wrong_type(faults, path, "a name is text")
        return None
    fault = names.fault(value, attribute=attribute)
    if fault is not None:
        faults.add("bad-name", path, f"{quoted(value)} cannot be used as a name: {fault}", key=key)
    return value


def read_whole(faults: Faults, value: object, path: Path, least: int, most: int) -> int:
    """A whole number in a range; `least` where it is none."""
    if isinstance(value, bool) or not isinstance(value, int):
        wrong_type(faults, path, f"`{path[-1]}` is a whole number")
        return least
    if not least <= value <= most:
        faults.add("out-of-range", path, f"`{path[-1]}` is {value}, outside {least} to {most}")
        return least
    return value


def read_shape(faults: Faults, value: object, path: Path) -> Shape | None:
    """Channels (or features), then up to three spatial sizes."""
    example = "such as [3, 224, 224]: channels, then space; the batch is implied"
    if not isinstance(value, tuple):
        wrong_type(faults, path, "a shape is a list of whole numbers", example)
        return None
    if not 1 <= len(value) <= 4:
        faults.add(
            "bad-shape",
            path,
            "a shape has channels and up to 3 spatial sizes, and this one has "
            f"{len(value)} entries",
            help=example,
        )
        return None
    sizes = []
    for i, size in enumerate(value):
        at = (*path, i)
        if size is None:
            faults.add(
                "size-not-fixed",
                at,
                "sizes are fixed in version 1 of the spec language",
                help="give a whole number",
            )
        elif isinstance(size, bool) or not isinstance(size, int):
            wrong_type(faults, at, "a size is a whole number")
        elif not 1 <= size <= MOST_SIZE:
            faults.add("out-of-range", at, f"a size is {size}, outside 1 to {MOST_SIZE}")
        else:
            sizes.append(size)
    return tuple(sizes) if len(sizes) == len(value) else None


def read_value(faults: Faults, value: object, path: Path) -> object:
    """A value that a parameter may have; parts that are expressions are not looked at.

    `FAULT` where it is none.
    """
    entries = value if isinstance(value, tuple) else (value,)
    for i, entry in enumerate(entries):
        at = (*path, i) if isinstance(value, tuple) else path
        if not isinstance(entry, bool | int | float | str | Template):
            wrong_type(
                faults,
                at,
                "a parameter is a number, true or false, a text, or a list of these",
            )
            return FAULT
        if isinstance(entry, int) and abs(entry) > MOST_INTEGER:
            faults.add("out-of-range", at, "a whole number is beyond 2^53 in size")
            return FAULT
    return value


def read_word(
    faults: Faults,
    vocabulary: Mapping[str, type[WordT]],
    value: object,
    path: Path,
    what: str,
    *,
    code: str,
) -> WordT | None:
    """A word over its fields: `constant`, or `{adam: {lr: 0.001}}`.

    Args:
        faults: where to report.
        vocabulary: the words there are.
        value: as written.
        path: of the value.
        what: the word's kind, `optimizer`.
        code: of the diagnostic for an unknown word.
    """
    fields: Mapping[str, object] = {}
    if isinstance(value, str):
        key, at = value, (*path, value)
    elif isinstance(value, dict) and len(value) == 1:
        key, given = next(iter(value.items()))
        at = (*path, key)
        if given is not None and not isinstance(given, dict):
            wrong_type(faults, at, f"the fields of {quoted(key)} are a mapping")
            return None
        fields = given or {}
    else:
        wrong_type(faults, path, f"`{what}` is a word, or a word over its fields")
        return None
    cls = vocabulary.get(key)
    if cls is None:
        faults.add(
            code,
            at,
            f"there is no {what} {quoted(key)}",
            help=did_you_mean(key, list(vocabulary)),
            key=True,
        )
        return None
    return read_model(faults, cls, fields, at, what=f"`{key}`", known=list(cls.model_fields))


def read_model(
    faults: Faults,
    cls: type[ModelT],
    fields: Mapping[str, object],
    at: Path,
    *,
    what: str,
    known: Sequence[str],
    places: Mapping[str, Path] | None = None,
) -> ModelT | None:
    """Fields checked by a model; its errors are reported at their places.

    Args:
        faults: where to report.
        cls: the model.
        fields: as written.
        at: the path of the fields.
        what: what they are fields of, as a message calls it.
        known: every field that could have been meant.
        places: the paths of fields that do not stand at `at`.
    """
    try:
        return cls.model_validate(dict(fields))
    except ValidationError as fault:
        for error in fault.errors(include_url=False, include_input=False):
            _report(faults, error, at, what, known, places or {})
        return None


_OUT_OF_RANGE = ("greater_than", "greater_than_equal", "less_than", "less_than_equal", "range")


def _report(
    faults: Faults,
    error: Any,
    at: Path,
    what: str,
    known: Sequence[str],
    places: Mapping[str, Path],
) -> None:
    place = tuple(error["loc"])
    if place and place[0] in places:
        at = places[place[0]][:-1]
    kind, context = error["type"], error.get("ctx", {})
    if kind == "extra_forbidden":
        unknown_field(faults, (*at, *place[:-1]), what, str(place[-1]), known)
        return
    if kind == "missing":
        missing_field(faults, (*at, *place[:-1]), what, str(place[-1]))
        return
    field = ".".join(str(part) for part in place)
    message = _reworded(kind, context, error["msg"])
    message = f"`{field}` of {what}: {message}" if field else f"{what}: {message}"
    path, help = (*at, *place), str(context.get("help", ""))
    if kind in _OUT_OF_RANGE:
        faults.add("out-of-range", path, message, help=help)
    elif kind.endswith("_type") or kind in ("int_from_float", "per_axis"):
        faults.add("wrong-type", path, message, help=help)
    else:
        faults.add("bad-value", path, message, help=help)


def _reworded(kind: str, context: Mapping[str, Any], message: str) -> str:
    match kind:
        case "int_type" | "int_from_float":
            return "expected a whole number"
        case "float_type":
            return "expected a number"
        case "bool_type":
            return "expected true or false"
        case "string_type":
            return "expected text"
        case "tuple_type":
            return "expected a list"
        case "finite_number":
            return "expected a finite number"
        case "greater_than":
            return f"has to be above {context['gt']}"
        case "greater_than_equal":
            return f"has to be at least {context['ge']}"
        case "less_than":
            return f"has to be below {context['lt']}"
        case "less_than_equal":
            return f"has to be at most {context['le']}"
        case "literal_error":
            return f"expected {context['expected']}".replace("'", "`")
        case "too_long" | "too_short":
            return "has the wrong number of entries"
        case _:
            return message[:1].lower() + message[1:]
