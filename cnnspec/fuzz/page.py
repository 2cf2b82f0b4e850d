"""docs/framework-faults.md, written from the list: `python -m cnnspec.fuzz.page`."""

from __future__ import annotations

import sys
from pathlib import Path

from cnnspec.files import write_text
from cnnspec.fuzz.known import KnownFault, faults

PAGE = Path(__file__).parents[2] / "docs" / "framework-faults.md"

HEAD = """\
# Known faults of frameworks

cnnspec emits a framework's own layer wherever that computes what the spec means, and a small layer
of its own where it does not. This page lists why: each fault with a script in the plain framework
that shows it (exit status 0 where it does), the versions that it was seen with, and what the
emitted file does instead. Some are no faults but conventions on which frameworks differ; they say
so.

`cnnspec compile --native` and `cnnspec check --native` write the frameworks' own layers all the
same, and `cnnspec fuzz --native` judges them ([fuzz.md](fuzz.md)). What it finds of this list is
counted as known. The list itself is `cnnspec/fuzz/known_faults.yaml`, and this page is written from
it by `python -m cnnspec.fuzz.page`. A nightly test runs every script: one that shows its fault no
longer fails the build, so that the list stays true. "none found" means that a search of public
issue threads found none.

| id | what | package | versions | back ends |
|---|---|---|---|---|
"""


def page() -> str:
    """The whole page."""
    rows = [_row(fault) for fault in faults()]
    return HEAD + "".join(rows) + "".join(_section(fault) for fault in faults())


def _row(fault: KnownFault) -> str:
    versions = " to ".join(dict.fromkeys(fault.versions))
    engines = ", ".join(f"`{name}`" for name in fault.engines)
    link = f"[{fault.id}](#{fault.id})"
    return f"| {link} | {fault.title} | {fault.package} | {versions} | {engines} |\n"


def _section(fault: KnownFault) -> str:
    variables = "".join(f"{name}={value} " for name, value in fault.environment.items())
    return (
        f"\n## {fault.id}\n\n{fault.title[0].upper()}{fault.title[1:]}. {fault.symptom}\n\n"
        f"- cnnspec: {fault.avoided}\n- upstream: {fault.upstream}\n\n"
        f"```python\n# {variables}python {fault.id}.py\n{fault.script}```\n"
    )


if __name__ == "__main__":
    write_text(PAGE, page(), force=True)
    print(f"wrote {PAGE}", file=sys.stderr)
