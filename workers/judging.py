"""Judging: one judge's score of each restored image of one test set, as the judge gives it (not turned around). An own
judge (`OWN`) sees besides what the warm-up restored from the same inputs.

numbers: mean (over images), lower_better (1 when a lower score is better, else 0)
"""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import groupby
from pathlib import Path

import numpy as np
from PIL import Image

from orchestrator.spec import Judging
from workers import artifacts, judges, training
from workers.context import Context, Result
from workers.data.photographs import to_tensor
from workers.data.sr_pairs import Pair, evaluation_pairs
from workers.resuming import Collected, Steps, Which

MOST_PIXELS = 2**20
"""Of the images that are scored at once."""
OWN = {"artifacts": artifacts.scores}
"""Judges that pyiqa does not have: functions of (restored, reference, what the warm-up restored), float (N, 3, H, W) in
[0, 1] each, that give a score for each image; lower is better."""
VERSIONS = {"artifacts": "asymmetry-sweep 1"}
"""The version of each of them, raised by hand when its meaning changes. A grid is checked by the names that stand here,
without loading torch."""


def run(spec: Judging, context: Context) -> Result:
    """Scores the parent's images against the test set's own."""
    installed = VERSIONS.get(spec.judge.metric, f"pyiqa {judges.version()}")
    if spec.judge.version != installed:
        raise ValueError(f"judge {spec.judge.metric}: the spec wants {spec.judge.version}, installed is {installed}")
    context.sources.check_judge(spec.judge.metric, spec.judge.weights)
    training.full_precision()
    score, lower_better = _judge(spec, context)
    pairs = evaluation_pairs(spec.test, context.sources, spec.scale)
    roles = ["restoration"] if spec.against is None else ["restoration", "against"]
    folders = [context.parent(role) / "images" for role in roles]
    scores = Collected()
    for some in judged(score, pairs, folders, context.device, partial(Steps, context, parts={"scores": scores})):
        scores.items += some
    training.write_scores(
        context,
        kind=spec.KIND,
        measure=spec.judge.metric,
        data_set=spec.test.name,
        split="test",
        image=[pair.image_name for pair in pairs],
        content=[pair.content for pair in pairs],
        prediction=scores.items,
    )
    return Result(numbers={"mean": float(np.mean(scores.items)), "lower_better": float(lower_better)})


def judged(
    score: Callable[..., list[float]],
    pairs: Sequence[Pair],
    folders: Sequence[Path],
    device: str,
    which: Which = range,
) -> Iterator[list[float]]:
    """Scores of the pairs in order, some at a time. `folders` hold the images that `score` takes: before the reference
    those of the first, after it those of the others. `which` says which groups of pairs to score."""
    groups = list(alike(pairs))
    for group in map(groups.__getitem__, which(len(groups))):
        restored, *against = (_images(folder, group) for folder in folders)
        images = (restored, np.stack([pair.high for pair in group]), *against)
        yield score(*(to_tensor(image).to(device) for image in images))


def _judge(spec: Judging, context: Context) -> tuple[Callable[..., list[float]], bool]:
    """The function that scores (restored, reference) or (restored, reference, against), and whether lower is better."""
    own = spec.judge.metric in OWN
    if own != (spec.against is not None):
        allowed = "the warm-up's restoration" if own else "None, since it compares with none"
        raise ValueError(f"judge {spec.judge.metric}: against: found {spec.against}; allowed: {allowed}")
    if own:
        return OWN[spec.judge.metric], True
    judge = judges.judge(spec.judge.metric, context.device)
    return judge.scores, judge.lower_better


def _images(folder: Path, pairs: Sequence[Pair]) -> np.ndarray:
    """uint8 (N, H, W, 3), a restoration's images of these pairs."""
    return np.stack([np.asarray(Image.open(folder / f"{pair.image_name}.png")) for pair in pairs])


def alike(pairs: Sequence[Pair]) -> Iterator[list[Pair]]:
    """Consecutive pairs of equal size, as many as one batch holds."""
    for shape, group in groupby(pairs, key=lambda pair: pair.high.shape):
        together = list(group)
        most = max(1, MOST_PIXELS // (shape[0] * shape[1]))
        yield from (together[start : start + most] for start in range(0, len(together), most))
