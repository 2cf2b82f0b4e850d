"""Isolated and end-to-end comparison in float64."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy.typing as npt

from cnnspec.backends.base import Gradients, Trace
from cnnspec.check import bounds, samples
from cnnspec.check.bounds import FLOOR, UNIT, Bounds

if TYPE_CHECKING:
    from cnnspec.check.run import Checker

Array = npt.NDArray[Any]

INFERENCE, TRAINING = False, True


def isolated(checker: Checker, sample: samples.Sample, training: bool) -> None:
    """Every node on its own, fed with the reference's inputs and cotangents."""
    answer = checker.answers[training]
    feed = bounds.feeds(checker.graph, sample.inputs, answer)
    traces = checker.all(
        "trace", sample.inputs, feed=feed, cotangents=answer.gradients, training=training
    )
    for a, b in itertools.combinations(traces, 2):
        compare_pair(
            checker, (a, b), traces[a], traces[b], checker.own[training], "float64", training
        )


def compare_pair(
    checker: Checker,
    names: tuple[str, str],
    left: Trace,
    right: Trace,
    own: Bounds,
    dtype: str,
    training: bool,
) -> None:
    """Every node of two traces, each fed with the same inputs and cotangents."""
    unit, floor = UNIT[dtype], FLOOR[dtype]
    about: dict[str, Any] = {
        "backends": names,
        "mode": "isolated",
        "dtype": dtype,
        "training": training,
    }
    for node in checker.graph.nodes:
        checker.add(
            left.values[node.id],
            right.values[node.id],
            unit * own.values[node.id] + floor,
            quantity="forward",
            node=node.id,
            name=node.id,
            **about,
        )
        for index, bound in enumerate(own.own[node.id]):
            checker.add(
                left.own[node.id][index],
                right.own[node.id][index],
                unit * bound + floor,
                quantity="input_gradient",
                node=node.id,
                name=node.inputs[index].id,
                **about,
            )
    compare_named(
        checker, left.parameters, right.parameters, own.parameters, "parameter_gradient", about
    )
    if training:
        compare_named(
            checker, left.statistics, right.statistics, own.statistics, "running_statistics", about
        )


def compare_named(
    checker: Checker,
    left: Mapping[str, Array],
    right: Mapping[str, Array],
    coefficients: Mapping[str, Array],
    quantity: str,
    about: Mapping[str, Any],
    **more: Any,
) -> None:
    """Tensors by canonical name."""
    unit, floor = UNIT[about["dtype"]], FLOOR[about["dtype"]]
    for name, coefficient in coefficients.items():
        checker.add(
            left[name],
            right[name],
            unit * coefficient + floor,
            quantity=quantity,
            node=name.rpartition(".")[0],
            name=name,
            **about,
            **more,
        )


def end_to_end(checker: Checker, sample: samples.Sample, training: bool) -> None:
    """The files as they are: outputs, gradients of inputs and parameters, statistics."""
    answers: dict[str, Gradients] = checker.tell(
        {
            name: (
                "gradients",
                (sample.inputs,),
                {"cotangents": sample.cotangents, "training": training},
            )
            for name in checker.names("float64")
            if deterministic(checker, name, training)
        }
    )
    whole = checker.whole[training]
    for a, b in itertools.combinations(answers, 2):
        about: dict[str, Any] = {
            "backends": (a, b),
            "mode": "end_to_end",
            "dtype": "float64",
            "training": training,
        }
        left, right = answers[a], answers[b]
        for output in checker.graph.outputs:
            checker.add(
                left.outputs[output.name],
                right.outputs[output.name],
                UNIT["float64"] * whole.values[output.value.id] + FLOOR["float64"],
                quantity="forward",
                node=output.value.id,
                name=output.name,
                **about,
            )
        for name, bound in whole.inputs.items():
            checker.add(
                left.inputs[name],
                right.inputs[name],
                UNIT["float64"] * bound + FLOOR["float64"],
                quantity="input_gradient",
                node=name,
                name=name,
                judged=not checker.unsafe,
                reason="a decision could flip" if checker.unsafe else "",
                **about,
            )
        judged = not (checker.unsafe and checker.options.inputs is None)
        compare_named(
            checker,
            left.parameters,
            right.parameters,
            whole.parameters,
            "parameter_gradient",
            about,
            judged=judged,
            reason="" if judged else "a decision could flip",
        )
        if training:
            compare_named(
                checker,
                left.statistics,
                right.statistics,
                whole.statistics,
                "running_statistics",
                about,
            )


def deterministic(checker: Checker, name: str, training: bool) -> bool:
    """Whether a file of the user's own can be compared: its random layers are its own."""
    random = any(node.op.random for node in checker.graph.nodes)
    if name in checker.options.sources and random and training and name not in checker.silent:
        note = f"{name}: the file's own random layers are not compared in training mode"
        if note not in checker.report.notes:
            checker.report.notes.append(note)
        return False
    return True
