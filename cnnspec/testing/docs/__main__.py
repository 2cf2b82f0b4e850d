"""`python -m cnnspec.testing.docs`: write docs/ops.md and the schemas below this directory.

With `--text` the numbers of docs/ops.md stay as they are, which takes seconds and needs no
framework; new rows then have question marks.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from cnnspec.check.formats.schema import report_schema
from cnnspec.json_schema import json_schema
from cnnspec.testing.docs.cases import cases, documented
from cnnspec.testing.docs.measure import measure, rows
from cnnspec.testing.docs.page import page, read_measured

DRAWS = 3
"""Inputs, weights and cotangents that each row is measured on."""


def main(arguments: list[str]) -> None:
    """Write all of them."""
    place = Path("docs")
    ops = place / "ops.md"
    if arguments == ["--text"]:
        measured = read_measured(ops.read_text(encoding="utf-8"))
    elif not arguments:
        measured = rows(measure(cases(), draws=DRAWS))
    else:
        sys.exit("python -m cnnspec.testing.docs [--text]")
    ops.write_text(page(measured), encoding="utf-8")
    schemas = {"schema.json": json_schema(documented()), "report.schema.json": report_schema()}
    for name, schema in schemas.items():
        (place / name).write_text(json.dumps(schema, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
