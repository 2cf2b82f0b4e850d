"""Values as people write them in a spec, on one line."""

from __future__ import annotations

import json
from collections.abc import Mapping

from cnnspec.ops.initializer import Initializer
from cnnspec.training import Vocabulary


def spelled(value: object) -> str | None:
    """A field's value in YAML's flow style, without defaults; None for one that is not set."""
    if value is None:
        return None
    if isinstance(value, Initializer | Vocabulary):
        fields = {
            name: getattr(value, name)
            for name, field in type(value).model_fields.items()
            if getattr(value, name) != field.default
        }
        return spelled({value.key: fields}) if fields else value.key
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{name}: {_inner(entry)}" for name, entry in value.items()) + "}"
    if isinstance(value, tuple | list):
        return "[" + ", ".join(_inner(entry) for entry in value) + "]"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        # Escaped, so that nothing of an untrusted spec reorders or hides text on a terminal.
        return value if value.isascii() and value.isidentifier() else json.dumps(value)
    return repr(value)


def _inner(value: object) -> str:
    return spelled(value) or "null"
