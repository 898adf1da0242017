"""Judging: the demo's pyiqa judges as trials score them, against a loop of single calls of the same metrics.

Every method's restoration of the demo's test images lies on disk as PNG. The other side is what a researcher writes:
each metric created once, then called with the two paths, or with tensors decoded beforehand. Each round begins with
nothing recalled; a sweep has many more methods a process than there are here.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from PIL import Image

from orchestrator import grid as grids
from orchestrator import matrix, spec
from orchestrator.manifests import Manifests
from tests.bench.paired import HEADER, Paired, alternate
from workers import judges, recalling, training
from workers.data import distortions
from workers.data.photographs import to_tensor
from workers.data.sr_pairs import Pair, evaluation_pairs, upscale_bicubic
from workers.judging import OWN, judged
from workers.sources import Sources

DEMO = Path("grids/demo.yaml")
METHODS: tuple[tuple[spec.Distortion, int] | None, ...] = (
    None, ("gaussian_blur", 1), ("white_noise", 1), ("jpeg", 1), ("jpeg", 3), ("ringing", 1), ("oversharpen", 1),
    ("gaussian_blur", 2),
)  # fmt: skip
"""What is done to the bicubic restoration, in the place of networks: the demo has 72 methods."""
ROUNDS = 4


def report(device: str) -> str:
    """A row for each judge, and for all of them, against paths and against tensors."""
    training.settle("reference")
    sets = _sets()
    with TemporaryDirectory() as folder:
        for name, pairs in sets.items():
            _write(Path(folder) / name, pairs)
        tables = [_table(Path(folder), sets, device, of_paths) for of_paths in (True, False)]
    count = sum(map(len, sets.values()))
    return (
        f"{count} test images of 128 x 128 pixels, {len(METHODS)} restorations of each (bicubic, and bicubic under "
        f"distortions), {ROUNDS} rounds, one thread. Ours decodes the restored PNGs in both tables.\n\n"
        f"The other calls `metric(path, path)`:\n\n{tables[0]}\n\nThe other calls `metric(tensor, tensor)`, decoded "
        f"before the clock starts:\n\n{tables[1]}"
    )


def _sets() -> dict[str, list[Pair]]:
    """The demo's test sets by name."""
    labels = matrix.expand(grids.load(DEMO), Manifests()).labels
    found = {label.spec.test.name: label.spec for label in labels if isinstance(label.spec, spec.Judging)}
    return {name: evaluation_pairs(trial.test, Sources(), trial.scale) for name, trial in found.items()}


def _write(folder: Path, pairs: list[Pair]) -> None:
    for pair in pairs:
        _save(folder / "reference" / f"{pair.image_name}.png", pair.high)
        bicubic = upscale_bicubic(pair.low, len(pair.high) // len(pair.low))
        for i, method in enumerate(METHODS):
            restored = bicubic if method is None else distortions.apply(method[0], bicubic, method[1], 0)
            _save(folder / str(i) / f"{pair.image_name}.png", restored)


def _save(file: Path, image: np.ndarray) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image).save(file)


def _table(folder: Path, sets: dict[str, list[Pair]], device: str, of_paths: bool) -> str:
    rows: list[str] = [HEADER]
    found: list[Paired] = []
    for name in [name for name in grids.load(DEMO).judges.families() if name not in OWN]:
        score, loop = _ours(name, folder, sets, device), _other(name, folder, sets, device, of_paths)
        np.testing.assert_allclose(score(), loop(), rtol=1e-4)
        found.append(alternate(score, loop, ROUNDS, device))
        rows.append(found[-1].row(name, ""))
    ours, other = ([sum(seconds) for seconds in zip(*sides, strict=True)] for sides in _sides(found))
    total = Paired(ours, other)
    return "\n".join([*rows, total.row("**all five**", "0.67 (1.5x)")])


def _sides(found: list[Paired]) -> tuple[list[Sequence[float]], ...]:
    return [one.ours for one in found], [one.other for one in found]


def _ours(name: str, folder: Path, sets: dict[str, list[Pair]], device: str) -> Callable[[], list[float]]:
    judge = judges.judge(name, device)

    def score() -> list[float]:
        recalling.memory.clear()
        restorations = [(pairs, folder / name / str(i)) for i in range(len(METHODS)) for name, pairs in sets.items()]
        runs = (judged(judge.scores, pairs, [restored], device) for pairs, restored in restorations)
        return [found for run in runs for some in run for found in some]

    return score


def _other(
    name: str, folder: Path, sets: dict[str, list[Pair]], device: str, of_paths: bool
) -> Callable[[], list[float]]:
    with judges.prepared(name):
        import pyiqa

        metric = pyiqa.create_metric(name, device=torch.device(device))
    images = [
        (folder / name / method / file, folder / name / "reference" / file)
        for method in map(str, range(len(METHODS)))
        for name, pairs in sets.items()
        for file in [f"{pair.image_name}.png" for pair in pairs]
    ]
    given = [[str(path) if of_paths else _tensor(path, device) for path in pair] for pair in images]
    if metric.metric_mode == "NR":
        given = [pair[:1] for pair in given]
    return lambda: [float(metric(*pair)) for pair in given]


def _tensor(path: Path, device: str) -> torch.Tensor:
    return to_tensor(np.asarray(Image.open(path)))[None].to(device)
