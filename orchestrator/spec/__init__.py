"""The leaf: what a trial is, one frozen class for each of the seven kinds (docs/study.md).

A spec holds everything that a trial's result depends on and nothing else: no device, path, thread count or interval.
An edge of the graph is held by value: an `IqaTransfer` that starts from a discriminator holds the whole
`SuperResolution` spec that trained it. In a trial's `spec.json` each such parent is replaced by a `Parent(kind, key)`,
and the same classes read it back. Standard library only, so that a worker needs nothing else of the orchestrator.

Units: lengths in pixels, `steps` in optimizer steps, `batch` in images, learning rates as PyTorch takes them.
"""

from orchestrator.spec.kinds import (
    KINDS,
    TRAINING_KINDS,
    TRIALS,
    Benchmark,
    Discriminator,
    FrIqa,
    IqaTransfer,
    Judging,
    Parent,
    Pretext,
    Restoration,
    SuperResolution,
    Trial,
)
from orchestrator.spec.parts import (
    Backbone,
    BackboneModel,
    Calibrated,
    Distortion,
    Head,
    IqaTraining,
    Judge,
    LossWeights,
    MetricFit,
    Model,
    Numerics,
    Photograph,
    PretextTraining,
    RandomWeights,
    SeverityLadder,
    SrPhotographs,
    SrTraining,
    SwinIR,
    Task,
    Weight,
)
from orchestrator.spec.photographs import (
    PHOTOGRAPHS,
    Embedded,
    photograph,
    unknown,
)
from orchestrator.spec.reading import (
    HEADER,
    decode,
    field_names,
    parents,
)

__all__ = [
    "HEADER",
    "KINDS",
    "PHOTOGRAPHS",
    "TRAINING_KINDS",
    "TRIALS",
    "Backbone",
    "BackboneModel",
    "Benchmark",
    "Calibrated",
    "Discriminator",
    "Distortion",
    "Embedded",
    "FrIqa",
    "Head",
    "IqaTraining",
    "IqaTransfer",
    "Judge",
    "Judging",
    "LossWeights",
    "MetricFit",
    "Model",
    "Numerics",
    "Parent",
    "Photograph",
    "Pretext",
    "PretextTraining",
    "RandomWeights",
    "Restoration",
    "SeverityLadder",
    "SrPhotographs",
    "SrTraining",
    "SuperResolution",
    "SwinIR",
    "Task",
    "Trial",
    "Weight",
    "decode",
    "field_names",
    "parents",
    "photograph",
    "unknown",
]
