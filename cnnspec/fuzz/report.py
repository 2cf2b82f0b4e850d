"""A run of the fuzzer as text for people and JSON for machines."""

from __future__ import annotations

import json
from typing import Any

from cnnspec.fuzz.known import faults
from cnnspec.fuzz.options import Case, FuzzReport

WORDS = {
    "agree": "agree",
    "known": "show a known fault",
    "disagree": "disagree",
    "engine_failed": "make a back end fail",
    "crash": "crash",
    "refused": "are refused",
    "undecided": "say nothing",
}


def to_text(report: FuzzReport) -> str:
    """What was done, known faults, and every case."""
    lines = []
    for case in report.cases:
        lines += [*_case(report, case), ""]
    titles = {fault.id: fault.title for fault in faults()}
    for id, count in sorted(report.known.items()):
        lines.append(f"known: {id}, {titles[id]}: {_networks(count)}")
    lines.append(summary(report))
    return "\n".join(lines)


def _case(report: FuzzReport, case: Case) -> list[str]:
    alike = report.alike[case.index]
    title = f"network {case.index} of seed {report.options.seed}"
    if alike:
        title += f", and {alike} more like it"
    lines = [f"{title}:", *(f"  {line}" for line in case.verdict.message.splitlines()[-12:])]
    lines += [f"  smallest spec, after {case.checks} checks:"]
    lines += [f"    {line}" for line in case.text.splitlines()]
    if case.file:
        lines.append(f"  written to {case.file}")
    return lines


def summary(report: FuzzReport) -> str:
    """One line of numbers."""
    counts = [
        f"{report.counts[outcome]:,} {word}"
        for outcome, word in WORDS.items()
        if report.counts[outcome] or outcome == "agree"
    ]
    done = _networks(report.networks)
    if report.interrupted:
        done = f"interrupted after {done}"
    return f"{done}: {', '.join(counts)}; {report.seconds:.1f} s, {report.rate:.1f} a second"


def _networks(count: int) -> str:
    return f"{count:,} network{'' if count == 1 else 's'}"


def to_json(report: FuzzReport) -> str:
    """The whole report, as one JSON document."""
    options = report.options
    document = {
        "status": "found" if report.cases else "none",
        "interrupted": report.interrupted,
        "seed": options.seed,
        "backends": list(options.backends),
        "dtypes": list(options.dtypes),
        "layers": options.layers,
        "networks": report.networks,
        "layers_in_all": report.nodes,
        "seconds": report.seconds,
        "rate": report.rate,
        "outcomes": {name: report.counts[name] for name in WORDS},
        "known": dict(sorted(report.known.items())),
        "cases": [_entry(report, case) for case in report.cases],
    }
    return json.dumps(document, indent=2, allow_nan=False)


def _entry(report: FuzzReport, case: Case) -> dict[str, Any]:
    return {
        "index": case.index,
        "outcome": case.verdict.outcome,
        "message": case.verdict.message,
        "about": {name: value for name, value in case.verdict.about.items() if name != "fields"},
        "spec": case.text,
        "original": case.original,
        "checks": case.checks,
        "alike": report.alike[case.index],
        "file": case.file,
    }
