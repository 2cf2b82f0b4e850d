"""Text to plain values, with a span for every key and every value.

A spec is untrusted: any text at all ends in a `Document` or a `SpecError`.
"""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass

from cnnspec.diagnostics import Diagnostic, Label, SetupError, Source, Span, SpecError
from cnnspec.document_builder import LINE_BREAK, Builder, Path, Positions, Spans, Value

__all__ = ["LINE_BREAK", "MAX_BYTES", "Document", "Path", "Value", "parse", "read"]

MAX_BYTES = 16 * 1024 * 1024

# libyaml still breaks lines at U+0085, U+2028 and U+2029, as YAML 1.1 did, so that what a reader
# sees as the end of a comment would be parsed: these are refused, as are stray byte order marks.
_PRINTABLE = "\xa0-\u2027\u202a-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff"
# JSON allows nearly everything inside a string; control characters are a matter of its grammar.
_UNPRINTABLE_JSON = "[\0\ud800-\udfff]"


@dataclass(frozen=True, slots=True, eq=False)
class Document:
    """A text as plain values, and where each of them stands.

    Below an alias (`*name`) the spans are those of the anchored value, where the fault is.

    Attributes:
        source: the text; without its byte order mark, if it had one.
        value: the root value; mappings are dicts in the order of the text, sequences are tuples.
        spans: path to the span of the value there; block values end with their last child.
        key_spans: path to the span of the last key in it; items of a sequence have none.
        file: it was read from, None for a text; what it includes is found from there.
    """

    source: Source
    value: Value
    spans: Mapping[Path, Span]
    key_spans: Mapping[Path, Span]
    file: str | None = None

    @property
    def name(self) -> str:
        """The file as the user named it."""
        return self.source.name

    @property
    def text(self) -> str:
        """The whole text."""
        return self.source.text

    def span(self, path: Path) -> Span:
        """The span of the value at `path`, or at its longest prefix that exists."""
        for length in range(len(path), -1, -1):
            found = self.spans.get(path[:length])
            if found is not None:
                return found
        return Span(self.source, 1, 1, 1, 1)

    def is_list(self, path: Path) -> bool:
        """Whether there is a list at `path`."""
        return isinstance(_at(self.value, path), tuple)

    def part(self, path: Path, start: int, end: int) -> Span:
        """The span of some characters of the string at `path`.

        It is that of the whole string where the text spells it with escapes or on several lines.
        """
        whole = self.span(path)
        value = _at(self.value, path)
        if not isinstance(value, str) or whole.line != whole.end_line:
            return whole
        line = LINE_BREAK.split(self.text)[whole.line - 1]
        written = line[whole.column - 1 : whole.end_column - 1]
        opening = written.find(value)
        if opening not in (0, 1):
            return whole
        first = whole.column + opening
        return Span(self.source, whole.line, first + start, whole.line, first + end)

    def key_span(self, path: Path) -> Span:
        """The span of the key at `path`, or at its longest prefix that exists.

        An item of a sequence, and the root, have no key: there it is the span of the value.
        """
        for length in range(len(path), -1, -1):
            found = self.key_spans.get(path[:length]) or self.spans.get(path[:length])
            if found is not None:
                return found
        return Span(self.source, 1, 1, 1, 1)


def read(path: str | os.PathLike[str]) -> Document:
    """Read and parse a file; one whose name ends in `.json` is JSON, any other YAML.

    Raises:
        SetupError: the file cannot be opened or read.
        SpecError: it is no UTF-8 text, too large, or not well-formed.
    """
    name = os.fspath(path)
    try:
        with open(path, "rb") as file:
            data = file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        raise SetupError(Diagnostic("file-not-found", f"there is no file `{name}`")) from None
    except IsADirectoryError:
        raise SetupError(Diagnostic("is-a-directory", f"`{name}` is a directory")) from None
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
        raise SetupError(
            Diagnostic("file-unreadable", f"`{name}` cannot be read: {reason.lower()}")
        ) from None
    if len(data) > MAX_BYTES:
        raise _too_large(name)
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise _not_utf8(name, data, error.start) from None
    return dataclasses.replace(parse(text, name), file=name)


def _at(value: Value, path: Path) -> Value:
    """The value at a path, None where there is none."""
    for part in path:
        if isinstance(value, dict) and isinstance(part, str):
            value = value.get(part)
        elif isinstance(value, tuple) and isinstance(part, int) and part < len(value):
            value = value[part]
        else:
            return None
    return value


def parse(text: str, name: str, *, json: bool | None = None) -> Document:
    """Parse YAML or JSON text.

    Args:
        text: the text, with or without a byte order mark.
        name: what diagnostics call it.
        json: whether it is JSON; None decides by the name's ending.

    Raises:
        SpecError: the text is not well-formed; all faults up to the first syntax error.
    """
    text = text.removeprefix("\ufeff")
    if json is None:
        json = name.lower().endswith(".json")
    if len(text) > MAX_BYTES:
        raise _too_large(name)
    builder = Builder(Source(name, text))
    _refuse_unprintable(builder, _UNPRINTABLE_JSON if json else _unprintable(text))
    if json:  # each is imported where it is needed: both together are some 5 % of `validate`
        from cnnspec.document_json import JsonReader

        JsonReader(builder).read()
    else:
        from cnnspec.document_yaml import read_yaml

        read_yaml(builder)
    root = builder.finish()
    spans = Spans(builder.positions, root.node, keys=False)
    key_spans = Spans(builder.positions, root.node, keys=True)
    return Document(builder.source, root.value, spans, key_spans)


def _unprintable(text: str) -> str:
    """The pattern for YAML; that of all of Unicode takes longer to compile than a spec to read."""
    return f"[^\t\n\r\x20-\x7e{'' if text.isascii() else _PRINTABLE}]"


def _refuse_unprintable(builder: Builder, pattern: str) -> None:
    found = re.search(pattern, builder.source.text)
    if found is None:
        return
    label = builder.label(found.start(), found.end())
    if found.group() == "\0":
        builder.stop(
            Diagnostic(
                "not-text",
                "the file holds a NUL character, so it is no text",
                label,
                help="a spec is YAML or JSON, saved as UTF-8",
            )
        )
    builder.stop(
        Diagnostic(
            "control-character",
            f"the file holds the invisible character U+{ord(found.group()):04X}",
            label,
            help="remove it, or write it as an escape in double quotes",
        )
    )


def _too_large(name: str) -> SpecError:
    source = Source(name, "")
    return SpecError(
        Diagnostic(
            "file-too-large",
            f"the file is larger than {MAX_BYTES // 1024**2} MiB",
            Label(Span(source, 1, 1, 1, 1)),
            help="use blocks with `define:` and `repeat:`",
        )
    )


def _not_utf8(name: str, data: bytes, offset: int) -> SpecError:
    start = len(data[:offset].decode("utf-8").removeprefix("\ufeff"))
    source = Source(name, data.decode("utf-8", "replace").removeprefix("\ufeff"))
    hint = "save the file as UTF-8"
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        hint += "; it seems to be UTF-16"
    return SpecError(
        Diagnostic(
            "not-utf8",
            f"byte 0x{data[offset]:02x} at offset {offset} is not UTF-8",
            Label(Positions(source).span(start, start + 1)),
            help=hint,
        )
    )
