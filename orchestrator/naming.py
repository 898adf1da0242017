"""Readable names of trials, in the grid's own words where a level names them."""

from collections.abc import Iterable

from orchestrator import spec
from orchestrator.identity import key
from orchestrator.matrix import FACTORS, Label

NAMED_BY_LEVELS = {"metric": "metric", "optimization": "optimize", "iqa_model": "IQA model"}


def names(labels: Iterable[Label], trials: Iterable[spec.Trial]) -> dict[str, str]:
    """key -> name for each of `trials`, parents before children."""
    known: dict[str, str] = {}
    for label in labels:
        if label.role in NAMED_BY_LEVELS:
            known.setdefault(key(label.spec), f"{NAMED_BY_LEVELS[label.role]} {levels(label)}")
    for trial in trials:
        known.setdefault(key(trial), _composed(trial, known))
    return known


def tags(labels: Iterable[Label]) -> dict[str, dict[str, str]]:
    """By key: the levels that a training answers for. Of one that several cells share, each factor with all of its
    levels, e.g. seed: 0,1."""
    found: dict[str, dict[str, dict[str, None]]] = {}
    for label in labels:
        if label.role in NAMED_BY_LEVELS:
            for factor in FACTORS:
                if (level := getattr(label, factor)) not in ("", None):
                    found.setdefault(key(label.spec), {}).setdefault(factor, {})[str(level)] = None
    return {name: {factor: ",".join(of) for factor, of in own.items()} for name, own in found.items()}


def levels(label: Label) -> str:
    """E.g. `vit under patch-vgg-pretext, seed 1` or `fr vgg from gan (vit under patch-vgg-pretext), seed 1`."""
    under = f"{label.loss} under {label.discriminator}" if label.discriminator not in ("", "none") else label.loss
    seed = "" if label.seed is None else f", seed {label.seed}"
    if label.role != "iqa_model":
        return under + seed
    source = f" ({under})" if label.initialization == "gan" else ""
    return f"{label.task} {label.backbone} from {label.initialization}{source}{seed}"


def _composed(trial: spec.Trial, known: dict[str, str]) -> str:
    """A name made of the trial's own settings and its parent's name."""
    match trial:
        case spec.Pretext():
            return f"pretext {trial.backbone.model}"
        case spec.Restoration():
            source = known[key(trial.super_resolution)] if isinstance(trial.super_resolution, spec.Trial) else "bicubic"
            return f"restore {trial.test.name} by {source}"
        case spec.Judging():
            assert isinstance(trial.restoration, spec.Trial)
            return f"judge {trial.judge.metric}: {known[key(trial.restoration)]}"
        case spec.Benchmark():
            assert isinstance(trial.model, spec.Trial)
            return f"benchmark {trial.data.name}: {known[key(trial.model)]}"
    return f"{trial.KIND} {key(trial)}"
