"""The self-test of several specs: checks them, plants faults into their texts, prints a table."""

from __future__ import annotations

import itertools
import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from cnnspec.check.api import status_of
from cnnspec.check.data import read_inputs
from cnnspec.check.engines import Engine, engines
from cnnspec.check.files import Request, built_of
from cnnspec.check.options import EXIT_STATUS, Options, Report, SpecReport
from cnnspec.check.report import to_text
from cnnspec.check.run import Checker, needs_process
from cnnspec.check.selftest.choose import in_turn
from cnnspec.check.selftest.operators import mutants
from cnnspec.check.selftest.source import Mutant, Source
from cnnspec.check.selftest.trial import Outcome, Trial, Trials
from cnnspec.diagnostics import Diagnostic, SetupError, UserError
from cnnspec.graph import Graph
from cnnspec.passes.reduce import reduce
from cnnspec.render import render
from cnnspec.weights import read_weights

Say = Callable[[str], None]

TRIES = 4
"""For each fault that is to be planted so many are tried, as some have no effect, or do not run."""
WIDTHS = (33, 15, 9, 13, 24)
TITLES = ("operator", "text", "spec", "outcome", "layer named")
LEFT_OUT: dict[Outcome, str] = {
    "no effect": "have no effect on this network",
    "rounding only": "change nothing but the last digits",
    "refused": "do not run",
}


@dataclass(slots=True)
class SelfTest:
    """What became of the faults that were planted into one network.

    Attributes:
        report: of the check without a fault; nothing is planted unless it agrees.
        trials: one by one, those included that have no effect.
        lines: the line of the spec of each layer.
    """

    report: SpecReport
    trials: list[Trial] = field(default_factory=list)
    lines: Mapping[str, int] = field(default_factory=dict)

    @property
    def counted(self) -> list[Trial]:
        """The faults that a check has to find."""
        return [trial for trial in self.trials if trial.outcome in ("caught", "escaped")]

    @property
    def status(self) -> int:
        """For the shell: 0 where the network agrees, and every fault was found."""
        if self.report.status != "agree":
            return EXIT_STATUS[self.report.status]
        return int(any(trial.outcome == "escaped" for trial in self.trials))


def command(
    files: Sequence[str], request: Request, count: int, *, form: str, out: Say, color: bool
) -> int:
    """Test the check on each spec; returns the exit status.

    Args:
        files: of the specs.
        request: how they are checked.
        count: of the faults that are planted into each, beside those without effect.
        form: text or json.
        out: prints.
        color: whether it understands colors.

    Raises:
        SetupError: the options leave nothing to plant a fault into.
    """
    options = request.options
    if options.sources or options.save:
        raise SetupError(
            Diagnostic(
                "self-test-alone",
                "`--self-test` plants faults into what compile writes, and keeps no results",
                help="leave `--source` and `--save` out",
            )
        )
    found = []
    with engines(
        needs_process(options), in_process=options.in_process, timeout=options.timeout
    ) as made:
        for file in files:
            tell = out if form == "text" else _silent
            test = _one(file, request, count, made, tell)
            found.append(test)
            if form == "text" and test.report.status != "agree":
                out(to_text(Report([test.report]), color=color))
            elif form == "text":
                out(_summary(test))
    if form == "json":
        out(json.dumps({"specs": [_document(test) for test in found]}, indent=2))
    return max(test.status for test in found)


def _silent(text: str) -> None:
    pass


def _one(
    file: str, request: Request, count: int, made: Mapping[str, Engine], tell: Say
) -> SelfTest:
    """Check one spec, and then with faults."""
    try:
        graph = built_of(file, request).graph
        options = request.options
        if request.inputs is not None:
            options = replace(options, inputs=read_inputs(request.inputs, graph))
        if request.weights is not None:
            options = replace(options, weights=read_weights(request.weights, graph))
        report, graph = _without_faults(graph, file, options, made)
    except UserError as fault:
        return SelfTest(SpecReport(file, status_of(fault), diagnostics=list(fault.diagnostics)))
    if report.status != "agree":
        return SelfTest(report)
    lines = {node.id: node.origin.span.line for node in graph.nodes if node.origin is not None}
    test = SelfTest(report, lines=lines)
    trials = Trials(graph, file, options, made)
    seed = graph.seed if options.seed is None else options.seed
    found = {name: mutants(Source(emitted, graph)) for name, emitted in trials.emitted.items()}
    tell(f"{file}: agrees; faults are planted one at a time\n")
    tell(_row(TITLES))
    for mutant in itertools.islice(in_turn(found, seed), TRIES * count):
        trial = trials.run(mutant)
        test.trials.append(trial)
        if trial.outcome in ("caught", "escaped"):
            tell(_row((*_cells(test, trial), mutant.change.replace("\n", " ")[:60])))
        if len(test.counted) >= count:
            break
    if not test.counted:
        raise SetupError(
            Diagnostic("nothing-compared", f"no fault could be planted into the text of `{file}`")
        )
    return test


def _without_faults(
    graph: Graph, file: str, options: Options, made: Mapping[str, Engine]
) -> tuple[SpecReport, Graph]:
    """The report of the check itself, and the graph that it ran: reduced, and with training."""
    report = SpecReport(file)
    if options.reduce:
        graph = reduce(graph)
    checker = Checker(graph, options, made, report)
    try:
        checker.run()
    finally:
        checker.close()
    return report, checker.graph


# --- telling ------------------------------------------------------------------------------------


def _cells(test: SelfTest, trial: Trial) -> tuple[str, ...]:
    mutant = trial.mutant
    named = trial.node or ("training" if trial.quantity == "step" else "")
    if trial.quantity == "step":
        named = "training"
    return (
        mutant.operator,
        f"{mutant.backend}:{mutant.line}",
        ", ".join(str(line) for line in _lines(test, mutant)[:2]) or "train",
        trial.outcome.upper() if trial.outcome == "escaped" else trial.outcome,
        named if trial.right or not named else f"{named} (!)",
    )


def _lines(test: SelfTest, mutant: Mutant) -> list[int]:
    return sorted({test.lines[id] for id in mutant.nodes if id in test.lines})


def _row(cells: Sequence[str]) -> str:
    padded = [cell.ljust(width) for cell, width in zip(cells, WIDTHS, strict=False)]
    return "".join([*padded, *cells[len(WIDTHS) :]]).rstrip()


def _summary(test: SelfTest) -> str:
    """How many were caught, and what was left out and why."""
    counted = test.counted
    caught = sum(trial.outcome == "caught" for trial in counted)
    right = sum(trial.right for trial in counted)
    text = f"\n{caught} of {len(counted)} caught, layer named right {right} of {len(counted)}"
    outcomes = Counter(trial.outcome for trial in test.trials)
    for outcome, words in LEFT_OUT.items():
        if outcomes[outcome]:
            text += f"; {outcomes[outcome]} more {words}"
    return text


def _document(test: SelfTest) -> dict[str, Any]:
    report = test.report
    return {
        "spec": report.spec,
        "status": report.status,
        "notes": report.notes,
        "diagnostics": json.loads(render(report.diagnostics, "json"))["diagnostics"],
        "planted": len(test.counted),
        "caught": sum(trial.outcome == "caught" for trial in test.counted),
        "named_right": sum(trial.right for trial in test.counted),
        "faults": [
            {
                "operator": trial.mutant.operator,
                "backend": trial.mutant.backend,
                "line": trial.mutant.line,
                "change": trial.mutant.change,
                "layers": list(trial.mutant.nodes),
                "spec_lines": _lines(test, trial.mutant),
                "outcome": trial.outcome,
                "node": trial.node or None,
                "quantity": trial.quantity or None,
                "named_right": trial.right,
                "seconds": round(trial.seconds, 3),
            }
            for trial in test.trials
        ],
    }
