"""Runs emitted files where cnnspec cannot be imported: `python -I run_files.py FOLDER`.

The folder has `jobs.json`, a list of {backend, file, entry, inputs, outputs, train} with arrays in
`NAME.npz` and weights in `NAME.safetensors`; each job's results go to `NAME.result.npz`.
"""

from __future__ import annotations

import importlib.abc
import importlib.util
import json
import os
import sys
from collections.abc import Mapping, Sequence
from typing import Any

os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")


Job = dict[str, Any]
Arrays = dict[str, Any]
Found = dict[str, Any]


class NoCnnspec(importlib.abc.MetaPathFinder):
    """Refuses the package that wrote the files."""

    def find_spec(self, fullname: str, path: Any, target: Any = None) -> None:
        if fullname.partition(".")[0] == "cnnspec":
            raise ImportError("an emitted file stands alone")


def load(path: str) -> Any:
    """The file as a module."""
    name = "emitted_" + "".join(c if c.isalnum() else "_" for c in os.path.basename(path))
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def run_numpy(job: Job, module: Any, arrays: Arrays, weights: str, after: str) -> Found:
    model = getattr(module, job["entry"])().astype(np.float64)
    model.load_weights(weights)
    outputs, _ = model.forward(*(arrays[f"input/{name}"] for name in job["inputs"]))
    found = {"outputs": outputs}
    if job["train"]:
        inputs = picked(arrays, "input", job["inputs"])
        targets = picked(arrays, "target", job["outputs"])
        optimizer = module.make_optimizer(model)
        found["loss"] = module.train_step(model, optimizer, inputs, targets, 0, 2)
    model.save_weights(after)
    return found


def run_torch(job: Job, module: Any, arrays: Arrays, weights: str, after: str) -> Found:
    import torch

    model = getattr(module, job["entry"])().double()
    model.load_weights(weights)
    model.eval()
    tensors = {name: torch.from_numpy(array) for name, array in arrays.items()}
    with torch.no_grad():
        outputs = model(*(tensors[f"input/{name}"] for name in job["inputs"]))
    several = isinstance(outputs, dict)
    found = {"outputs": {k: v.numpy() for k, v in outputs.items()} if several else outputs.numpy()}
    if job["train"]:
        inputs = picked(tensors, "input", job["inputs"])
        targets = picked(tensors, "target", job["outputs"])
        optimizer = module.make_optimizer(model)
        found["loss"] = module.train_step(model, optimizer, inputs, targets, 0, 2)
    model.save_weights(after)
    return found


def run_keras(job: Job, module: Any, arrays: Arrays, weights: str, after: str) -> Found:
    # Keras keeps channels last.
    moved = {k: np.moveaxis(v, 1, -1) if v.ndim > 2 else v for k, v in arrays.items()}
    model = getattr(module, job["entry"])()
    module.load_weights(model, weights)
    inputs = picked(moved, "input", job["inputs"])
    outputs = model(inputs, training=False)
    several = isinstance(outputs, dict)
    outputs = outputs if several else {"": outputs}
    outputs = {k: np.asarray(v) for k, v in outputs.items()}
    outputs = {k: np.moveaxis(v, -1, 1) if v.ndim > 2 else v for k, v in outputs.items()}
    found = {"outputs": outputs if several else outputs[""]}
    if job["train"]:
        trained = module.logits_model(model) if hasattr(module, "logits_model") else model
        module.compile_model(trained, run_eagerly=True)
        targets = picked(moved, "target", job["outputs"])
        found["loss"] = module.train_step(trained, inputs, targets, 0, 2)
    module.save_weights(model, after)
    return found


def picked(arrays: Mapping[str, Any], kind: str, names: Sequence[str]) -> Any:
    """One array, or several by name."""
    found = {name: arrays[f"{kind}/{name}"] for name in names}
    return found if len(found) > 1 else next(iter(found.values()))


def main(folder: str) -> None:
    with open(os.path.join(folder, "jobs.json"), encoding="utf-8") as file:
        jobs = json.load(file)
    for job in jobs:
        if job["backend"] == "keras":
            import keras

            keras.config.set_floatx("float64")
            keras.config.set_dtype_policy("float64")
        base = os.path.join(folder, job["name"])
        with np.load(base + ".npz") as file:
            arrays = {name: file[name] for name in file.files}
        run = {"numpy": run_numpy, "torch": run_torch, "keras": run_keras}[job["backend"]]
        after = base + ".after.safetensors"
        module = load(job["file"])
        found = run(job, module, arrays, base + ".safetensors", after)
        outputs = found["outputs"]
        if not isinstance(outputs, dict):
            outputs = {job["outputs"][0]: outputs}
        results = {f"output/{name}": value for name, value in outputs.items()}
        if "loss" in found:
            results["loss"] = np.asarray(float(found["loss"]))
        np.savez(base + ".result.npz", **results)
    assert not [name for name in sys.modules if name.partition(".")[0] == "cnnspec"]


if __name__ == "__main__":
    sys.meta_path.insert(0, NoCnnspec())
    try:
        import cnnspec  # noqa: F401
    except ImportError:
        pass
    else:
        raise SystemExit("the guard does not work")
    import numpy as np

    main(sys.argv[1])
