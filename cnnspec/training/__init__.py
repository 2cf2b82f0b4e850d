"""The `train:` section: losses, optimizers, schedules, and what goes with them. No NumPy."""

from __future__ import annotations

from cnnspec.training.clipping import Clip
from cnnspec.training.groups import Group
from cnnspec.training.losses import (
    LOSSES,
    BinaryCrossEntropy,
    CrossEntropy,
    Hinge,
    Huber,
    KlDivergence,
    Loss,
    MeanAbsoluteError,
    MeanSquaredError,
    MultiMargin,
    SquaredHinge,
)
from cnnspec.training.optimizers import (
    OPTIMIZERS,
    Adadelta,
    Adagrad,
    Adam,
    Adamax,
    AdamW,
    Nadam,
    Optimizer,
    RmsProp,
    Sgd,
)
from cnnspec.training.penalties import Constrain, Regularize
from cnnspec.training.schedules import (
    SCHEDULES,
    Constant,
    Cosine,
    Exponential,
    MultiStep,
    OneCycle,
    Polynomial,
    Schedule,
    Step,
)
from cnnspec.training.section import DEFAULT_RATE, Training, default_training
from cnnspec.training.stopping import Average, EarlyStopping
from cnnspec.training.vocabulary import Fields, Vocabulary

__all__ = [
    "DEFAULT_RATE",
    "LOSSES",
    "OPTIMIZERS",
    "SCHEDULES",
    "Adadelta",
    "Adagrad",
    "Adam",
    "AdamW",
    "Adamax",
    "Average",
    "BinaryCrossEntropy",
    "Clip",
    "Constant",
    "Constrain",
    "Cosine",
    "CrossEntropy",
    "EarlyStopping",
    "Exponential",
    "Fields",
    "Group",
    "Hinge",
    "Huber",
    "KlDivergence",
    "Loss",
    "MeanAbsoluteError",
    "MeanSquaredError",
    "MultiMargin",
    "MultiStep",
    "Nadam",
    "OneCycle",
    "Optimizer",
    "Polynomial",
    "Regularize",
    "RmsProp",
    "Schedule",
    "Sgd",
    "SquaredHinge",
    "Step",
    "Training",
    "Vocabulary",
    "default_training",
]
