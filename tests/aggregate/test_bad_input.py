"""Finished trials whose files cannot be used: each costs itself alone, with a line that says what is wrong."""

import hashlib
import re
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from orchestrator import grid as grids
from orchestrator.aggregate import scores
from orchestrator.aggregate.finished import AGAIN
from orchestrator.store import Store
from tests.aggregate.conftest import fill, small_grid
from tests.aggregate.damages import column, cut, gone, number, record, rows, text

PHOTOGRAPH = "(?:chelsea|brick|retina)"
VERSION = r"scores\.parquet is of another version of "
CASES = {  # name of the damage -> (role, damage, what is said of it)
    "truncated scores": ("judging", cut("scores.parquet"), r"scores\.parquet cannot be read \(.*Parquet.*\)"),
    "empty scores": ("judging", text("scores.parquet", ""), r"scores\.parquet cannot be read \(.*Parquet.*\)"),
    "no scores": ("metric_benchmark", gone("scores.parquet"), r"scores\.parquet is not there"),
    "no column": ("judging", column("prediction", None), r"scores\.parquet lacks the column prediction"),
    "no label column": ("iqa_benchmark", column("label", None), r"scores\.parquet lacks the column label"),
    "words for numbers": (
        "judging",
        column("prediction", lambda values: ["good"] * len(values)),
        r"scores\.parquet, column prediction, cannot be read \(.*good.*\)",
    ),
    "no rows": ("judging", rows(0), r"scores\.parquet has no rows"),
    "NaN": (
        "judging",
        column("prediction", lambda values: [np.nan, *values[1:]]),
        rf"scores\.parquet has 1 of [12] predictions that are not finite, the first is {PHOTOGRAPH}: nan",
    ),
    "null": (
        "judging",
        column("prediction", lambda values: [*values[:-1], None]),
        rf"scores\.parquet has 1 of [12] predictions that are not finite, the first is {PHOTOGRAPH}: nan",
    ),
    "infinite": (
        "metric_benchmark",
        column("prediction", lambda values: [*values[:-2], -np.inf, np.inf]),
        r"scores\.parquet has 2 of 20 predictions that are not finite, the first is \w+_jpeg_3: -inf",
    ),
    "NaN label": (
        "metric_benchmark",
        column("label", lambda values: [*values[:-1], np.nan]),
        r"scores\.parquet has 1 of 20 labels that are not finite, the first is \w+_jpeg_4: nan",
    ),
    "without labels": (
        "iqa_benchmark",
        column("label", lambda values: [None] * len(values)),
        r"scores\.parquet has 20 of 20 labels that are not finite, the first is .+: nan",
    ),
    "duplicate images": (
        "iqa_benchmark",
        column("image", lambda values: [values[0], values[0], values[0], *values[3:]]),
        r"scores\.parquet has 1 of its images more than once, the first is \w+_gaussian_blur_0",
    ),
    "image without name": (
        "judging",
        column("image", lambda values: [*values[:-1], None]),
        r"scores\.parquet has 1 rows without image",
    ),
    "fewer images": (
        "metric_benchmark",
        rows(15),
        VERSION + r"fr benchmark \w+: 15 images, of which 15 are among the 20 of the others",
    ),
    "other images": (
        "iqa_benchmark",
        column("image", lambda values: ["new", *values[1:]]),
        VERSION + r"(fr|nr) benchmark \w+: 20 images, of which 19 are among the 20 of the others",
    ),
    "other labels": (
        "metric_benchmark",
        column("label", lambda values: [0.123, 0.456, *values[2:]]),
        VERSION + r"fr benchmark \w+: 2 of 20 labels are not those of the others",
    ),
    "other contents": (
        "judging",
        column("content", lambda values: ["sky"] * len(values)),
        VERSION + r"test set \w+: its images show other contents than those of the others",
    ),
    "truncated record": ("judging", cut("record.json"), r"record\.json cannot be read \(.+\)"),
    "record that is no text": (
        "metric",
        lambda folder: (folder / "record.json").write_bytes(b"\xff\xfe{}"),
        r"record\.json cannot be read \(.+\)",
    ),
    "no record": ("optimization", gone("record.json"), r"record\.json is not there"),
    "record that is no mapping": (
        "optimization",
        text("record.json", "[1, 2]"),
        r"record\.json has no mapping `numbers`, which every finished trial records",
    ),
    "record without numbers": (
        "judging",
        record(lambda found: {"key": found["key"]}),
        r"record\.json has no mapping `numbers`, which every finished trial records",
    ),
    "numbers that are words": (
        "optimization",
        number("validation_psnr", "high"),
        r"record\.json has validation_psnr: 'high', which is no number",
    ),
    "seconds that are none": (
        "judging",
        record(lambda found: found | {"seconds": None}),
        r"record\.json has seconds: None, which is no number",
    ),
    "no direction": (
        "judging",
        number("lower_better", None),
        r"record\.json has no lower_better \(1 or 0\), without which nobody knows which scores are good",
    ),
    "another trial's record": (
        "judging",
        record(lambda found: found | {"key": "0123456789abcdef"}),
        r"record\.json is of trial 0123456789abcdef: a copied folder",
    ),
    "unknown word": (
        "metric_benchmark",
        text("DONE", "finished\n"),
        r"DONE says 'finished'; it can say done or diverged",
    ),
    "DONE is a folder": (
        "judging",
        lambda folder: ((folder / "DONE").unlink(), (folder / "DONE").mkdir()),
        r"DONE cannot be read \(.*Is a directory.*\)",
    ),
}


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """(path of the small grid, its store with every trial done)."""
    path, study, store = small_grid(tmp_path_factory.mktemp("whole"))
    fill(store, study, side=16)
    return path, store


@pytest.fixture(scope="module")
def before(whole):
    return scores.read(grids.load(whole[0]))


@pytest.fixture(scope="module")
def damaged(whole, before, tmp_path_factory):
    """(evidence of a store in which each case has damaged a trial of its own, key of that trial by case)."""
    folder = tmp_path_factory.mktemp("damaged")
    shutil.copytree(whole[1].root, folder / "store")
    (folder / "tiny.yaml").write_text(whole[0].read_text().replace(str(whole[1].root), str(folder / "store")))
    own = before.cells[~before.cells["baseline"]].groupby("role")["key"].unique()
    left = {role: iter(keys) for role, keys in own.items()}
    kinds, victims = before.trials["kind"], {}
    for name, (role, damage, _) in CASES.items():
        victims[name] = next(left[role])
        damage(folder / "store" / kinds[victims[name]] / victims[name])
    return scores.read(grids.load(folder / "tiny.yaml")), victims, Store(folder / "store")


@pytest.mark.parametrize("name", CASES)
def test_damage_is_told(name, damaged):
    found, victims, store = damaged
    victim = victims[name]
    kind = found.trials.loc[victim, "kind"]
    line = found.faults.set_index("key").loc[victim]
    assert line["kind"] == kind
    assert re.fullmatch(f"{re.escape(str(store.folder(kind, victim)))}: {CASES[name][2]}; {AGAIN}", line["what"])
    assert found.trials.loc[victim, "status"] == "unreadable"
    cells = found.cells[found.cells["key"] == victim]
    assert set(cells["status"]) == {"unreadable"}
    assert set(cells["because"]) == {line["what"]}
    assert victim not in found.scores


def test_damage_costs_nothing_else(before, damaged):
    found, victims, _ = damaged
    assert set(found.faults["key"]) == set(victims.values())
    rest = ~before.cells["key"].isin(victims.values())
    assert found.cells[rest].equals(before.cells[rest])
    assert set(found.scores) == set(before.scores) - set(victims.values())
    for key, one in found.scores.items():
        np.testing.assert_array_equal(one.values, before.scores[key].values)
        np.testing.assert_array_equal(one.images.names, before.scores[key].images.names)


def restored(path, store, damage, kind):
    """Evidence after `damage` of the first trial of `kind`, and that trial's key; the store is mended."""
    folder = min((store.root / kind).iterdir())
    kept = {file: file.read_bytes() for file in folder.iterdir() if file.is_file()}
    try:
        damage(folder)
        return scores.read(grids.load(path)), folder.name
    finally:
        for file, content in kept.items():
            file.write_bytes(content)


def test_numbers_that_older_recipes_did_not_write_are_holes(whole):
    found, name = restored(*whole, number("validation_psnr_spread", None), "super_resolution")
    (cell,) = found.cells[found.cells["key"] == name].to_dict("records")
    assert np.isnan(cell["validation_psnr_spread"])
    assert (cell["status"], cell["validation_psnr"]) == ("done", 24.0)
    assert found.faults.empty


@pytest.mark.parametrize(
    "provenance", [{}, {"provenance": {"git_commit": None, "git_dirty": None}}, {"provenance": []}]
)
def test_a_record_without_provenance_is_read(provenance, whole):
    found, name = restored(*whole, record(lambda found: {"numbers": found["numbers"]} | provenance), "super_resolution")
    row = found.trials.loc[name]
    assert row[["status", "device", "git_commit"]].tolist() == ["done", "", ""]
    assert np.isnan(row["seconds"])
    assert found.faults.empty


@pytest.mark.parametrize(
    ("damage", "why"),
    [
        (cut("curves.parquet"), r"curves\.parquet cannot be read \(.+\)"),
        (
            lambda folder: pq.write_table(pa.table({"step": [1], "value": [0.5]}), folder / "curves.parquet"),
            r"curves\.parquet lacks a column: it needs name, step, value",
        ),
    ],
    ids=["truncated", "no column"],
)
def test_damaged_curves_cost_the_curves_alone(whole, damage, why):
    found, name = restored(*whole, damage, "super_resolution")
    folder = re.escape(str(whole[1].folder("super_resolution", name)))
    assert re.fullmatch(
        f"{folder}: {why}; its learning curves alone are lost, the trial counts", found.faults["what"].item()
    )
    assert found.trials.loc[name, "status"] == "done"
    assert name not in set(found.curves["key"])


def test_what_descends_from_an_unreadable_trial_stands_for_itself(whole, before):
    """Its children are done, and where they are not they are missing: a sweep would run them."""
    path, store = whole
    lost = min((store.root / "judging").iterdir())
    (lost / "DONE").rename(lost / "kept")
    try:
        found, name = restored(path, store, gone("record.json"), "super_resolution")
    finally:
        (lost / "kept").rename(lost / "DONE")
    assert found.faults["key"].tolist() == [name]
    judged = found.cells[found.cells["role"] == "judging"]
    assert set(judged.loc[judged["key"] == lost.name, "status"]) == {"missing"}
    assert set(judged.loc[judged["key"] != lost.name, "status"]) == {"done"}
    assert found.restorations.equals(before.restorations)


@pytest.mark.parametrize(
    ("place", "recorded", "why"),
    [
        ("images", True, r"images/.+\.png is not what was written: another digest"),
        ("images", False, r"images/.+\.png cannot be read \(.+\)"),
        ("reference", True, r"reference/.+\.png is not what was written: another digest"),
    ],
)
def test_a_damaged_image_costs_its_place_in_the_report_alone(whole, before, place, recorded, why):
    """And it is told by whom: the sweep runs that trial again."""
    path, _ = whole
    done = before.restorations[(before.restorations["status"] == "done") & (before.restorations["loss"] == "bicubic")]
    folder = Path(done["folder"].iloc[0])
    file = min((folder / place).glob("*.png"))
    content, said = file.read_bytes(), (folder / "record.json").read_bytes()
    try:
        if recorded:
            digest = hashlib.sha256(content).hexdigest()
            record(lambda found: found | {"files": {f"{place}/{file.name}": digest}})(folder)
            file.write_bytes(content[:-20] + bytes([content[-20] ^ 1]) + content[-19:])
        else:
            file.write_bytes(content[: len(content) // 2])
        found = scores.read(grids.load(path))
    finally:
        file.write_bytes(content)
        (folder / "record.json").write_bytes(said)
    assert found.faults[["kind", "key"]].to_numpy().tolist() == [["restoration", folder.name]]
    assert re.fullmatch(
        f"{re.escape(str(folder))}: {why}; its images alone are lost, the trial counts", found.faults["what"].item()
    )
    lost = found.restorations["key"] == folder.name
    assert set(found.restorations.loc[lost, "status"]) == {"unreadable"}
    assert found.restorations[~lost].equals(before.restorations[~lost])
    assert found.cells.equals(before.cells)
