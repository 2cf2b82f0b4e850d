"""docs/conformance.md: which node tests of ONNX pass, which do not, and why."""

from __future__ import annotations

import textwrap
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from tests.conformance.absent import ABSENT
from tests.conformance.accounting import BACKENDS, Entry
from tests.conformance.convert import BODY
from tests.conformance.differences import DIFFERENCES

PAGE = Path(__file__).parents[2] / "docs" / "conformance.md"

INTRODUCTION = """\
# Conformance to ONNX

<!-- `make conformance` runs every case and writes this page. Do not edit it. -->

The node tests of the ONNX project say what each of its ops gives for given inputs: {total:,} cases
in onnx {version}. None of them was written for cnnspec, so that they judge it from outside. Every
case whose op cnnspec has becomes a spec with the node's attributes as fields; every back end
compiles the spec, and the emitted text runs on the case's inputs and weights.

| | cases |
| --- | --- |
| passed by {backends} | {passed} |
| different, by a convention of the test | {differs} |
| unsupported | {unsupported:,} |
| all | {total:,} |

**How values are compared.** Where the node only chooses or moves elements, every bit has to be the
expected one. Elsewhere the files run in the case's own dtype, and the result may be as far from the
expected one as two evaluations in that dtype may lie apart: the bounds of [proof.md](proof.md), for
this network on these inputs. The tolerance that ONNX itself grants (a thousandth of each value, and
1e-7) has to hold as well.

**How a tensor goes in.** A spec describes one sample of a batch, with channels first. Convolutions,
poolings, norms and losses take the case's first axis for the batch, as ONNX does. Elsewhere the
tensor is one sample whose first axis is its channels; a layer works along any other axis between
two `permute`. Where a node has a constant that the layer does not (`Clip` from -5 to 5, the `alpha`
of `HardSigmoid`), `rescale` stands before and behind it. `ReduceMax`, `ReduceSum`, `ReduceL1` and
`ReduceL2` are poolings whose window is all that goes; `MatMul` by several matrices is a grouped
convolution. Integers go in as float64 where they are only chosen or moved.
"""


def page(entries: Sequence[Entry], version: str) -> str:
    """The text of the page.

    Args:
        entries: all of them.
        version: of the onnx package that they come from.
    """
    states = Counter(entry.state for entry in entries)
    text = INTRODUCTION.format(
        total=len(entries),
        version=version,
        backends=", ".join(BACKENDS[:-1]) + " and " + BACKENDS[-1],
        **{state: states[state] for state in ("passed", "differs", "unsupported")},
    )
    parts = [text, _by_op(entries), _partly(entries), _different(entries), _unsupported(entries)]
    return "\n".join([*parts, _absent(entries)])


def _by_op(entries: Sequence[Entry]) -> str:
    lines = [
        "## By op\n",
        "*Bodies* are unsupported too: ONNX defines some ops by a graph of primitive ones, and",
        "repeats their cases with that graph on the same data.\n",
        _row("op", "cases", *BACKENDS, "differs", "unsupported", "bodies"),
        _row(*["---"] * (5 + len(BACKENDS))),
    ]
    ops: defaultdict[str, list[Entry]] = defaultdict(list)
    for entry in entries:
        if entry.case.op not in ABSENT:
            ops[entry.case.op].append(entry)
    total: Counter[str] = Counter()
    for op, found in sorted(ops.items()):
        counts = _counts(found)
        total.update(counts)
        lines.append(_line(op, counts))
    return "\n".join([*lines, _line("all", total)]) + "\n"


def _counts(entries: Iterable[Entry]) -> Counter[str]:
    return Counter("bodies" if entry.reason == BODY else entry.state for entry in entries)


def _line(op: str, counts: Counter[str]) -> str:
    passed = [counts["passed"]] * len(BACKENDS)
    rest = (counts["differs"], counts["unsupported"], counts["bodies"])
    return _row(op, sum(counts.values()), *(value or "" for value in (*passed, *rest)))


def _partly(entries: Sequence[Entry]) -> str:
    left_out: defaultdict[str, list[str]] = defaultdict(list)
    for entry in entries:
        if entry.network is not None:
            for reason in set(entry.network.left_out.values()):
                left_out[reason].append(entry.case.name)
    lines = [
        "## Passed without a further output\n",
        "What these nodes give besides, no layer gives; all other outputs are judged.\n",
    ]
    return "\n".join([*lines, *_groups(left_out)])


def _different(entries: Sequence[Entry]) -> str:
    lines = [
        "## Different\n",
        "In these cases the back ends give what ONNX's text says, and the test expects something",
        "else. `tests/conformance/differences.py` computes both once more, without cnnspec.\n",
    ]
    for entry in entries:
        if entry.state == "differs":
            lines += [_wrapped(f"- `{entry.case.name}`: {entry.reason}. {_numbers(entry)}")]
    return "\n".join(lines) + "\n"


def _numbers(entry: Entry) -> str:
    ours = DIFFERENCES[entry.case.name].documented(entry.case)
    expected = entry.case.expected.astype(np.float64)
    at = tuple(int(i) for i in np.unravel_index(np.argmax(np.abs(ours - expected)), ours.shape))
    granted = entry.case.atol + entry.case.rtol * np.abs(expected)
    within = bool(np.all(np.abs(ours - expected) <= granted))
    more = " The test's own tolerance holds." if within else ""
    return f"At {list(at)} it expects {expected[at]:.6g}, where {ours[at]:.6g} is right.{more}"


def _unsupported(entries: Sequence[Entry]) -> str:
    reasons: defaultdict[str, list[str]] = defaultdict(list)
    for entry in entries:
        if entry.state == "unsupported" and entry.reason != BODY and entry.case.op not in ABSENT:
            reasons[entry.reason].append(entry.case.name)
    return "\n".join(["## Unsupported cases of these ops\n", *_groups(reasons)])


def _groups(groups: defaultdict[str, list[str]]) -> list[str]:
    found = []
    for reason, names in sorted(groups.items(), key=lambda item: (-len(item[1]), item[0])):
        found.append(_wrapped(f"- {reason} ({len(names)}): {', '.join(f'`{n}`' for n in names)}"))
    return [*found, ""]


def _absent(entries: Sequence[Entry]) -> str:
    counts = Counter(entry.case.op for entry in entries if entry.case.op in ABSENT)
    kinds: defaultdict[str, list[str]] = defaultdict(list)
    for op in sorted(counts):
        kinds[ABSENT[op]].append(op)
    lines = [
        "## Unsupported: ops that cnnspec has no layer for\n",
        _row("kind", "cases", "ops, with their cases"),
        _row("---", "---", "---"),
    ]
    for kind, ops in sorted(kinds.items()):
        named = ", ".join(f"{op} {counts[op]}" for op in ops)
        lines.append(_row(kind, sum(counts[op] for op in ops), named))
    return "\n".join([*lines, _row("all", sum(counts.values()), "")]) + "\n"


def _row(*cells: object) -> str:
    return "| " + " | ".join(str(cell) for cell in cells) + " |"


def _wrapped(text: str) -> str:
    return textwrap.fill(text, 100, subsequent_indent="  ", break_on_hyphens=False)
