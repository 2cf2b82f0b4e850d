"""Every code of a diagnostic is written out in the source, has a page, and has a test."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "diagnostics.md").read_text()
CODE = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")

PASSED_ON = {
    # The places that make a diagnostic of a code that they were given.
    "cnnspec/faults.py",
    "cnnspec/bench/measure.py",  # by a process of its own
}


def codes() -> Iterator[tuple[str, str]]:
    """Every code, and where it is written.

    That is the first argument of `Diagnostic(...)` and of `faults.add(...)`, and any argument
    `code=`.
    """
    for path in sorted((ROOT / "cnnspec").rglob("*.py")):
        name = path.relative_to(ROOT).as_posix()
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call):
                for code in arguments(node):
                    where = f"{name}:{node.lineno}"
                    if isinstance(code, ast.Constant):
                        yield str(code.value), where
                    elif name not in PASSED_ON:
                        assert isinstance(code, ast.Name), f"{where}: the code is no literal"
                        assert code.id == "code", f"{where}: the code is no literal"


def arguments(call: ast.Call) -> Iterator[ast.expr]:
    target = ast.unparse(call.func)
    makes = target.rpartition(".")[2] == "Diagnostic" or re.search(r"(^|\.)faults\.add$", target)
    if makes and call.args:
        yield call.args[0]
    yield from (keyword.value for keyword in call.keywords if keyword.arg == "code")


FOUND = dict(codes())
SECTIONS = re.findall(r"^## (.+)$", PAGE, re.MULTILINE)


def test_codes_are_found() -> None:
    assert {"unknown-op", "shape-mismatch", "duplicate-key", "unknown-loss"} <= set(FOUND)
    assert len(FOUND) > 50


def test_codes_are_kebab_case() -> None:
    assert [code for code in FOUND if not CODE.fullmatch(code)] == []


def test_every_code_has_a_page() -> None:
    missing = {code: where for code, where in FOUND.items() if code not in SECTIONS}
    assert missing == {}


def test_every_page_has_a_code() -> None:
    text = "\n".join(path.read_text() for path in (ROOT / "cnnspec").rglob("*.py"))
    assert [code for code in SECTIONS if f'"{code}"' not in text] == []


def test_pages_are_sorted_and_single() -> None:
    assert sorted(set(SECTIONS)) == SECTIONS


def test_every_page_says_something() -> None:
    parts = re.split(r"^## .+$", PAGE, flags=re.MULTILINE)[1:]
    short = [code for code, part in zip(SECTIONS, parts, strict=True) if len(part.strip()) < 45]
    assert short == []


def test_every_code_is_in_some_test() -> None:
    own = Path(__file__).name
    tests = [p for p in (ROOT / "tests").rglob("*.py") if p.name != own]
    text = "\n".join(path.read_text() for path in tests)
    assert {code: where for code, where in FOUND.items() if f'"{code}"' not in text} == {}
