"""Reports of `check` for CI: every form is valid, says everything, and lets nothing through."""

from __future__ import annotations

import json
import math
import os
import re
import signal
import subprocess
import sys
import time
from importlib import import_module
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from cnnspec.check.command import command
from cnnspec.check.compare import Comparison, Worst
from cnnspec.check.formats import FORMATS, format_report
from cnnspec.check.formats.annotations import command as workflow_command
from cnnspec.check.formats.rules import sections
from cnnspec.check.formats.schema import report_schema
from cnnspec.check.options import Difference, Report, SpecReport, Status
from cnnspec.cli import main
from cnnspec.diagnostics import Diagnostic, Label, SetupError, Source, Span
from tests.xml_schema import Invalid, XmlSchema

ROOT = Path(__file__).parents[1]
MODULE = import_module("cnnspec.check.command")
SCHEMAS = Path(__file__).parent / "schemas"
JUNIT = XmlSchema(SCHEMAS / "junit.xsd")
SARIF = Draft202012Validator(json.loads((SCHEMAS / "sarif-2.1.0.json").read_text()))
REPORT = Draft202012Validator(report_schema())

TEXT = "cnnspec: 1\ninput: [1, 4]\nlayers: [tanh]\n"


def comparison(**fields: Any) -> Comparison:
    given: dict[str, Any] = {
        "backends": ("numpy", "torch"),
        "quantity": "forward",
        "mode": "isolated",
        "dtype": "float64",
        "training": False,
        "node": "tanh1",
        "name": "tanh1",
        "agree": True,
        "max_error": 1e-16,
        "magnitude": 1.0,
        "bound": 1e-15,
        "worst": Worst((0, 1), 1.0, 1.0 + 2.5e-16, 1e-15),
        **fields,
    }
    return Comparison(**given)


WRONG = comparison(agree=False, max_error=0.5, worst=Worst((0, 1), 1.0, 1.5, 1e-15))


def span(name: str = "net.yaml", text: str = TEXT) -> Span:
    return Span(Source(name, text), 3, 10, 3, 14)


def differing(name: str = "net.yaml") -> SpecReport:
    """torch stands alone: one of its two quantities is wrong, and Keras agrees."""
    return SpecReport(
        name,
        "disagree",
        comparisons=[
            WRONG,
            comparison(quantity="step", update=2, mode="end_to_end", training=True),
            comparison(backends=("numpy", "keras")),
            comparison(quantity="step", judged=False, reason="it is noise", agree=False),
        ],
        first_difference=Difference("tanh1", WRONG, name, 3, 10),
        places={"tanh1": span(name)},
        notes=["a stated default"],
    )


def every() -> Report:
    """A report with every status, a library, warnings and notes."""
    warning = Diagnostic("unread", "a column is unread", Label(span()), severity="warning")
    syntax = Diagnostic(
        "unknown-op",
        "there is no op `tanhh`",
        Label(span("b.yaml"), "here"),
        secondary=(Label(span("lib.yaml"), "used here"), Label(span("lib.yaml"))),
        notes=("first\nsecond",),
        help="did you mean `tanh`?",
    )
    return Report(
        [
            SpecReport("a.yaml", comparisons=[comparison()], diagnostics=[warning]),
            differing(),
            SpecReport(
                "c.yaml",
                "engine_failed",
                comparisons=[comparison(), comparison(judged=False, reason="why not")],
                diagnostics=[Diagnostic("engine-failed", "torch: it was killed", notes=("out",))],
            ),
            SpecReport("b.yaml", "invalid_spec", diagnostics=[syntax]),
            SpecReport("d.yaml", "invalid_data", diagnostics=[Diagnostic("not-finite", "NaN")]),
            SpecReport("e.yaml", "environment", diagnostics=[Diagnostic("file-not-found", "no")]),
        ],
        libraries=["lib.yaml"],
    )


REQUEST = Report(diagnostics=[Diagnostic("no-specs", "there is no spec in `x`", help="make one")])


# --- every form ------------------------------------------------------------------------------


def test_the_published_schema_is_not_stale() -> None:
    published = json.loads((ROOT / "docs" / "report.schema.json").read_text(encoding="utf-8"))
    assert published == report_schema(), "`make docs` writes it anew"
    Draft202012Validator.check_schema(published)


def check_forms(report: Report) -> dict[str, Any]:
    """Every form of a report, parsed and valid."""
    texts: dict[str, str] = {form: format_report(report, form) for form in FORMATS}
    found: dict[str, Any] = {**texts}
    found["json"] = json.loads(texts["json"])
    REPORT.validate(found["json"])
    found["sarif"] = json.loads(texts["sarif"])
    SARIF.validate(found["sarif"])
    found["junit"] = JUNIT.validate(texts["junit"])
    *commands, last = texts["github"].split("\n")
    if not report.specs:  # there is nothing to count
        commands.append(last)
    found["github"] = [annotation(line) for line in commands if line]
    return found


COMMAND = re.compile(r"::(error|warning|notice)(?: ([^:]*))?::([^\r\n]*)")


def annotation(line: str) -> tuple[str, dict[str, str], str]:
    """A workflow command as GitHub's runner reads it: kind, properties, message."""
    found = COMMAND.fullmatch(line)
    assert found is not None, line
    kind, written, message = found.groups()
    properties = dict(part.split("=", 1) for part in (written or "").split(",") if part)
    names = (("%3A", ":"), ("%2C", ","))
    data = (("%0D", "\r"), ("%0A", "\n"), ("%25", "%"))

    def undone(text: str, escapes: Any) -> str:
        for escape, character in escapes:
            text = text.replace(escape, character)
        return text

    decoded = {name: undone(value, (*names, *data)) for name, value in properties.items()}
    return kind, decoded, undone(message, data)


def test_every_form_is_valid_and_has_every_diagnostic() -> None:
    report = every()
    found = check_forms(report)
    codes = {d.code for spec in report.specs for d in spec.diagnostics} | {"backends-differ"}
    (run,) = found["sarif"]["runs"]
    assert {result["ruleId"] for result in run["results"]} == codes
    assert {fields["title"] for kind, fields, _ in found["github"] if "title" in fields} == codes
    for code in codes:
        for form in ("text", "markdown"):
            assert f"[{code}]" in found[form], (code, form)
    failing = {e.get("type") for e in found["junit"].iter() if e.tag in ("failure", "error")}
    assert failing == codes - {"unread"}  # a warning fails nothing, and is in the suite's output
    assert "unread" in found["junit"][0].findtext("system-out")
    in_json = {d["code"] for spec in found["json"]["specs"] for d in spec["diagnostics"]}
    assert in_json == codes - {"backends-differ"}
    for form in ("text", "markdown", "github", "junit", "json", "sarif"):
        text = format_report(report, form)
        assert "a stated default" in text, form
        assert "lib.yaml" in text, form
        assert "tanhh" in text, form


def test_a_request_that_makes_no_sense_is_in_every_form() -> None:
    assert REQUEST.status == "environment"
    found = check_forms(REQUEST)
    assert found["json"]["diagnostics"][0]["code"] == "no-specs"
    assert found["github"] == [
        ("error", {"title": "no-specs"}, "there is no spec in `x`\nhelp: make one")
    ]
    assert found["junit"].find("testsuite/testcase/error").get("type") == "no-specs"
    assert found["sarif"]["runs"][0]["invocations"][0]["executionSuccessful"] is False
    assert "nothing was checked" in found["markdown"]
    assert "no-specs" in found["text"]


names = st.text(st.characters(codec="utf-8", exclude_characters="\0/"), min_size=1, max_size=12)
texts = st.text(st.characters(codec="utf-8"), max_size=40)
numbers = st.floats(min_value=0)


@st.composite
def reports(draw: st.DrawFn) -> Report:
    """Reports of any status, with any text in them."""

    def diagnostic() -> Diagnostic:
        source = Source(draw(names), draw(texts))
        line, column = draw(st.integers(1, 9)), draw(st.integers(1, 9))
        place = Label(Span(source, line, column, line, column + 2), draw(texts))
        return Diagnostic(
            draw(st.sampled_from(["unread", "engine-failed", "x-plugin"])),
            draw(texts),
            draw(st.sampled_from([None, place])),
            draw(st.sampled_from([(), (place,)])),
            tuple(draw(st.lists(texts, max_size=2))),
            draw(texts),
            draw(st.sampled_from(["error", "warning"])),
        )

    def spec() -> SpecReport:
        status: Status = draw(st.sampled_from(["agree", "disagree", "engine_failed", "invalid_spec",
                                               "invalid_data", "environment"]))  # fmt: skip
        name = draw(names)
        made = [
            comparison(
                node=draw(texts),
                name=draw(texts),
                agree=draw(st.booleans()),
                judged=draw(st.booleans()),
                reason=draw(texts),
                max_error=draw(numbers),
                worst=draw(st.sampled_from([None, Worst((), 1.0, draw(numbers), draw(numbers))])),
            )
            for _ in range(draw(st.integers(0, 3)))
        ]
        found = SpecReport(name, status, made, notes=draw(st.lists(texts, max_size=2)))
        found.diagnostics = [diagnostic() for _ in range(draw(st.integers(0, 2)))]
        if status == "disagree":
            wrong = comparison(node=draw(texts), agree=False)
            found.comparisons.append(wrong)
            found.first_difference = Difference(wrong.node, wrong)
            found.places = {wrong.node: span(name)}
        return found

    return Report(
        [spec() for _ in range(draw(st.integers(0, 2)))],
        draw(st.lists(names, max_size=1)),
        [diagnostic() for _ in range(draw(st.integers(0, 1)))],
    )


@given(reports())
def test_any_report_is_valid_in_every_form(report: Report) -> None:
    found = check_forms(report)
    failing = [e for e in found["junit"].iter() if e.tag in ("failure", "error")]
    for spec in report.specs:
        if not spec.agree:  # never a green nothing
            assert failing
    rows = [line for line in found["markdown"].split("\n") if line.startswith("| ")]
    for row in rows[: len(report.specs) + 1]:
        assert row.count("|") == 7, row
    for line in found["text"].split("\n") + found["markdown"].split("\n"):
        assert "\x1b" not in line


# --- each form -------------------------------------------------------------------------------


def test_junit_counts_pairs_and_quantities() -> None:
    root = JUNIT.validate(format_report(every(), "junit"))
    suite = next(each for each in root if each.get("name") == "net.yaml")
    cases = {
        (c.get("classname"), c.get("name")): [e.tag for e in c] for c in suite.iter("testcase")
    }
    assert cases == {
        ("net.yaml.numpy-torch", "forward"): ["failure"],
        ("net.yaml.numpy-torch", "step"): [],
        ("net.yaml.numpy-keras", "forward"): [],
    }
    failure = suite.find("testcase/failure")
    assert failure is not None
    assert failure.text is not None
    assert "net.yaml:3:10" in failure.text
    assert "worst element [0, 1]" in failure.text
    counts = {name: suite.get(name) for name in ("tests", "failures", "errors", "skipped")}
    assert counts == {"tests": "3", "failures": "1", "errors": "0", "skipped": "0"}
    statuses = {
        each.get("name"): [e.tag for c in each.iter("testcase") for e in c] for each in root
    }
    assert statuses["c.yaml"] == ["error"]  # the engine; what the others found stands
    assert statuses["b.yaml"] == statuses["d.yaml"] == ["failure"]
    assert statuses["e.yaml"] == ["error"]
    assert statuses["lib.yaml"] == ["skipped"]
    assert root.get("failures") == "3"
    assert root.get("errors") == "2"


def test_what_is_not_judged_is_skipped_with_its_reason() -> None:
    unjudged = comparison(quantity="step", judged=False, reason="it is noise", agree=False)
    root = JUNIT.validate(format_report(Report([SpecReport("a", comparisons=[unjudged])]), "junit"))
    (skipped,) = root.iter("skipped")
    assert skipped.get("message") == "it is noise"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("<testsuite name='a' tests='0' failures='0' errors='0'><b/></testsuite>", "holds"),
        ("<testsuite name='a' tests='0' failures='0'/>", "needs errors"),
        ("<testsuite name='a' tests='x' failures='0' errors='0'/>", "no count"),
        ("<testsuite name='a' tests='0' failures='0' errors='0' b='1'/>", "no attribute b"),
        ("<testsuite name='a' tests='0' failures='0' errors='0'>text</testsuite>", "has text"),
        ("<testsuite name='a' tests='0' failures='0' errors='0'><system-out/><properties/>"
         "</testsuite>", "holds"),
        ("<testcase name='a' classname='b'><error/><failure/></testcase>", "holds"),
        ("<other/>", "starts"),
    ],
)  # fmt: skip
def test_the_schema_of_junit_refuses(text: str, why: str) -> None:
    with pytest.raises(Invalid, match=why):
        JUNIT.validate(text)


def test_sarif_places_rules_and_fingerprints(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("GITHUB_WORKSPACE", str(tmp_path))
    (tmp_path / "a dir").mkdir()
    monkeypatch.chdir(tmp_path / "a dir")
    report = Report([differing("nät 1.yaml"), differing("../../outside.yaml")])
    (run,) = json.loads(format_report(report, "sarif"))["runs"]
    inside, outside = run["results"]
    place = inside["locations"][0]["physicalLocation"]
    assert place["artifactLocation"] == {
        "uri": "a%20dir/n%C3%A4t%201.yaml",
        "uriBaseId": "%SRCROOT%",
    }
    assert place["region"] == {"startLine": 3, "startColumn": 10, "endLine": 3, "endColumn": 14}
    location = outside["locations"][0]["physicalLocation"]["artifactLocation"]
    assert set(location) == {"uri"}
    assert unquote(location["uri"]) == f"file://{tmp_path.parent}/outside.yaml"
    (rule,) = run["tool"]["driver"]["rules"]
    assert rule["id"] == inside["ruleId"] == "backends-differ"
    assert rule["fullDescription"]["text"].startswith("`check` has found a difference")
    assert rule["help"]["markdown"] == sections()["backends-differ"]
    assert "%SRCROOT%" in run["originalUriBaseIds"]
    assert run["columnKind"] == "unicodeCodePoints"
    assert run["invocations"][0]["exitCode"] == 1


def test_fingerprints_stay_when_lines_are_added_above() -> None:
    def fingerprint(line: int, text: str, message: str = "wrong") -> str:
        at = Label(Span(Source("net.yaml", text), line, 10, line, 14))
        found = SpecReport("net.yaml", "invalid_spec", diagnostics=[Diagnostic("x", message, at)])
        (result,) = json.loads(format_report(Report([found]), "sarif"))["runs"][0]["results"]
        (made,) = result["partialFingerprints"].values()
        assert isinstance(made, str)
        return made

    first = fingerprint(3, TEXT)
    assert fingerprint(4, "# more\n" + TEXT) == first
    assert fingerprint(3, TEXT.replace("tanh", "relu")) != first
    assert fingerprint(3, TEXT, "other") != first


def test_every_rule_of_ours_has_its_help() -> None:
    page = (ROOT / "docs" / "diagnostics.md").read_text(encoding="utf-8")
    assert set(sections()) == set(re.findall(r"(?m)^## (\S+)$", page))
    assert all(sections().values())


def test_annotations_are_relative_and_escaped(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("GITHUB_WORKSPACE", str(tmp_path.parent))
    monkeypatch.chdir(tmp_path)
    name = "a,b:c%\n::error::x.yaml"
    lines = format_report(Report([differing(name)]), "github").split("\n")
    kind, fields, message = annotation(lines[0])
    shown = name.replace("\n", "\\x0a")
    assert kind == "error"
    assert fields == {
        "file": f"{tmp_path.name}/{shown}",
        "line": "3",
        "col": "10",
        "title": "backends-differ",
    }
    assert message.split("\n")[0] == "numpy and torch differ in the output of `tanh1`"
    assert annotation(lines[1])[0] == "notice"
    assert lines[2:] == ["0 of 1 specs agree, 1 disagree"]


@given(texts, texts)
def test_a_workflow_command_says_what_it_was_given(message: str, title: str) -> None:
    line = workflow_command("error", message, title=title)
    assert line.splitlines() == [line] or not line.isprintable()
    _, fields, found = annotation(line)
    if message.isprintable() and title.isprintable():
        assert (found, fields["title"]) == (message, title)


def test_markdown_has_a_row_for_each_spec() -> None:
    text = format_report(every(), "markdown")
    assert text.startswith("## cnnspec check: 1 of 6 specs agree")
    assert "| ✅ | <code>a.yaml</code> | agree | 1 | 1.0e-16 | 0.22 |" in text
    assert "| ❌ | <code>net.yaml</code> | **disagree** | 3 | 5.0e-01 | 5e+14 |" in text
    assert text.count("<details>") == text.count("</details>") == 6
    title = "<details><summary><code>"
    assert text.index(f"{title}net.yaml") < text.index(f"{title}a.yaml")  # what is wrong is first


def test_nothing_of_a_name_is_markup() -> None:
    name = "a|b`c`<script>*[x](y)_.yaml"
    row = format_report(Report([SpecReport(name, comparisons=[comparison()])]), "markdown")
    line = next(line for line in row.split("\n") if line.startswith("| ✅"))
    assert line.count("|") == 7
    assert not set("`*[]_") & set(line)
    assert "<script>" not in line


def test_details_end_before_a_summary_is_too_long() -> None:
    notes = ["x" * 1000] * 300
    report = Report([SpecReport(f"{i}.yaml", notes=notes) for i in range(5)])
    text = format_report(report, "markdown")
    assert len(text.encode()) < 1 << 20
    assert "More details would be too long" in text


def test_infinity_is_text_in_json() -> None:
    wrong = comparison(agree=False, max_error=math.inf, worst=Worst((0,), 1.0, math.nan, 0.0))
    document = json.loads(format_report(Report([SpecReport("a", comparisons=[wrong])]), "json"))
    (found,) = document["specs"][0]["comparisons"]
    assert (found["max_error"], found["worst"]["b"]) == ("inf", "nan")


# --- files -----------------------------------------------------------------------------------


@pytest.fixture
def known(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A directory with a spec, whose check is known in advance."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "net.yaml").write_text(TEXT)

    def check_file(path: str, request: Any, made: Any) -> SpecReport:
        return SpecReport(path, comparisons=[comparison()])

    monkeypatch.setattr(MODULE, "check_file", check_file)
    return tmp_path


CHECK = ("check", "net.yaml", "--backends", "numpy,torch", "--in-process")


def test_reports_are_written_beside_the_text(
    known: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    status = main(
        [*CHECK, "--format", "sarif", "-o", "a.sarif", "--format", "junit", "-o", "b.xml"]
    )
    assert status == 0
    printed = capsys.readouterr()
    assert "net.yaml: agree (1 comparisons" in printed.out
    assert "wrote a.sarif\nwrote b.xml" in printed.err
    SARIF.validate(json.loads((known / "a.sarif").read_text()))
    JUNIT.validate((known / "b.xml").read_text())
    assert sorted(os.listdir(known)) == ["a.sarif", "b.xml", "net.yaml"]


def test_one_report_is_printed_and_others_are_files(
    known: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*CHECK, "--format", "json", "-o", "a.json", "--format", "github"]) == 0
    assert capsys.readouterr().out == "1 of 1 specs agree\n"
    REPORT.validate(json.loads((known / "a.json").read_text()))


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("there.json", "file-exists"),
        ("folder", "is-a-directory"),
        ("nowhere/a.json", "directory-not-found"),
        ("closed/a.json", "file-unwritable"),
        ("", "file-unwritable"),
        ("net.yaml", "report-is-spec"),
    ],
)
def test_a_report_that_cannot_be_written_is_refused_before_the_check(
    known: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    path: str,
    code: str,
) -> None:
    (known / "there.json").write_text("mine")
    (known / "folder").mkdir()
    (known / "closed").mkdir()
    access = os.access
    monkeypatch.setattr(os, "access", lambda p, m: "closed" not in str(p) and access(p, m))
    monkeypatch.setattr(MODULE, "check_file", None)  # calling it would be a fault
    force = ["--force"] if code == "report-is-spec" else []
    assert main([*CHECK, "--format", "json", "-o", path, *force]) == 2
    found = capsys.readouterr()
    assert found.out == ""
    assert f"error[{code}]" in found.err
    assert (known / "there.json").read_text() == "mine"
    assert (known / "net.yaml").read_text() == TEXT


def test_an_existing_report_is_replaced_with_force(known: Path) -> None:
    (known / "a.json").write_text("old")
    assert main([*CHECK, "--format", "json", "-o", "a.json", "--force"]) == 0
    REPORT.validate(json.loads((known / "a.json").read_text()))


def test_a_full_disk_leaves_the_old_report(known: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (known / "a.json").write_text("old")

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    assert main([*CHECK, "--format", "json", "-o", "a.json", "--force"]) == 2
    assert (known / "a.json").read_text() == "old"
    assert sorted(os.listdir(known)) == ["a.json", "net.yaml"]


def test_zero_specs_are_in_the_report_with_status_2(
    known: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (known / "empty").mkdir()
    options = ("--backends", "numpy,torch", "--format", "junit", "-o", "a.xml")
    assert main(["check", "empty", *options]) == 2
    assert "error[no-specs]" in capsys.readouterr().err
    assert JUNIT.validate((known / "a.xml").read_text()).get("errors") == "1"
    assert main(["check", "empty", "--format", "github"]) == 2
    assert capsys.readouterr().out.startswith("::error title=no-specs::")


def test_a_missing_spec_is_in_the_report_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    said: list[str] = []
    with pytest.raises(SetupError):
        run_command(["nope.yaml"], out=said.append)
    assert run_command(["nope.yaml"], out=said.append, outputs=[("json", "a.json")]) == 2
    (spec,) = json.loads((tmp_path / "a.json").read_text())["specs"]
    assert (spec["status"], spec["diagnostics"][0]["code"]) == ("environment", "file-not-found")


def run_command(specs: list[str], **options: Any) -> int:
    given: dict[str, Any] = {
        "backends": ("numpy", "torch"),
        "form": "text",
        "dtype": None,
        "seed": None,
        "steps": None,
        "inputs": None,
        "save": None,
        "sources": (),
        "in_process": True,
        "say": lambda text: None,
        **options,
    }
    return command(specs, **given)


WAITING = """
import sys, time
from cnnspec.check import command as module
from cnnspec.cli import main
import cnnspec.check.command
def check_file(path, request, made):
    print("READY", flush=True)
    time.sleep(60)
sys.modules["cnnspec.check.command"].check_file = check_file
sys.exit(main(sys.argv[1:]))
"""


def test_ctrl_c_leaves_no_half_of_a_report(tmp_path: Path) -> None:
    (tmp_path / "net.yaml").write_text(TEXT)
    process = subprocess.Popen(
        [sys.executable, "-c", WAITING, *CHECK, "--format", "json", "-o", "a.json"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "READY\n"
    process.send_signal(signal.SIGINT)
    started = time.monotonic()
    _, said = process.communicate(timeout=30)
    assert process.returncode == 130, said
    assert time.monotonic() - started < 30
    assert os.listdir(tmp_path) == ["net.yaml"]


def test_it_is_xml_that_other_readers_take() -> None:
    """Control characters have no place in XML 1.0, not even escaped."""
    nasty = SpecReport("a\x00\x1b\ufffe.yaml", "environment", notes=["\x07\ud800"])
    text = format_report(Report([nasty]), "junit")
    JUNIT.validate(text)
    assert not re.search("[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]", text)
