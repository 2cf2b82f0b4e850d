"""`check --minimize`: the search, the numbers, the scripts, and the directory they go into."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from cnnspec.backends import Style, get
from cnnspec.check import samples
from cnnspec.check.compare import Comparison
from cnnspec.check.engines import Engine
from cnnspec.check.failure import style_of
from cnnspec.check.minimize.case import DIGITS, case_of
from cnnspec.check.minimize.script import run_script
from cnnspec.check.minimize.search import MOST_CHECKS, MOST_SECONDS, Search, Smallest
from cnnspec.check.minimize.write import (
    SCRIPT,
    SOURCE,
    SPEC,
    refuse_directory,
    replacing,
    write_numbers,
    write_readme,
)
from cnnspec.check.options import Options, SpecReport
from cnnspec.check.probe import choices
from cnnspec.files import write_text
from cnnspec.graph import Graph
from cnnspec.ops.base import show
from cnnspec.passes.reduce import reduce
from cnnspec.quantities import REFERENCE

Array = npt.NDArray[Any]

FEWEST_SAMPLES = 2
"""Of a batch: with a single one a batch norm has nothing to normalise."""
FEW = 3
"""Layers that are named in one line."""
WORDS = {"forward": "output", "step": "weights after an update"}


@dataclass(slots=True)
class Minimized:
    """A minimal case, as it was written.

    Attributes:
        directory: that it is in.
        text: of the spec.
        command: that shows it again, to be run there.
        layers: how many the network has.
        elements: of its inputs, for one sample.
        checks: how many networks were checked.
        stopped: why the search ended early; empty where it did not.
        scripts: file name -> whether it shows the fault without this package.
        notes: what a reader has to know.
    """

    directory: str
    text: str
    command: str
    layers: int
    inputs: dict[str, tuple[int, ...]]
    checks: int
    stopped: str = ""
    scripts: dict[str, bool] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def json(self) -> dict[str, Any]:
        """As a report carries it."""
        return {
            "directory": self.directory,
            "spec": self.text,
            "command": self.command,
            "layers": self.layers,
            "inputs": {name: list(shape) for name, shape in self.inputs.items()},
            "checks": self.checks,
            "complete": not self.stopped,
            "stopped": self.stopped,
            "scripts": self.scripts,
            "notes": self.notes,
        }

    def lines(self) -> list[str]:
        """For people."""
        layers = f"{self.layers} layer{'s' if self.layers != 1 else ''}"
        shapes = ", ".join(show(shape) for shape in self.inputs.values())
        head = f"minimal case in `{self.directory}`: {layers} on {shapes}"
        found = [f"{head}, found in {self.checks} checks"]
        if self.stopped:
            found.append(f"note: {self.stopped}, so there may be a smaller one")
        found += [f"note: {note}" for note in self.notes]
        return [*found, "", *(f"    {line}" for line in self.text.splitlines())]


def minimize(
    graph: Graph,
    report: SpecReport,
    options: Options,
    made: Mapping[str, Engine],
    folder: Path,
    *,
    force: bool = False,
    most_checks: int = MOST_CHECKS,
    most_seconds: float = MOST_SECONDS,
) -> Minimized | None:
    """Find the smallest network that shows the first difference of a report, and write it.

    Args:
        graph: the network that was checked.
        report: of the check; the difference gets the result.
        options: of the check.
        made: engines of its back ends, which are running.
        folder: the directory to write.
        force: whether an earlier case there may be replaced.
        most_checks: that the search may make.
        most_seconds: that it may take; a check that is under way is not cut short.

    Returns:
        What was written; None where the difference does not show again, which a note in the
        report says.

    Raises:
        SetupError: the directory cannot be written.
    """
    refuse_directory(folder, force=force)
    difference = report.first_difference
    assert difference is not None, "there is nothing to minimise"
    if options.reduce:
        graph = reduce(graph)
    search = Search(
        graph, difference, options, made, most_checks=most_checks, most_seconds=most_seconds
    )
    best = search.run()
    if best is None:
        why = search.stopped or "neither a part of the network nor all of it shows it again"
        report.notes.append(f"no minimal case was found: {why}")
        return None
    inputs, given = _fewest(search, best)
    if best.comparison.mode == "probe":  # has inputs of its own, and scripts need these
        inputs, given = _probed(best, inputs), False
    with replacing(folder, force=force) as fresh:
        found = _written(fresh, folder, search, best, report, inputs, given=given)
    report.first_difference = replace(difference, minimized=found.json())
    return found


def _fewest(search: Search, best: Smallest) -> tuple[dict[str, Array], bool]:
    """Inputs of few samples and digits that still show it, and whether these do as `--inputs`."""
    drawn = best.report.saved["inputs"]
    few = {name: value[:FEWEST_SAMPLES] for name, value in drawn.items()}
    rounded = [{n: np.round(v, DIGITS) for n, v in each.items()} for each in (few, drawn)]
    for inputs in (rounded[0], few, rounded[1], drawn):
        options = replace(search.options, inputs=inputs)
        report = search.check(best.graph, options)
        if search.symptom.shown(report, best.graph) is not None:
            return inputs, True
    return dict(drawn), False


def _probed(best: Smallest, inputs: Mapping[str, Array]) -> dict[str, Array]:
    """Ties and kinks for the layer that decides wrongly about them."""
    numbers = choices(best.graph.node(best.comparison.node).op)
    rng = samples.generator(best.graph.seed, "probe/minimal")
    return {name: rng.choice(numbers, value.shape) for name, value in inputs.items()}


def _written(
    fresh: Path,
    folder: Path,
    search: Search,
    best: Smallest,
    report: SpecReport,
    inputs: Mapping[str, Array],
    *,
    given: bool,
) -> Minimized:
    """Write everything into a directory that nobody sees yet."""
    found = Minimized(
        str(folder),
        best.text,
        _command(search, given=given),
        len(best.graph.nodes),
        {entry.name: entry.shape for entry in best.graph.inputs},
        search.checks,
        search.stopped,
    )
    write_text(fresh / SPEC, best.text)
    weights = samples.weights(best.graph, best.graph.seed)
    style = style_of(search.options)
    others: dict[str, dict[str, Array]] = {}
    unscripted = _unscripted(best.comparison)
    if unscripted:
        found.notes.append(unscripted)
    else:
        case = case_of(best.graph, best.comparison, inputs, weights, style, plain=False)
        others["cotangents"] = {name: n.value for name, n in case.cotangents.items()}
        others["targets"] = {name: n.value for name, n in case.targets.items()}
    write_numbers(fresh, weights, inputs, others)
    for name, (file, _) in search.options.sources.items():
        shutil.copyfile(file, fresh / f"{SOURCE}{name}.py")
        found.notes.append(
            f"the file of {name} is yours and is not written anew for another network: only the "
            "inputs and the steps are reduced"
        )
    about = _about(best, report)
    for name in best.comparison.backends:
        # The other one may be the spec itself, whose learning rates are exact.
        own = name not in search.options.sources
        if name in search.options.backends and own and not unscripted:
            _write_script(fresh, found, name, best, inputs, weights, style, about)
    write_readme(fresh, _readme(found, best, about, report))
    return found


def _write_script(
    fresh: Path,
    found: Minimized,
    backend: str,
    best: Smallest,
    inputs: Mapping[str, Array],
    weights: Mapping[str, Array],
    style: Style,
    about: str,
) -> None:
    """The script of one back end: with plain numbers if these show it, else with the exact ones."""
    own, _, engine = backend.partition(":")
    script = getattr(get(own), "script", None)  # a back end of a plug-in may have none
    if script is None:
        return
    path = fresh / f"{SCRIPT}{backend.replace(':', '_')}.py"
    for plain in (True, False):
        case = case_of(best.graph, best.comparison, inputs, weights, style, plain=plain)
        text = script(case, about, engine)
        if text is None:
            found.notes.append(f"there is no script for gradients on the engine of {backend}")
            return
        write_text(path, text, force=True)
        outcome = run_script(path)
        if outcome.shows:
            break
    found.scripts[path.name] = outcome.shows
    if not outcome.shows:
        found.notes.append(
            f"`{path.name}` does not show it by itself"
            + (": " + outcome.output.splitlines()[-1] if outcome.output else "")
        )


def _unscripted(found: Comparison) -> str:
    """Why there is no script; empty where there is one."""
    if found.quantity == "initializer":
        return "initial weights are wrong, which `check` alone shows"
    if found.mode == "after_training":
        return "what training has left is wrong, which `check` alone shows"
    if found.dtype not in ("float64", "float32"):
        return f"there are no scripts for {found.dtype}"
    return ""


def _command(search: Search, *, given: bool) -> str:
    """What shows it again, in the directory of the case."""
    options = search.options
    words = ["cnnspec check", SPEC, "--backends", ",".join(options.backends)]
    words += ["--dtype", options.dtypes[0]]
    words += [] if options.steps is None else ["--steps", str(options.steps)]
    words += ["--native"] if options.layers == "native" else []
    words += ["--device", options.device] if options.device != "cpu" else []
    for name, (_, entry) in options.sources.items():
        words += ["--source", f"{name}={SOURCE}{name}.py" + (f":{entry}" if entry else "")]
    return " ".join(words + (["--inputs", "inputs.npz"] if given else []))


def _about(best: Smallest, report: SpecReport) -> str:
    """One line on what is wrong: our own words and validated names."""
    found = best.comparison
    pair = " and ".join(found.backends)
    what = WORDS.get(found.quantity, found.quantity.replace("_", " "))
    if found.name in ("loss", "learning_rate"):
        what = found.name.replace("_", " ")
    mode = "training" if found.training else "inference"
    assert report.first_difference is not None
    alone = report.first_difference.failure.standing.alone
    rest = f"; {alone} stands alone" if alone else ""
    ops = ", ".join(dict.fromkeys(node.op.key for node in best.graph.nodes))
    of = ops if len(best.graph.nodes) <= FEW else f"{found.node or 'a network'}"
    return f"{pair} differ in the {what} of {of}, {found.dtype}, {mode} mode{rest}"


def _readme(found: Minimized, best: Smallest, about: str, report: SpecReport) -> list[str]:
    worst = best.comparison.worst
    lines = [f"# {about}", "", f"Found in `{report.spec}`, reduced to:", "", "```yaml"]
    lines += [*found.text.splitlines(), "```", ""]
    if worst is not None:
        first, second = best.comparison.backends
        lines += [
            f"Worst element of `{best.comparison.name}`, at {list(worst.index)}: {worst.a!r} "
            f"({first}) and {worst.b!r} ({second}); two right answers are at most "
            f"{worst.bound:.3e} apart.",
            "",
        ]
    lines += ["Shown again, in this directory, by", "", f"    {found.command}", ""]
    for name, shows in found.scripts.items():
        lines.append(
            f"- `python {name}` "
            + ("shows it without cnnspec." if shows else "does not show it by itself.")
        )
    if found.scripts:
        lines.append(f"  Expected values are those of cnnspec's reference ({REFERENCE}, float64).")
    lines += [f"- {note}" for note in found.notes]
    if found.stopped:
        lines.append(f"- The search: {found.stopped}, so there may be a smaller case.")
    return lines


__all__ = ["Minimized", "minimize"]
