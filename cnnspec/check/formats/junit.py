"""A check's report as JUnit XML, in the dialect that Jenkins, GitLab and others read.

A suite is a spec; a case is a pair of back ends and a quantity. A difference, and a wrong spec or
wrong data, is a failure; an engine that failed, and a lack in the surroundings, is an error.
"""

from __future__ import annotations

import re
from xml.etree import ElementTree as ET

from cnnspec.check.formats.groups import fault, grouped
from cnnspec.check.options import Report, SpecReport
from cnnspec.check.report import diagnostics_of, verdict
from cnnspec.diagnostics import Diagnostic
from cnnspec.render import clean, render

# What XML 1.0 has no character for; control characters are gone by then.
_NO_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def to_junit(report: Report) -> str:
    """The whole report, as one XML document."""
    root = ET.Element("testsuites", name="cnnspec check")
    if report.diagnostics:
        suite = ET.SubElement(root, "testsuite", name="cnnspec")
        for found in report.diagnostics:
            _failing(_case(suite, "cnnspec", "request"), "error", found)
        _count(suite)
    for spec in report.specs:
        _suite(root, spec)
    for library in report.libraries:
        suite = ET.SubElement(root, "testsuite", name=_text(library))
        case = _case(suite, library, "spec")
        ET.SubElement(case, "skipped", message="a library of blocks, which is not checked")
        _count(suite)
    for counted in ("tests", "failures", "errors"):
        root.set(counted, str(sum(int(suite.get(counted, "0")) for suite in root)))
    ET.indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ET.tostring(root, encoding="unicode")


def _suite(root: ET.Element, spec: SpecReport) -> None:
    suite = ET.SubElement(root, "testsuite", name=_text(spec.spec))
    for group in grouped(spec):
        case = _case(suite, f"{spec.spec}.{'-'.join(group.backends)}", group.quantity)
        found = fault(group, spec)
        if found is not None:
            _failing(case, "failure", found)
        elif not group.judged:
            ET.SubElement(case, "skipped", message=_text(group.reason() or "not judged"))
    for found in spec.diagnostics:
        if found.severity == "error":
            engine = found.code == "engine-failed"
            wrong = spec.status in ("invalid_spec", "invalid_data") and not engine
            name = "engine" if engine else "spec"
            _failing(_case(suite, spec.spec, name), "failure" if wrong else "error", found)
    if not spec.agree and suite.find("*/failure") is None and suite.find("*/error") is None:
        # What shows in no case of its own is still no success.
        errors = [found for found in diagnostics_of(spec) if found.severity == "error"]
        for found in errors or [Diagnostic("nothing-compared", verdict(spec))]:
            _failing(_case(suite, spec.spec, "spec"), "failure", found)
    remarks = [f"note: {note}" for note in spec.notes]
    warnings = [found for found in spec.diagnostics if found.severity == "warning"]
    if warnings:
        remarks.append(render(warnings))
    if remarks:
        ET.SubElement(suite, "system-out").text = _text("\n".join(remarks))
    _count(suite)


def _case(suite: ET.Element, group: str, name: str) -> ET.Element:
    return ET.SubElement(suite, "testcase", classname=_text(group), name=name)


def _failing(case: ET.Element, kind: str, found: Diagnostic) -> None:
    made = ET.SubElement(case, kind, type=found.code, message=_text(found.message))
    made.text = _text(render([found]))


def _count(suite: ET.Element) -> None:
    suite.set("tests", str(len(suite.findall("testcase"))))
    for name, kind in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
        suite.set(name, str(len(suite.findall(f"testcase/{kind}"))))


def _text(text: str) -> str:
    return _NO_XML.sub("\ufffd", clean(text, keep_breaks=True))
