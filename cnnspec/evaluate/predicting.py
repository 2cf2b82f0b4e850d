"""The `predict` command: what a trained network takes pictures for."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from cnnspec import document
from cnnspec.backends.base import Dtype, Session
from cnnspec.build import build
from cnnspec.diagnostics import Diagnostic, UserError
from cnnspec.evaluate.answers import kind_of, probabilities, ranked
from cnnspec.evaluate.described import class_names, described, scaling_of
from cnnspec.evaluate.model import opened, trained_weights
from cnnspec.graph import Graph
from cnnspec.images import Sample, Scaling, assemble
from cnnspec.inspect.attribution import classified
from cnnspec.parameters import written
from cnnspec.render import clean, render
from cnnspec.schema import read_spec

__all__ = ["Prediction", "command", "predict"]


@dataclass(frozen=True, slots=True)
class Prediction:
    """The likeliest classes of one sample: number, name, and probability or value.

    `notes` says what was done to its file.
    """

    name: str
    classes: tuple[tuple[int, str, float], ...]
    measured: str
    notes: tuple[str, ...]


def command(
    spec: str,
    *,
    weights: str,
    best: bool,
    images: Sequence[str],
    data: str | None,
    top: int,
    resize: bool,
    scaling: Scaling | None,
    invert: bool,
    backend: str,
    dtype: Dtype,
    device: str,
    form: Literal["text", "json"],
    out: Callable[[str], None],
    say: Callable[[str], None],
    parameters: Sequence[str] = (),
) -> int:
    """Print the likeliest classes of each file; a file that cannot be used is named.

    Args:
        spec: the file.
        weights: a safetensors file or a run directory.
        best: of a run directory the best weights.
        images: a file for each sample.
        data: name of a source, which names the classes.
        top: how many classes.
        resize: whether pictures of another size are resized.
        scaling: of pixels; None for that of the spec's data section.
        invert: whether 1 - p is taken of each pixel p.
        backend: name of the back end.
        dtype: of all arithmetic.
        device: as the framework calls it.
        form: of the answers.
        out: prints a result.
        say: prints a remark.
        parameters: of the spec, each `name=value`.

    Returns:
        The exit status: 0, or 1 where a file could not be used.

    Raises:
        UserError: spec or weights are wrong, or no file can be used.
    """
    graph = build(read_spec(document.read(spec), written(parameters))).graph
    values = trained_weights(weights, graph, best=best)
    run = described(weights)
    if scaling is None:
        entry = graph.inputs[0]
        scaling = scaling_of(graph, entry.name, entry.shape[0], run)
    scaling = scaling.inverted(invert)
    names = class_names(graph, data, run)
    answers: list[Prediction] = []
    faults: list[Diagnostic] = []
    with opened(graph, backend, values, dtype=dtype, device=device) as session:
        for image in images:
            try:
                sample = assemble([image], graph, resize=resize, scaling=scaling)
            except UserError as error:
                faults += error.diagnostics
                continue
            answers.append(predict(session, graph, sample, top=top, classes=names))
    if form == "json":
        out(_json(answers, faults))
    else:
        for answer in answers:
            out(_text(answer))
    if faults:
        say(render(faults, "full"))
    return 1 if faults else 0


def predict(
    session: Session, graph: Graph, sample: Sample, *, top: int = 5, classes: Sequence[str] = ()
) -> Prediction:
    """The likeliest classes of a sample, in inference mode.

    Of an output with positions the probabilities are means over them.

    Args:
        session: holds the weights.
        graph: the network.
        sample: with a batch of 1.
        top: how many classes.
        classes: their names.
    """
    output = classified(graph)
    kind = kind_of(graph, output)
    with np.errstate(all="ignore"):
        found = probabilities(kind, session.forward(sample.inputs)[output.name])[0]
    named = classes if len(classes) == len(found) else [str(i) for i in range(len(found))]
    return Prediction(
        sample.name,
        tuple((k, named[k], float(found[k])) for k in ranked(found, top)),
        "value" if kind == "values" else "probability",
        sample.notes,
    )


def _text(answer: Prediction) -> str:
    wide = max(len(name) for _, name, _ in answer.classes)
    rows = [f"  {value:.4f}  {clean(name):<{wide}}".rstrip() for _, name, value in answer.classes]
    return "\n".join([clean(answer.name), *rows])


def _json(answers: Sequence[Prediction], faults: Sequence[Diagnostic]) -> str:
    return json.dumps(
        {
            "predictions": [
                {
                    "image": answer.name,
                    "classes": [
                        {"number": number, "class": name, answer.measured: value}
                        for number, name, value in answer.classes
                    ],
                    "notes": answer.notes,
                }
                for answer in answers
            ],
            "errors": [{"code": fault.code, "message": fault.message} for fault in faults],
        },
        indent=2,
    )
