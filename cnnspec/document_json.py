"""Reads JSON into a builder."""

from __future__ import annotations

import re
from collections.abc import Mapping
from json import loads
from typing import NoReturn

from cnnspec.diagnostics import Diagnostic
from cnnspec.document_builder import Builder, brief


class JsonReader:
    """A strict JSON reader (RFC 8259) without recursion that reports offsets.

    The json module gives no positions, and YAML is no superset of JSON as far as PyYAML goes:
    it refuses tabs, joins no surrogate pairs and takes keys of up to 1024 characters only.
    """

    _SPACE = re.compile(r"[ \t\n\r]*")
    _STRING = re.compile(
        r'"[^"\\\x00-\x1f]*(?:\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4})[^"\\\x00-\x1f]*)*+'
    )
    _NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(\.[0-9]+)?([eE][-+]?[0-9]+)?(?![0-9A-Za-z_.+-])")
    _WORD = re.compile(r"[-+]?[A-Za-z0-9_.][A-Za-z0-9_.+-]*")
    _CONSTANTS: Mapping[str, bool | None] = {"true": True, "false": False, "null": None}

    def __init__(self, builder: Builder) -> None:
        self.builder = builder
        self.text = builder.source.text
        self.at = 0

    def read(self) -> None:
        """Read the builder's text as one JSON value.

        Raises:
            SpecError: a syntax error, or a fault after which there is no going on.
        """
        if not self._peek():
            return
        builder = self.builder
        self._value()
        while (top := builder.innermost) is not None:
            opened = top.end == top.start
            close = "}" if top.mapping else "]"
            if self._peek() == close:
                self.at += 1
                builder.close(self.at)
                continue
            if not opened:
                self._expect(",", f"`,` or `{close}`")
                if self._peek() == close:
                    self._fail(
                        f"found `{close}` after a `,`", "JSON has no `,` after the last item"
                    )
            if top.mapping:
                if self._peek() != '"':
                    self._fail_at_word("a key in double quotes")
                self._string()
                self._expect(":", "`:`")
            self._value()
        if self._peek():
            self._fail("found more text after the end of the value")

    def _value(self) -> None:
        builder, character = self.builder, self._peek()
        start = self.at
        if character in {"{", "["}:
            self.at += 1
            builder.open(start, mapping=character == "{")
        elif character == '"':
            self._string()
        elif found := self._NUMBER.match(self.text, start):
            self.at = found.end()
            real = found[1] or found[2]
            word = found.group()
            if real:
                builder.scalar(builder.number(float(word), start, self.at), start, self.at)
            else:
                builder.scalar(builder.integer(word, start, self.at), start, self.at)
        else:
            named = self._WORD.match(self.text, start)
            name = named.group() if named else ""
            if name in {"NaN", "Infinity", "-Infinity"}:
                self.at += len(name)
                builder.scalar(builder.number(float(name), start, self.at), start, self.at)
            elif name in self._CONSTANTS:
                self.at += len(name)
                builder.scalar(self._CONSTANTS[name], start, self.at)
            else:
                self._fail_at_word("a value")

    def _string(self) -> None:
        start = self.at
        found = self._STRING.match(self.text, start)
        assert found is not None, "called at a quotation mark"
        self.at = found.end()
        following = self.text[self.at : self.at + 1]
        if following == '"':
            self.at += 1
            self.builder.scalar(loads(self.text[start : self.at]), start, self.at)
        elif following == "\\":
            self._fail("escape sequence is unknown", "a backslash is written `\\\\`")
        elif following == "\t":
            self._fail("found a tab in a string", "write it as `\\t`")
        elif following in {"\n", "\r", ""}:
            self.at = start
            self._fail("string does not end on its line", 'close it with `"`')
        else:
            self._fail(f"found the control character U+{ord(following):04X} in a string")

    def _peek(self) -> str:
        """Skip white space; the next character, or an empty string at the end."""
        found = self._SPACE.match(self.text, self.at)
        assert found is not None, "the pattern matches an empty string"
        self.at = found.end()
        return self.text[self.at : self.at + 1]

    def _expect(self, character: str, wanted: str) -> None:
        if self._peek() != character:
            self._fail_at_word(wanted)
        self.at += 1

    def _fail_at_word(self, wanted: str) -> NoReturn:
        character = self._peek()
        if not character:
            self._fail(f"the file ends where {wanted} should follow")
        word = self._WORD.match(self.text, self.at)
        shown = brief(word.group()) if word else character
        hint = ""
        if shown.lower() in self._CONSTANTS:
            hint = f"JSON spells it `{shown.lower()}`"
        elif shown == "None":
            hint = "JSON spells it `null`"
        elif character == "'":
            hint = "JSON strings stand in double quotes"
        elif character in {"#", "/"}:
            hint = "JSON has no comments; a file named .yaml may have them"
        self._fail(f"found `{shown}` where {wanted} should be", hint, len(shown))

    def _fail(self, problem: str, hint: str = "", width: int = 0) -> NoReturn:
        label = self.builder.label(self.at, self.at + width)
        self.builder.stop(Diagnostic("json-syntax", f"not valid JSON: {problem}", label, help=hint))
