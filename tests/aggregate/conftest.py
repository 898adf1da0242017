"""Evidence for the tests of aggregate: frames built directly, and a store filled with trials of a small grid."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from orchestrator import grid as grids
from orchestrator import matrix
from orchestrator.aggregate.predictions import Images, Predictions
from orchestrator.aggregate.records import NUMBERS
from orchestrator.aggregate.scores import Evidence
from orchestrator.identity import key
from orchestrator.manifests import Manifests
from orchestrator.store import Store

SCORE_COLUMNS = ("key", "kind", "measure", "data_set", "split", "image", "content", "seed", "prediction", "label")
PSNRS = {"validation_psnr": 24.0, "validation_psnr_bicubic": 23.5, "validation_psnr_spread": 0.25}
GRID = """
name: tiny
seeds: [0, 1]
numerics: reference
backbones:
  vgg-r: {model: small/vgg, weights: random}
  vgg: {model: small/vgg, weights: pretext}
  vit: {model: small/vit, weights: pretext}
matrix:
  loss: [vgg-r, vgg, vit]
  discriminator:
    - none
    - {head: patch, backbone: vgg, start: pretext}
  initialization: [random, pretext, gan]
  task: [fr, nr]
baselines: [pixel]
photographs: {train: [astronaut], validation: [flower], test: [chelsea, brick, retina]}
iqa_sets:
  fr: &set
    distortions: [gaussian_blur, jpeg]
    levels: 5
    crop: 64
    crops: 1
    evaluation_crops: 1
    seed: 0
    benchmarks: {ladder: {photographs: [chelsea, brick]}, other: {photographs: [brick, retina]}}
  nr: *set
pretext: {steps: 1, batch: 1, crop: 64, learning_rate: 0.001}
fr_iqa: {iterations: 1, learning_rate: 0.05}
super_resolution:
  generator: {channels: 8, depths: [1], heads: [2], window: 8, mlp_ratio: 2.0, upsampler: pixelshuffledirect}
  scale: 4
  warmup: {steps: 1, batch: 1, patch: 16, learning_rate: 0.002, decay: true, ema: 0.99, seed: 0}
  training: {steps: 1, batch: 1, patch: 16, learning_rate: 0.0001, decay: false, ema: 0.9}
  weights: {pixel: 0.01, fidelity: calibrated, adversarial: {calibrated: 0.1}}
  reference_loss: vgg
  discriminator_warmup: 1
  divergence: 6.0
  crop: 64
  tests: {natural: [chelsea, brick], texture: [retina]}
iqa_transfer:
  fr: &training {steps: 1, batch: 2, learning_rate: 0.001, backbone_factor: 0.3, evaluate_every: 1}
  nr: *training
judges: {score: {no-reference: [piqe], structural: [vsi, gmsd]}, beside: [psnr]}
claims:
  F1: {says: "Losses rank differently as metrics and as training losses.", contrast: agreement, matters: 0.2}
  F2: {says: "They do so more under a discriminator.",
       contrast: agreement_change, of: adversarial, direction: lower, matters: 0.2}
  F4: {says: "Pretext weights start a better IQA model than a discriminator does.",
       contrast: difference, measure: srcc, direction: higher, matters: 0.01,
       of: {initialization: pretext}, over: {initialization: gan}, pairs: [task, backbone, seed]}
  F7: {says: "A discriminator gives better images.",
       contrast: difference, measure: quality, direction: higher, matters: 0.1,
       of: {discriminator: adversarial}, over: {discriminator: none}, pairs: [loss, seed]}
"""


def picture(name, side):
    """A deterministic uint8 image (side, side, 3) with some structure."""
    generator = np.random.default_rng(list(name.encode()))
    coarse = generator.integers(0, 256, (side // 8, side // 8, 3), dtype=np.uint8)
    return coarse.repeat(8, axis=0).repeat(8, axis=1)


def names_of(test):
    """Names of the images of a test set; of an official set as many as it takes."""
    return [p.name for p in test.photographs] if hasattr(test, "photographs") else ["img_001", "img_002"]


def invented_scores(label, generator):
    """Columns of scores.parquet for a benchmark or judging label: losses differ by a level, images by noise."""
    spec, quality = label.spec, sum(label.loss.encode()) % 7 / 7
    if label.role == "judging":
        rows = [(image, image, quality + 0.3 * generator.normal(), np.nan) for image in names_of(spec.test)]
    else:
        ladder = hasattr(spec.data, "photographs")
        contents = [p.name for p in spec.data.photographs] if ladder else ["i01.png", "i02.png", "i03.png"]
        severities = [
            (c, d, s) for c in contents for d in (spec.data.distortions if ladder else "ab") for s in range(5)
        ]
        rows = [(f"{c}_{d}_{s}", c, (2 - quality) * generator.normal() - s, 0.8 - s / 5) for c, d, s in severities]
    image, content, prediction, label_values = zip(*rows, strict=True)
    constant = {
        "key": key(spec),
        "kind": spec.KIND,
        "measure": label.judge or "quality",
        "data_set": label.data_set,
        "split": "test",
        "seed": label.seed or 0,
    }
    columns = {"image": image, "content": content, "prediction": prediction, "label": label_values}
    columns |= {name: [value] * len(rows) for name, value in constant.items()}
    return {name: columns[name] for name in SCORE_COLUMNS}


def write_images(label, folder, side, source):
    restoration = label.spec.restoration
    for name in names_of(restoration.test):
        image = source(name, side)
        parts = {"images": image}
        if restoration.super_resolution is None:
            parts |= {"reference": image, "low_resolution": image[::4, ::4]}
        for part, pixels in parts.items():
            (folder / part).mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(folder / part / f"{name}.png")


def write_record(folder, numbers):
    """A trial's record.json with these numbers."""
    record = {"key": folder.name, "numbers": numbers, "seconds": 2.5, "device": "some processor"}
    record["provenance"] = {"git_commit": "0123456789abcdef", "git_dirty": False}
    (folder / "record.json").write_text(json.dumps(record))


def fill(store, study, status=lambda label: "done", side=64, source=picture):
    """Finishes every trial of the study's labels with the status that `status(label)` gives; None leaves it out."""
    generator = np.random.default_rng(0)
    finished = set()
    for label in study.labels:
        unit, state = (label.spec.KIND, key(label.spec)), status(label)
        if unit in finished or state is None:
            continue
        finished.add(unit)
        folder = store.folder(*unit)
        folder.mkdir(parents=True, exist_ok=True)
        if state == "failed":
            (folder / "FAILED").write_text("out of memory\n")
            continue
        write_record(folder, {"lower_better": float(label.judge in ("piqe", "gmsd"))} if label.judge else PSNRS)
        if label.role == "optimization":
            curve = {"step": [0, 10, 0], "name": ["loss", "loss", "pixel"], "value": [0.5, 0.25, 0.125]}
            pq.write_table(pa.table(curve), folder / "curves.parquet")
        if label.role in ("metric_benchmark", "judging", "iqa_benchmark"):
            pq.write_table(pa.table(invented_scores(label, generator)), folder / "scores.parquet")
        if label.role == "judging":
            restored = store.folder("restoration", key(label.spec.restoration))
            write_images(label, restored, side, source)
            write_record(restored, {})
            (restored / "DONE").write_text("done\n")
        (folder / "DONE").write_text(f"{state}\n")


def small_grid(folder, text=GRID):
    """(path of the grid's file in `folder`, its study, its empty store) for the small grid, or that of `text`."""
    path = folder / "tiny.yaml"
    path.write_text(f"{text}runtime: {{storage: {folder / 'store'}}}\n")
    grid = grids.load(path)
    return path, matrix.expand(grid, Manifests()), Store(grid.runtime.storage)


@pytest.fixture
def tiny(tmp_path):
    """The small grid with an empty store."""
    return small_grid(tmp_path)


@pytest.fixture(scope="session")
def filled(tmp_path_factory):
    """The small grid with one diverged SR trial, one failed judging and the rest done; not to be written to."""
    path, study, store = small_grid(tmp_path_factory.mktemp("filled"))
    diverged = ("vit", "patch-vgg-pretext", 1)

    def status(label):
        if (label.loss, label.discriminator, label.seed) == diverged:
            return "diverged" if label.role == "optimization" else None
        judged = (label.role, label.loss, label.judge, label.seed, label.discriminator, label.data_set)
        return "failed" if judged == ("judging", "vgg", "vsi", 0, "none", "natural") else "done"

    fill(store, study, status)
    return path, study, store


def cell(role, key, **levels):
    """One row of `cells`; levels not named are empty."""
    row = dict.fromkeys(
        (
            "loss",
            "discriminator",
            "initialization",
            "task",
            "backbone",
            "start",
            "data_set",
            "judge",
            "family",
            "because",
        ),
        "",
    )
    kind = {"judging": "judging", "optimization": "super_resolution"}.get(role, "benchmark")
    row |= dict.fromkeys(NUMBERS, np.nan) | {"seed": 0, "baseline": False, "status": "done", "kind": kind}
    return row | {"role": role, "key": key} | levels


def predicted(values, labels=None, contents=None, names=None):
    """`Predictions` of one trial; each image is its own content unless said."""
    n = len(values)
    labels = np.full(n, np.nan) if labels is None else labels
    contents = contents or [f"content{i}" for i in range(n)]
    names = names or [f"image{i}" for i in range(n)]
    images = Images(np.array(names, dtype=str), np.array(contents, dtype=str), np.asarray(labels, float))
    return Predictions(images, np.asarray(values, float))


def frame(columns, rows=()):
    """A frame with the columns that one string names."""
    return pd.DataFrame(list(rows), columns=columns.split())


def evidence_of(cells, scores, losses, discriminators=("none",), seeds=(0,), twins=(), **frames):
    """`Evidence` of rows of cells and of predictions by key. `frames` may be levels, circular, trials, curves, faults:
    without them, discriminators without parts, and trials of which nothing but kind and status is known."""
    cells = pd.DataFrame(cells).astype({"seed": "Int64"})
    units = cells.drop_duplicates("key")
    unknown = [(kind, kind, state, np.nan, "", "", None, "", "") for kind, state in units[["kind", "status"]].values]
    trials = frame("kind name status seconds device git_commit git_dirty record mlflow", unknown)
    empty = {
        "restorations": frame("loss discriminator seed data_set baseline key status folder"),
        "levels": frame(
            "discriminator head backbone start weight", [(name, "", "", "", np.nan) for name in discriminators]
        ),
        "circular": frame("judge loss why"),
        "trials": trials.set_axis(pd.Index(units["key"], name="key")),
        "curves": frame("key loss discriminator seed baseline name step value"),
        "faults": frame("kind key what"),
    }
    return Evidence(
        name="small",
        seeds=tuple(seeds),
        losses=tuple(losses),
        twins=tuple(twins),
        discriminators=tuple(discriminators),
        label_kind="severity labels, not human opinion",
        cells=cells,
        scores=scores,
        **(empty | frames),
    )


def tree(folder: Path):
    """Relative paths of all files below a folder."""
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())
