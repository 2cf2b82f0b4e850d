"""`python -m tests.conformance`: run every node test of ONNX, and write docs/conformance.md."""

from __future__ import annotations

import os
import sys
from importlib.metadata import version

from tests.conformance.accounting import entries, unexpected
from tests.conformance.page import PAGE, page


def main() -> int:
    """Write the page if every case does what it says, else tell which do not."""
    os.environ.setdefault("KERAS_BACKEND", "tensorflow")  # read by keras, which is imported late
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    found = entries()
    wrong = unexpected([entry for entry in found if entry.network is not None])
    for line in wrong:
        print(line, file=sys.stderr)
    if wrong:
        return 1
    PAGE.write_text(page(found, version("onnx")), encoding="utf-8")
    print(f"wrote {PAGE}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
