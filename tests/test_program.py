from __future__ import annotations

import ast
import inspect
import linecache
import sys
import traceback
from pathlib import Path

import pytest

from cnnspec.backends.base import Place, Range
from cnnspec.backends.program import (
    ALLOWED_IMPORTS,
    FORBIDDEN_NAMES,
    AuditError,
    Program,
    audit,
    instrument,
    own_entry,
    own_program,
    remove_taps,
    run_own,
)
from cnnspec.diagnostics import DataError

TEXT = '''\
"""A file."""

import math


class Net:
    """A network."""

    def __init__(self):
        self.scale = 2

    def forward(self, x):
        """Fail for zero."""
        return math.floor(self.scale / x)
'''

REFUSED = {
    "import": "import os",
    "import of a part": "import torch.hub",
    "import below": "def f():\n    import subprocess",
    "import from": "from os import path",
    "import with a friend": "import math, os",
    "import of ourselves": "import cnnspec",
    "relative import": "from . import x",
    "relative import of a module": "from .math import x",
    "dunder attribute": "x.__class__",
    "dunder attribute of a call": "f().__globals__",
    "dunder name": "__builtins__",
    "dunder loader": "__loader__",
    "dunder method": "class A:\n    def __del__(self):\n        pass",
    "dunder class": "class __A__:\n    pass",
    "dunder function": "async def __f__():\n    pass",
} | {f"name {name}": f"{name}(x)" for name in sorted(FORBIDDEN_NAMES)}

PERMITTED = [f"import {name}" for name in sorted(ALLOWED_IMPORTS)] + [
    "from torch import nn",
    "class A:\n    def __init__(self):\n        super().__init__()",
    "x = __name__",
    'x = "import os; __class__; eval"',
    "x = _private.__mangled",
]


@pytest.mark.parametrize("text", REFUSED.values(), ids=REFUSED)
def test_audit_refuses(text: str) -> None:
    with pytest.raises(AuditError, match=r"line [12]: "):
        audit(text)


@pytest.mark.parametrize("text", PERMITTED)
def test_audit_permits(text: str) -> None:
    assert isinstance(audit(text), ast.Module)


@pytest.mark.parametrize("text", REFUSED.values(), ids=REFUSED)
def test_audit_finds_what_is_planted_in_a_whole_file(text: str) -> None:
    whole = (Path(__file__).parent / "golden" / "digits.torch.py").read_text(encoding="utf-8")
    audit(whole)
    with pytest.raises(AuditError):
        audit(f"{whole}\n\n{text}\n")


def test_a_program_shows_its_lines() -> None:
    program = Program(TEXT, "Net")
    module = program.run()
    try:
        assert "A network." in inspect.getsource(module.Net)
        with pytest.raises(ZeroDivisionError) as caught:
            module.Net().forward(0)
        assert "math.floor(self.scale / x)" in "".join(traceback.format_tb(caught.tb))
        assert module.Net.__module__ in sys.modules
    finally:
        program.close()
    assert program.name not in sys.modules
    assert program.filename not in linecache.cache
    program.close()


def test_two_programs_of_one_text_are_two_modules() -> None:
    first, second = Program(TEXT, "Net"), Program(TEXT, "Net")
    try:
        assert first.run() is not second.run()
        assert first.name != second.name
    finally:
        first.close()
        second.close()


def test_taps_wrap_expressions_and_come_off_again() -> None:
    text = "y = f(g(x), x)\n"
    tree = ast.parse(text)
    places = {
        "f": Place(Range(1, 4, 1, 14), (Range(1, 6, 1, 10), Range(1, 12, 1, 13))),
        "g": Place(Range(1, 6, 1, 10), (Range(1, 8, 1, 9),)),
        "held": Place(Range(1, 0, 1, 1), module="held"),
    }
    tapped = instrument(tree, places)
    assert ast.unparse(tapped) == (
        "y = __tap__('f', f(__feed__('f', 0, __tap__('g', g(__feed__('g', 0, x)))), "
        "__feed__('f', 1, x)))"
    )
    assert ast.dump(remove_taps(tapped)) == ast.dump(ast.parse(text))


def test_a_place_without_an_expression_is_a_bug_of_ours() -> None:
    with pytest.raises(AssertionError, match="no expression"):
        instrument(ast.parse("y = f(x)"), {"f": Place(Range(1, 4, 1, 7))})


def test_a_users_own_file(tmp_path: Path) -> None:
    path = tmp_path / "own.py"
    path.write_text("import os\nNet = dict\nvalue = 1\n")
    before = list(sys.path)
    program = own_program(str(path), "Net")
    try:
        module = run_own(program, str(path))
        assert own_entry(module, str(path), "Net") is dict
        for name in ("Other", "value"):
            with pytest.raises(DataError, match="no class or function"):
                own_entry(module, str(path), name)
    finally:
        program.close()
        sys.path[:] = before


@pytest.mark.parametrize("text", ["x = = 1", "x = '\0'", "\xff\xfe"])
def test_a_users_file_that_is_no_python(text: str, tmp_path: Path) -> None:
    path = tmp_path / "own.py"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(DataError, match="cannot be run"):
        own_program(str(path), "Net")
    with pytest.raises(DataError, match="cannot be run"):
        own_program(str(tmp_path / "none.py"), "Net")


def test_a_users_file_that_raises(tmp_path: Path) -> None:
    path = tmp_path / "own.py"
    path.write_text("raise RuntimeError('mine')")
    before = list(sys.path)
    program = own_program(str(path), "Net")
    try:
        with pytest.raises(DataError, match="raised RuntimeError while it was loaded: mine"):
            run_own(program, str(path))
    finally:
        program.close()
        sys.path[:] = before
