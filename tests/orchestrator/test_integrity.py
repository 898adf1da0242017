"""Finished trials that are not what was written any more: found, named, and stale children only where bits changed."""

import errno
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from orchestrator import integrity, lease
from orchestrator.history import attempts
from orchestrator.identity import key
from orchestrator.matrix import Study
from orchestrator.spec import Trial, parents
from orchestrator.store import Store, done, identity_record

Damage = Callable[[Path], object]


def finish(store: Store, spec: Trial, scores: bytes = b"scores") -> Path:
    """What a sweep does with one trial."""
    folder = store.prepare(spec)
    identity = identity_record(spec)
    record = {**identity, "inputs": store.inputs(identity["parents"]), "status": "done", "numbers": {}, "seconds": 1.0}
    with store.claim(spec.KIND, key(spec)):
        work = store.workspace(spec.KIND, key(spec))
        (work / "weights").mkdir()
        (work / "weights" / "some.safetensors").write_bytes(b"weights")
        (work / "scores.parquet").write_bytes(scores)
        store.finish(work, record)
    return folder


@pytest.fixture
def family(micro: Study) -> tuple[Trial, Trial]:
    """A trial and one of its parents, which has none itself."""
    found = [label.spec for label in micro.labels if label.role == "metric"]
    return next((spec, parent) for spec in found for _, parent in parents(spec) if not list(parents(parent)))


@pytest.fixture
def store(tmp_path: Path, family: tuple[Trial, Trial]) -> Store:
    """Holds both."""
    store = Store(tmp_path / "store")
    for spec in reversed(family):
        finish(store, spec)
    return store


def faults(store: Store, *, deep: bool = False) -> dict[tuple[str, str], str]:
    return integrity.faults(store, store.index(), deep)


def _flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[0] ^= 1
    path.write_bytes(content)


def _rewrite(folder: Path, **values: object) -> None:
    """As if it had been written so."""
    content = json.dumps(json.loads((folder / "record.json").read_text()) | values)
    (folder / "record.json").write_text(content)
    (folder / "DONE").write_text(done("done", content))


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda folder: (folder / "record.json").unlink(), "record.json is not there"),
        (lambda folder: (folder / "record.json").write_text("{"), "record.json cannot be read"),
        (lambda folder: (folder / "record.json").write_text("[1]"), "record.json cannot be read"),
        (lambda folder: _rewrite(folder, files=[1]), "record.json is not a record"),
        (lambda folder: _rewrite(folder, inputs={"nobody": ""}), "record.json is not a record"),
        (lambda folder: (folder / "DONE").write_text("diverged\n"), "DONE and record.json disagree: diverged and done"),
        (lambda folder: (folder / "scores.parquet").unlink(), "scores.parquet is not there"),
        (
            lambda folder: (folder / "record.json").write_text(
                (folder / "record.json").read_text().replace("1.0", "2.0")
            ),
            "record.json is not what was written: another digest",
        ),
        (
            lambda folder: (folder / "weights/some.safetensors").write_bytes(b"weig"),
            "weights/some.safetensors has 4 bytes, 7 were written",
        ),
    ],
)
def test_damage_is_seen_without_reading_every_byte(
    damage: Damage, said: str, store: Store, family: tuple[Trial, Trial]
) -> None:
    assert faults(store) == {}
    spec = family[0]
    damage(store.folder(spec.KIND, key(spec)))
    assert faults(store) == {(spec.KIND, key(spec)): said}


def test_a_flipped_bit_is_seen_by_a_deep_look_alone(store: Store, family: tuple[Trial, Trial]) -> None:
    spec = family[0]
    _flip(store.folder(spec.KIND, key(spec)) / "scores.parquet")
    assert faults(store) == {}
    assert faults(store, deep=True) == {
        (spec.KIND, key(spec)): "scores.parquet is not what was written: another digest"
    }


def test_a_deep_look_reads_the_spec(store: Store, family: tuple[Trial, Trial]) -> None:
    spec = family[0]
    _flip(store.folder(spec.KIND, key(spec)) / "spec.json")
    assert faults(store, deep=True) == {(spec.KIND, key(spec)): "spec.json is not what was written: another digest"}


def test_a_trial_that_another_sweep_has_mended_is_left_alone(store: Store, family: tuple[Trial, Trial]) -> None:
    address = (family[0].KIND, key(family[0]))
    assert integrity.reopen(store, {address: "record.json was not there when it was looked at"}) == 0
    assert store.status(*address) == "done"
    assert faults(store, deep=True) == {}


@pytest.mark.parametrize("word", ["eone\n", "do", "", "\xff\xfe"])
def test_a_status_that_is_none_is_that_of_a_damaged_trial(word: str, store: Store, family: tuple[Trial, Trial]) -> None:
    spec = family[0]
    (store.folder(spec.KIND, key(spec)) / "DONE").write_bytes(word.encode("latin-1"))
    assert store.index()[spec.KIND, key(spec)] == "done"
    ((address, said),) = faults(store).items()
    assert (address, "DONE and record.json disagree" in said) == ((spec.KIND, key(spec)), True)
    assert integrity.reopen(store, {address: said}) == 1


def test_storage_that_does_not_answer_is_no_damage(
    store: Store, family: tuple[Trial, Trial], monkeypatch: pytest.MonkeyPatch
) -> None:
    def stale(self: Path) -> bytes:
        raise OSError(errno.ESTALE, "Stale file handle", str(self))

    monkeypatch.setattr(Path, "read_bytes", stale)
    with pytest.raises(OSError, match="Stale file handle"):
        faults(store)
    assert store.status(family[0].KIND, key(family[0])) == "done"


def test_a_folder_under_another_name_is_seen(store: Store, family: tuple[Trial, Trial]) -> None:
    folder = store.folder(family[0].KIND, key(family[0]))
    shutil.copytree(folder, folder.with_name("0" * 16))
    found = faults(store)
    assert found == {(family[0].KIND, "0" * 16): f"record.json is of another trial, {family[0].KIND}/{key(family[0])}"}


def test_a_child_is_stale_only_where_its_input_came_back_with_other_bits(
    store: Store, family: tuple[Trial, Trial]
) -> None:
    child, parent = family
    assert store.reopen(parent.KIND, key(parent), lambda: "scores.parquet is not there")
    assert store.status(parent.KIND, key(parent)) is None
    assert faults(store) == {}  # nothing is known before the parent is there again
    finish(store, parent)
    assert faults(store) == {}
    finish(store, parent, scores=b"others")
    ((address, said),) = faults(store).items()
    assert address == (child.KIND, key(child))
    assert said.endswith(f"({parent.KIND}/{key(parent)}) has changed since")


def test_records_of_before_have_neither_sizes_nor_inputs(store: Store, family: tuple[Trial, Trial]) -> None:
    folder = store.folder(family[0].KIND, key(family[0]))
    record = json.loads((folder / "record.json").read_text())
    old = {name: value for name, value in record.items() if name not in ("bytes", "inputs")}
    (folder / "record.json").write_text(json.dumps(old))
    (folder / "DONE").write_text("done\n")
    assert faults(store, deep=True) == {}


def test_a_reopened_trial_is_unfinished_and_says_why(store: Store, family: tuple[Trial, Trial]) -> None:
    spec = family[0]
    folder = store.folder(spec.KIND, key(spec))
    (folder / "record.json").unlink()
    (folder / "checkpoint").mkdir()
    assert integrity.reopen(store, {(spec.KIND, key(spec)): "as it was seen"}) == 1
    assert {path.name for path in folder.rglob("*") if path.is_file()} == {"spec.json", "attempts.jsonl", "lock"}
    assert attempts(folder)[-1]["note"] == "record.json is not there"


def test_what_a_kill_after_done_has_left_is_tidied(store: Store, family: tuple[Trial, Trial]) -> None:
    address = (family[0].KIND, key(family[0]))
    assert store.leftovers(*address) == []
    folder = store.folder(*address)
    for name in ("checkpoint", "work.abc", ".work.def"):
        (folder / name).mkdir()
        (folder / name / "file").touch()
    for name in (".progress.abc", ".spec.json.abc"):  # of writes that were cut
        (folder / name).touch()
    left = {"checkpoint", "work.abc", ".work.def", ".progress.abc", ".spec.json.abc"}
    assert {path.name for path in store.leftovers(*address)} == left
    lock = lease.hold(folder / "lock", give_up=lambda: True)
    with lock:
        assert store.tidy([address]) == 1
        assert len(store.leftovers(*address)) == 5
    assert store.tidy([address]) == 1
    assert store.leftovers(*address) == []
    assert store.tidy([address]) == 0
    (folder / "checkpoint").mkdir()
    with store.claim(*address):  # as a worker does whose process died after DONE, and that is tried again
        assert not (store.folder(*address) / "checkpoint").exists()
    assert store.leftovers(*address) == []
    assert faults(store, deep=True) == {}


def test_a_trial_that_somebody_works_on_is_left_alone(store: Store, family: tuple[Trial, Trial]) -> None:
    spec = family[0]
    with store.claim(spec.KIND, key(spec)):
        assert integrity.reopen(store, {(spec.KIND, key(spec)): "why"}) == 0
    assert store.status(spec.KIND, key(spec)) == "done"
