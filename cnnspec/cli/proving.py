"""Commands that run networks: options are read here, the work is elsewhere."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Sequence
from enum import StrEnum
from typing import Annotated, Literal

import typer

from cnnspec.cli.app import (
    BackendOption,
    CheckpointOption,
    DataOption,
    ForceOption,
    ParameterOption,
    ResumeOption,
    SeedOption,
    SpecArgument,
    command,
    refuse_both,
)
from cnnspec.cli.terminal import colored, out, say

Dtype = Literal["float64", "float32"]
# Of an option that is given several times typer reads no literals.
Form = StrEnum("Form", ["text", "json", "junit", "sarif", "github", "markdown"])


@command("check")
def check(
    specs: Annotated[
        list[str],
        typer.Argument(
            metavar="SPEC",
            help="YAML or JSON files, or directories of them.",
            show_default=False,
        ),
    ],
    *,
    backends: Annotated[
        str,
        typer.Option(
            "--backends",
            metavar="NAMES",
            help="Separated by commas: numpy, torch, keras (on TensorFlow), keras:jax, "
            "keras:torch.",
        ),
    ] = "numpy,torch,keras",
    forms: Annotated[
        list[Form] | None,
        typer.Option(
            "--format",
            help="How to give the report; several times for several files of it.",
            show_default="text",
        ),
    ] = None,
    outputs: Annotated[
        list[str] | None,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE",
            help="Write the report of the `--format` of the same position to this file; the text "
            "is still printed.",
            show_default=False,
        ),
    ] = None,
    dtype: Annotated[
        Literal["float64", "float32", "bfloat16"] | None,
        typer.Option(
            "--dtype", help="Check in this one alone.", show_default="float64 and float32"
        ),
    ] = None,
    device: Annotated[
        Literal["cpu", "cuda"], typer.Option("--device", help="Of all back ends but NumPy.")
    ] = "cpu",
    seed: SeedOption = None,
    steps: Annotated[
        int | None,
        typer.Option(
            "--steps",
            min=0,
            max=10_000,
            metavar="K",
            help="Training steps.",
            show_default="5, or 2 for large networks",
        ),
    ] = None,
    inputs: Annotated[
        str | None,
        typer.Option(
            "--inputs",
            metavar="FILE",
            help="An .npz of inputs by name, instead of random ones.",
            show_default=False,
        ),
    ] = None,
    weights: Annotated[
        str | None,
        typer.Option(
            "--weights",
            metavar="FILE",
            help="A safetensors file of weights by name, instead of drawn ones.",
            show_default=False,
        ),
    ] = None,
    save: Annotated[
        str | None,
        typer.Option(
            "--save",
            metavar="DIR",
            help="Write weights.safetensors, inputs.npz and outputs.npz of the reference.",
            show_default=False,
        ),
    ] = None,
    source: Annotated[
        list[str] | None,
        typer.Option(
            "--source",
            metavar="BACKEND=FILE[:NAME]",
            help="Check this file instead of the one that compile would write. It is run as it "
            "is. NAME is its class or function.",
            show_default=False,
        ),
    ] = None,
    reduce: Annotated[
        bool,
        typer.Option(
            "--reduce",
            help="Run each network on the smallest inputs that keep its parameters and windows.",
        ),
    ] = False,
    graph: Annotated[
        bool,
        typer.Option("--graph", help="Let Keras compile its training step instead of running it."),
    ] = False,
    native: Annotated[
        bool,
        typer.Option("--native", help="Check what `compile --native` writes, to judge frameworks."),
    ] = False,
    optimize: Annotated[
        Literal["inference"] | None,
        typer.Option(
            "--optimize",
            help="Check what `compile --optimize inference` writes, and that it computes what the "
            "original does with the same weights.",
            show_default=False,
        ),
    ] = None,
    parameters: ParameterOption = None,
    jobs: Annotated[
        int | None,
        typer.Option(
            "--jobs",
            "-j",
            min=1,
            max=256,
            metavar="N",
            help="Networks that are checked at once, as far as memory goes.",
            show_default="one for each core",
        ),
    ] = None,
    timeout: Annotated[
        float,
        typer.Option(
            "--timeout",
            min=0.1,
            max=1e6,
            metavar="SECONDS",
            help="That an engine may take for one answer.",
        ),
    ] = 600.0,
    self_test: Annotated[
        bool,
        typer.Option(
            "--self-test",
            help="Plant faults into the compiled files, one at a time, and see that each is found.",
        ),
    ] = False,
    faults: Annotated[
        int,
        typer.Option("--faults", min=1, max=10_000, metavar="N", help="So many of them."),
    ] = 20,
    in_process: Annotated[
        bool, typer.Option("--in-process", help="No processes of their own, for debugging.")
    ] = False,
    minimize: Annotated[
        str | None,
        typer.Option(
            "--minimize",
            metavar="DIR",
            help="Write the smallest network that shows the first difference, and scripts that "
            "show it without cnnspec.",
            show_default=False,
        ),
    ] = None,
    force: ForceOption = False,
    cache: Annotated[
        bool | None,
        typer.Option(
            "--cache/--no-cache",
            help="Skip specs that have agreed before and of which nothing has changed.",
            show_default="as `cache` in [tool.cnnspec] of pyproject.toml says, and no under CI",
        ),
    ] = None,
    cache_dir: Annotated[
        str | None,
        typer.Option(
            "--cache-dir",
            metavar="DIR",
            help="Where results are kept; `--cache` is meant with it.",
            show_default=".cnnspec_cache",
        ),
    ] = None,
) -> None:
    """Prove that back ends compute the same.

    That is outputs, gradients of every parameter and input, running statistics and training steps.

    Exit status 0 only if all agree within bounds that follow from the arithmetic. Otherwise the
    first layer that differs is named, with its place in the spec and the worst element.

    Examples:
      cnnspec check net.yaml
      cnnspec check specs/ --reduce
      cnnspec check specs/*.yaml --format json > report.json
      cnnspec check specs/ --format junit -o junit.xml --format github
      cnnspec check net.yaml --backends numpy,torch --steps 20
      cnnspec check net.yaml --backends numpy,keras,keras:jax,keras:torch
      cnnspec check net.yaml --source torch=my_net.py:Net
      cnnspec check net.yaml --optimize inference
      cnnspec check net.yaml --self-test
      cnnspec check net.yaml --minimize case
    """
    if optimize is not None and (self_test or minimize is not None):
        other = "--self-test" if self_test else "--minimize"
        raise typer.BadParameter(f"does not go with {other}", param_hint="--optimize")
    from cnnspec import heap, threads

    threads.single()  # before NumPy is imported
    if not in_process:
        heap.keep_freed_memory()
    from cnnspec.check import command as run
    from cnnspec.config import cache_directory
    from cnnspec.parameters import written

    form, files = _reports([form.value for form in forms or ()], outputs or [])
    names = tuple(name.strip() for name in backends.split(",") if name.strip())
    if not names:
        raise typer.BadParameter("name at least one back end", param_hint="--backends")
    gc.enable()  # see `cnnspec.__main__`
    status = run(
        specs,
        backends=names,
        form=form,
        dtype=dtype,
        seed=seed,
        steps=steps,
        inputs=inputs,
        weights=weights,
        device=device,
        timeout=timeout,
        save=save,
        sources=tuple(_source(text) for text in source or ()),
        parameters=written(parameters or ()),
        reduce=reduce,
        graph=graph,
        layers="native" if native else "exact",
        optimize=optimize,
        jobs=jobs or len(os.sched_getaffinity(0)),
        in_process=in_process,
        self_test=faults if self_test else None,
        minimize=minimize,
        force=force,
        outputs=files,
        cache=cache_directory(cache, cache_dir),
        out=out,
        say=say,
        color=colored(sys.stdout),
    )
    raise typer.Exit(status)


@command("train")
def train(
    spec: SpecArgument,
    *,
    backend: BackendOption,
    data: DataOption = None,
    directory: Annotated[
        str | None,
        typer.Option(
            "--output",
            "-o",
            metavar="RUNDIR",
            help="Where weights and metrics.csv go.",
            show_default=False,
        ),
    ] = None,
    dtype: Annotated[Dtype, typer.Option("--dtype", help="Of all arithmetic.")] = "float64",
    epochs: Annotated[
        int | None,
        typer.Option(
            "--epochs",
            min=0,
            max=1_000_000,
            metavar="N",
            help="Instead of those of the spec.",
            show_default=False,
        ),
    ] = None,
    parameters: ParameterOption = None,
    seed: SeedOption = None,
    device: Annotated[
        str,
        typer.Option("--device", metavar="DEVICE", help="cpu, cuda, or auto: a GPU if there is."),
    ] = "cpu",
    devices: Annotated[
        int,
        typer.Option(
            "--devices",
            min=1,
            max=4096,
            metavar="N",
            help="Of that kind, for Keras on JAX: each takes a part of every batch.",
        ),
    ] = 1,
    workers: Annotated[
        int,
        typer.Option(
            "--workers", min=0, max=256, metavar="N", help="Processes that prepare batches ahead."
        ),
    ] = 0,
    precision: Annotated[
        Literal["bfloat16"] | None,
        typer.Option("--precision", help="Mixed: products in it, beside float32 weights."),
    ] = None,
    channels_last: Annotated[
        bool, typer.Option("--channels-last", help="Images in memory with their channels last.")
    ] = False,
    compile_model: Annotated[
        bool, typer.Option("--compile", help="Let torch compile the passes first.")
    ] = False,
    fit: Annotated[
        bool, typer.Option("--fit", help="Let Keras' own `fit` make the updates of an epoch.")
    ] = False,
    native_randomness: Annotated[
        bool,
        typer.Option(
            "--native-randomness", help="The framework's own masks, which no other one has."
        ),
    ] = False,
    checkpoint_every: CheckpointOption = None,
    resume: ResumeOption = False,
    quiet: Annotated[
        bool, typer.Option("--quiet", "-q", help="No line for each epoch, and no bar.")
    ] = False,
    force: ForceOption = False,
) -> None:
    """Train a network on real images.

    It is trained by the training functions of its own compiled file. Initial weights, batches and
    dropout masks are the same in every back end.

    Examples:
      cnnspec train specs/digits.yaml --backend torch --data digits -o runs/digits
      cnnspec train net.yaml -b keras --data digits --epochs 3 --dtype float64
      cnnspec train net.yaml -b torch -o runs/a --checkpoint-every 500 --resume
    """
    from cnnspec.backends.base import Tuning
    from cnnspec.train import command as run

    refuse_both(resume=resume, force=force)
    gc.enable()  # see `cnnspec.__main__`
    status = run(
        spec,
        backend=backend,
        data=data,
        directory=directory,
        dtype=dtype,
        epochs=epochs,
        seed=seed,
        force=force,
        out=out,
        say=say,
        quiet=quiet,
        parameters=parameters or (),
        resume=resume,
        checkpoint_every=checkpoint_every,
        device=device,
        devices=devices,
        workers=workers,
        tuning=Tuning(precision, channels_last, compile_model),
        native_randomness=native_randomness,
        fit=fit,
    )
    raise typer.Exit(status)


def _reports(forms: Sequence[str], files: Sequence[str]) -> tuple[str, list[tuple[str, str]]]:
    """What is printed, and the form of each file."""
    if len(files) > len(forms):
        raise typer.BadParameter("each file needs a --format of its own", param_hint="--output")
    if len({os.path.realpath(file) for file in files}) < len(files):
        raise typer.BadParameter("two reports would be one file", param_hint="--output")
    printed = forms[len(files) :] or ["text"]
    if len(printed) > 1:
        raise typer.BadParameter(
            f"one report can be printed, and {' and '.join(printed)} have no file: -o FILE",
            param_hint="--format",
        )
    return printed[0], list(zip(forms, files, strict=False))


def _source(text: str) -> tuple[str, str, str | None]:
    """Back end, file, and the name in it: `torch=net.py:Net`."""
    backend, equals, rest = text.partition("=")
    file, colon, name = rest.rpartition(":")
    if not colon or not name.isidentifier():
        file, name = rest, ""
    if not (equals and backend and file):
        raise typer.BadParameter(
            f"{text!r} is not of the form BACKEND=FILE or BACKEND=FILE:NAME", param_hint="--source"
        )
    return backend, file, name or None
