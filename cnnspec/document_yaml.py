"""Reads YAML into a builder, by the 1.2 core schema (https://yaml.org/spec/1.2.2, section 10.3).

It works on the parser's events and not by PyYAML's constructors, which follow YAML 1.1: there
`no` is a boolean, `1e-3` a string and `010` is 8.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from typing import Any, NoReturn

import yaml

from cnnspec.diagnostics import Diagnostic, Label
from cnnspec.document_builder import Builder, Value, brief

_INTEGER = re.compile(r"[-+]?[0-9]+")
_BASED = re.compile(r"0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_NOT_FINITE = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")
_WORDS: dict[str, bool | None] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), None),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}
_TAG = re.compile(r"![^\s,\[\]{}]*")

# The pure parser gives the same events, only slower, where PyYAML was built without libyaml.
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def read_yaml(builder: Builder) -> None:
    """Read the builder's text as one YAML document.

    Raises:
        SpecError: a syntax error, or a fault after which there is no going on.
    """
    text = builder.source.text
    documents = 0
    try:
        events: Iterator[Any] = yaml.parse(text, Loader=_LOADER)  # typed as if it had no marks
        for event in events:
            start, end = event.start_mark.index, event.end_mark.index
            if isinstance(event, yaml.ScalarEvent):
                if event.tag is not None:
                    _refuse_tag(builder, start)
                if event.implicit[0]:
                    _plain(builder, event, start, end)
                    continue
                if event.style in {"|", ">"}:  # the parser counts the blank lines below it
                    end = start + len(text[start:end].rstrip(" \t\r\n"))
                builder.scalar(event.value, start, end, event.anchor)
            elif isinstance(event, yaml.CollectionStartEvent):
                if event.tag is not None:
                    _refuse_tag(builder, start)
                mapping = isinstance(event, yaml.MappingStartEvent)
                builder.open(start, mapping=mapping, anchor=event.anchor)
            elif isinstance(event, yaml.CollectionEndEvent):
                # A block ends where the next token starts, as the parser sees it: end is start.
                builder.close(end if end > start else None)
            elif isinstance(event, yaml.AliasEvent):
                builder.alias(event.anchor or "", start, end)
            elif isinstance(event, yaml.DocumentStartEvent):
                documents += 1
                _check_document(builder, event, documents)
    except yaml.YAMLError as error:
        _yaml_syntax(builder, error)
    root = builder.root
    if root is not None and root.value is None and root.node.start == root.node.end:
        builder.root = None  # nothing but `---`


def _plain(builder: Builder, event: Any, start: int, end: int) -> None:
    """Add a scalar without quotes, typed by the core schema."""
    text: str = event.value
    value: Value = text
    if text[:1] in "~nNtTfF" and text in _WORDS:  # an empty text has an empty first character
        value = _WORDS[text]
    elif text[0] in "0123456789+-.":
        if _INTEGER.fullmatch(text):
            value = builder.integer(text, start, end)
        elif _BASED.fullmatch(text):
            value = builder.integer(text, start, end, 8 if text[1] == "o" else 16)
        elif _FLOAT.fullmatch(text):
            value = builder.number(float(text), start, end)
        elif _NOT_FINITE.fullmatch(text):
            value = builder.number(math.nan, start, end)
    elif text == "<<":
        top = builder.innermost
        if top is not None and top.mapping and top.key is None:
            builder.fault(
                Diagnostic(
                    "merge-key",
                    "`<<` does not merge mappings: YAML 1.2 has no merge key",
                    builder.label(start, end),
                    help="write the fields out, or declare a block under `define:`",
                )
            )
    builder.scalar(value, start, end, event.anchor)


def _check_document(builder: Builder, event: Any, number: int) -> None:
    start, end = event.start_mark.index, event.end_mark.index
    if number > 1:
        builder.stop(
            Diagnostic(
                "several-documents",
                "the file holds more than one YAML document",
                builder.label(start, end, "the second one starts here"),
                help="put each spec into a file of its own",
            )
        )
    if event.version is not None and event.version != (1, 2):
        version = ".".join(map(str, event.version))
        builder.fault(
            Diagnostic(
                "yaml-version",
                f"the file says that it is YAML {version}, and a spec is YAML 1.2",
                builder.label(start, start),
                help="remove the `%YAML` line",
            )
        )


def _refuse_tag(builder: Builder, start: int) -> None:
    found = _TAG.search(builder.source.text, start)
    assert found is not None, "an event with a tag starts at or before it"
    builder.fault(
        Diagnostic(
            "yaml-tag",
            f"tag `{brief(found.group())}` is not allowed",
            builder.label(found.start(), found.end()),
            help="remove it: the type follows from how the value is written; quotes make a string",
        )
    )


# What usually lies behind a message of the parser; the first that fits is the help.
_SYNTAX_HELP = (
    ("mapping values are not allowed", "put quotes around a text that contains `: `"),
    ("did not find expected key", "check the indentation, and that every `,` is in its place"),
    ("expected <block end>", "check the indentation, and that every `,` is in its place"),
    ("did not find expected ',' or", "close the bracket, or put a `,` between the items"),
    ("expected ',' or", "close the bracket, or put a `,` between the items"),
    ("could not find expected ':'", "put `: ` after the key"),
    ("that violates indentation", "indent with spaces"),
    ("unexpected end of stream", "close the quotes"),
)


def _yaml_syntax(builder: Builder, error: yaml.YAMLError) -> NoReturn:
    text = builder.source.text
    problem = (getattr(error, "problem", None) or str(error)).strip()
    mark = getattr(error, "problem_mark", None)
    at = mark.index if mark is not None else 0
    character = text[at : at + 1]
    hint = next((hint for sign, hint in _SYNTAX_HELP if sign in problem), "")
    if "cannot start any token" in problem:
        shown = "a tab" if character == "\t" else f"`{character}`"
        problem = f"found {shown}, which cannot start a value"
        hint = "indent with spaces" if character == "\t" else "put quotes around the text"
    secondary: tuple[Label, ...] = ()
    context_mark = getattr(error, "context_mark", None)
    if context_mark is not None and context_mark.index != at:
        begin = context_mark.index
        secondary = (builder.label(begin, begin, str(getattr(error, "context", "") or "")),)
    message = f"not valid YAML: {problem}"
    builder.stop(Diagnostic("yaml-syntax", message, builder.label(at, at), secondary, help=hint))
