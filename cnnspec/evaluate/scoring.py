"""The `evaluate` command: how good a trained network is on data that it was not trained on."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any, Literal

import numpy as np

from cnnspec import data as sources
from cnnspec import document
from cnnspec.backends.base import Dtype
from cnnspec.build import build
from cnnspec.data import Dataset, Samples
from cnnspec.diagnostics import Diagnostic, SetupError
from cnnspec.evaluate.described import described
from cnnspec.evaluate.model import opened, trained_weights
from cnnspec.graph import Graph
from cnnspec.parameters import written
from cnnspec.schema import read_spec
from cnnspec.train.metrics import OutputScore, Score, evaluate, per_class
from cnnspec.train.preflight import require_training

__all__ = ["command", "report", "scored"]

Half = Literal["test", "train", "validation"]

MOST_SHOWN = 20
"""Classes of a confusion matrix that is printed; JSON has any."""


def command(
    spec: str,
    *,
    weights: str,
    best: bool,
    data: str | None,
    half: Half,
    backend: str,
    dtype: Dtype,
    device: str,
    form: Literal["text", "json"],
    out: Callable[[str], None],
    parameters: Sequence[str] = (),
) -> int:
    """Print loss, accuracy, top-5, precision and recall of each class, and the confusion matrix.

    Args:
        spec: the file.
        weights: a safetensors file or a run directory.
        best: of a run directory the best weights.
        data: name of a source, instead of the data of the spec.
        half: which samples.
        backend: name of the back end.
        dtype: of all arithmetic.
        device: as the framework calls it.
        form: of the report.
        out: prints a result.
        parameters: of the spec, each `name=value`.

    Returns:
        The exit status, 0.

    Raises:
        UserError: see `scored`.
    """
    graph = build(read_spec(document.read(spec), written(parameters))).graph
    require_training(graph)
    values = trained_weights(weights, graph, best=best)
    statistics = described(weights).statistics or None
    found = sources.fit(sources.given(data, graph, statistics=statistics), graph)
    samples = _half(found, half)
    with opened(graph, backend, values, dtype=dtype, device=device, batch=_batch(graph)) as session:
        score = scored(session, samples, graph)
    facts = report(graph, found, half, len(samples), score)
    out(json.dumps(facts, indent=2) if form == "json" else _text(facts))
    return 0


def scored(session: Any, samples: Samples, graph: Graph) -> Score:
    """Loss and metrics of a session over some samples, in inference mode.

    Args:
        session: holds the weights.
        samples: under the network's names.
        graph: with a `train:` section, whose losses these are.
    """
    training = require_training(graph)
    with np.errstate(all="ignore"):  # a network that overflows has a loss that says so
        return evaluate(session, samples, training, batch=training.batch, confusion=True)


def _batch(graph: Graph) -> int:
    return require_training(graph).batch


def _half(data: Dataset, half: Half) -> Samples:
    found = {"test": data.test, "train": data.train, "validation": data.validation}[half]
    if found is None:
        raise SetupError(
            Diagnostic(
                "unknown-sample",
                f"the data `{data.name}` keep no samples for validation",
                help="`split: {validation: 0.1}` in their section keeps some",
            )
        )
    return found


def report(graph: Graph, data: Dataset, half: Half, samples: int, score: Score) -> dict[str, Any]:
    """Everything that is known, as plain values."""
    return {
        "network": graph.name,
        "data": data.name,
        "split": half,
        "samples": samples,
        "loss": score.loss,
        "accuracy": score.accuracy,
        "top5": score.top5,
        "outputs": {name: _output(each, data.classes) for name, each in score.outputs.items()},
    }


def _output(score: OutputScore, classes: tuple[str, ...]) -> dict[str, Any]:
    found: dict[str, Any] = {
        "loss": score.loss,
        "accuracy": score.accuracy,
        "top5": score.top5,
    }
    if score.confusion is None:
        return found
    count = len(score.confusion)
    names = list(classes) if len(classes) == count else [str(i) for i in range(count)]
    columns = per_class(score.confusion)
    rows = zip(*columns.values(), strict=True)
    found["classes"] = [
        {"class": name, **dict(zip(columns, row, strict=True))}
        for name, row in zip(names, rows, strict=True)
    ]
    found["confusion"] = score.confusion.tolist()
    return found


def _text(facts: dict[str, Any]) -> str:
    lines = [
        f"{facts['network']} on {facts['samples']:,} {facts['split']} samples of {facts['data']}",
        f"loss {facts['loss']:.6g}" + _shares(facts),
    ]
    for name, output in facts["outputs"].items():
        if len(facts["outputs"]) > 1:
            lines += ["", f"{name}: loss {output['loss']:.6g}" + _shares(output)]
        if "classes" in output:
            lines += ["", *_classes(output["classes"])]
            lines += ["", *_confusion(output["classes"], output["confusion"])]
    return "\n".join(lines)


def _shares(facts: dict[str, Any]) -> str:
    named = (("accuracy", "accuracy"), ("top5", "top-5"))
    return "".join(f", {said} {facts[key]:.4f}" for key, said in named if facts[key] is not None)


def _classes(rows: Sequence[dict[str, Any]]) -> list[str]:
    wide = max(5, *(len(row["class"]) for row in rows))
    found = [f"{'class':<{wide}}  samples  precision  recall"]
    for row in rows:
        shares = [f"{row[k]:.4f}" if row[k] is not None else "-" for k in ("precision", "recall")]
        found.append(
            f"{row['class']:<{wide}}  {row['samples']:>7,}  {shares[0]:>9}  {shares[1]:>6}"
        )
    return found


def _confusion(rows: Sequence[dict[str, Any]], matrix: Sequence[Sequence[int]]) -> list[str]:
    if len(rows) > MOST_SHOWN:
        return [f"the confusion matrix of {len(rows)} classes is in `--format json`"]
    names = [row["class"] for row in rows]
    wide = max(map(len, names))
    cell = max(wide, *(len(str(n)) for row in matrix for n in row)) + 1
    head = " " * wide + "".join(f"{name:>{cell}}" for name in names)
    body = [
        f"{name:<{wide}}" + "".join(f"{n or '.':>{cell}}" for n in row)
        for name, row in zip(names, matrix, strict=True)
    ]
    return ["label (rows) taken for (columns):", head, *body]
