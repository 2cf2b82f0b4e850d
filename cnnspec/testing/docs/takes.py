"""What a field takes, in words, out of its JSON Schema."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

HUGE = 1_000_000
"""Limits from here on only keep mistakes out, and are not worth a word."""


def takes(schema: Mapping[str, Any]) -> str:
    """The values that a schema admits, `integer from 1, or list of 1 to 3 of integer from 1`."""
    if "anyOf" in schema:
        return ", or ".join(dict.fromkeys(takes(entry) for entry in schema["anyOf"]))
    if "enum" in schema:
        return ", ".join(f"`{word}`" for word in schema["enum"])
    if "const" in schema:
        return f"`{json.dumps(schema['const'])}`"
    kind = schema["type"]
    if isinstance(kind, list):
        return " or ".join(takes({**schema, "type": each}) for each in kind)
    match kind:
        case "array":
            return _list(schema)
        case "boolean":
            return "`true`, `false`"
        case "null":
            return "`null`"
        case _:
            return f"{kind}{_range(schema)}"


def _range(schema: Mapping[str, Any]) -> str:
    words = []
    if "minimum" in schema:
        words.append(f"from {schema['minimum']}")
    if "exclusiveMinimum" in schema:
        words.append(f"above {schema['exclusiveMinimum']}")
    if "exclusiveMaximum" in schema:
        words.append(f"below {schema['exclusiveMaximum']}")
    if schema.get("maximum", HUGE) < HUGE:
        words.append(f"to {schema['maximum']}")
    return "".join(f" {word}" for word in words)


def _list(schema: Mapping[str, Any]) -> str:
    if "prefixItems" in schema:
        return f"[{', '.join(takes(entry) for entry in schema['prefixItems'])}]"
    least, most = schema.get("minItems", 0), schema.get("maxItems")
    count = (
        f"{least}"
        if least == most
        else f"{least} or more"
        if most is None
        else f"{least} to {most}"
    )
    return f"list of {count} of ({takes(schema['items'])})"
