"""The amount of work in a trial: pixels that it sends through its networks. Pure."""

from collections.abc import Iterable, Mapping
from typing import Any

from orchestrator.spec import (
    Benchmark,
    FrIqa,
    IqaData,
    IqaDataSet,
    IqaTransfer,
    Judging,
    Pretext,
    Restoration,
    SeverityLadder,
    SrData,
    SrPhotographs,
    SuperResolution,
    Trial,
)

# Pixels of official sets (images x width x height as published), for plans made before preflight has seen the files.
NOMINAL_PIXELS = {
    "kadid10k": 10125 * 512 * 384,
    "tid2013": 3000 * 512 * 384,
    "live": 779 * 768 * 512,
    "csiq": 866 * 512 * 512,
    "pipal": 23200 * 288 * 288,
    "koniq10k": 10073 * 1024 * 768,
    "spaq": 11125 * 683 * 512,
    "live_challenge": 1162 * 500 * 500,
}
NOMINAL_SR_PIXELS = {
    "set5": 5 * 300 * 300,
    "set14": 14 * 500 * 450,
    "bsd100": 100 * 481 * 321,
    "urban100": 100 * 1024 * 800,
    "div2k-val": 100 * 2040 * 1400,
}


class Work:
    """Pixels that a trial sends through its networks; `manifests` is the JSON of manifests by content."""

    def __init__(self, manifests: Iterable[Mapping[str, Any]] = ()) -> None:
        self.pixels = {found["content"]: found["pixels"] for found in manifests if found.get("pixels")}

    def of(self, spec: Trial) -> float:
        """Pixels of the steps of a training and of its validations, else of the data set."""
        return self.of_steps(spec) + self.of_validations(spec)

    def of_validations(self, spec: Trial) -> float:
        """What the validations of an IQA model cost in pixels of training: forward is a third of a step."""
        if not isinstance(spec, IqaTransfer):
            return 0.0
        times = 1 + -(-spec.training.steps // spec.training.evaluate_every)
        return times * self.of_data(spec.validation) / 3

    def of_steps(self, spec: Trial) -> float:
        """For trainings steps x images x pixels of a crop, else the pixels of the data set."""
        match spec:
            case Pretext():
                return float(spec.training.steps * spec.training.batch * spec.training.crop**2)
            case SuperResolution():
                training = spec.training
                steps = training.steps + training.discriminator_warmup
                return float(steps * training.batch * (training.patch * spec.scale) ** 2)
            case IqaTransfer():
                return float(spec.training.steps * spec.training.batch * spec.train.crop**2)
            case FrIqa():
                return self.of_data(spec.train) + self.of_data(spec.validation)
            case Restoration() | Judging():
                return self.of_images(spec.test)
            case Benchmark():
                return self.of_data(spec.data)
        return 0.0

    def of_data(self, data: IqaData) -> float:
        """Pixels of the distorted images of a set."""
        if isinstance(data, SeverityLadder):
            return float(len(data.photographs) * data.crops * len(data.distortions) * data.levels * data.crop**2)
        whole = self.pixels.get(data.content) or NOMINAL_PIXELS.get(data.layout, 10**9)
        return float(whole) * _share(data)

    def of_images(self, data: SrData) -> float:
        """Pixels of the high-resolution images of a set."""
        if isinstance(data, SrPhotographs):
            return float(len(data.photographs) * data.crop**2)
        return float(self.pixels.get(data.content) or NOMINAL_SR_PIXELS.get(data.name, 100 * 10**6))


def _share(data: IqaDataSet) -> float:
    """Fraction of a set that a part is; of an official split a rough one."""
    if data.part == "all":
        return 1.0
    fractions = {"train": 0.7, "validation": 0.1, "test": 0.2}
    if data.split is not None:
        fractions = {"train": data.split.train, "validation": data.split.validation}
        fractions["test"] = max(0.0, 1 - sum(fractions.values()))
    return fractions[data.part]
