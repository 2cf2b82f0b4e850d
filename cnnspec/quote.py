"""Text from a spec, as a message shows it."""

from __future__ import annotations


def shown(text: str, most: int = 40) -> str:
    """Text from a spec, cut to a length that fits into a message."""
    return text if len(text) <= most else text[: most - 3] + "..."


def quoted(text: str) -> str:
    """Text from a spec in backticks, or as a literal where it is not plain."""
    plain = text.isascii() and text.isprintable() and "`" not in text and text
    return f"`{shown(text)}`" if plain else ascii(shown(text))
