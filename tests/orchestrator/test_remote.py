"""A store on a real S3-compatible server: nodes that share no folder read only what is finished and whole."""

import contextlib
import fcntl
import itertools
import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from orchestrator import integrity, lease, objects, remote, remote_lease, transfer
from orchestrator.aggregate import crops
from orchestrator.disk import sha256
from orchestrator.history import note_attempt
from orchestrator.identity import key, spec_json
from orchestrator.manifests import FILE, SOURCES, Manifests
from orchestrator.matrix import Study
from orchestrator.objects import Objects
from orchestrator.remote import Replica, open_store
from orchestrator.spec import Trial, parents
from orchestrator.store import Damaged, Store, done, identity_record

Node = Callable[[str], Replica]
FILES = {"scores.parquet": b"scores", "weights/some.safetensors": b"weights", "images/a.png": b"pixels"}


class Killed(BaseException):
    """Stands for the death of a process: no `except Exception` stops it."""


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease, "STALE_SECONDS", 2.0)
    monkeypatch.setattr(lease, "BEAT_SECONDS", 0.2)
    monkeypatch.setattr(remote, "LOOK_SECONDS", 0.0)
    monkeypatch.setattr(remote_lease, "LOOK_SECONDS", 0.05)
    monkeypatch.setattr(objects, "PAUSES", ())


@pytest.fixture
def node(storage: str, tmp_path: Path) -> Node:
    """A node's store by the node's name, each time as of a new process."""
    return lambda name: Replica(storage, tmp_path / name)


@pytest.fixture
def family(micro: Study) -> tuple[Trial, Trial]:
    """A trial and one of its parents, which has none itself."""
    found = [label.spec for label in micro.labels if label.role == "metric"]
    return next((spec, parent) for spec in found for _, parent in parents(spec) if not list(parents(parent)))


@pytest.fixture
def trial(family: tuple[Trial, Trial]) -> Trial:
    return family[1]


def run(store: Store, spec: Trial, scores: bytes = b"scores", more: Mapping[str, bytes] | None = None) -> None:
    """What a worker does with one trial that is not finished."""
    kind, name = spec.KIND, key(spec)
    store.prepare(spec)
    with store.claim(kind, name, lambda: False) as folder:
        if store.status(kind, name) == "done":
            return
        note_attempt(folder, outcome="started")
        work = store.workspace(kind, name)
        for file, content in (FILES | {"scores.parquet": scores} | dict(more or {})).items():
            (work / file).parent.mkdir(exist_ok=True)
            (work / file).write_bytes(content)
        identity = identity_record(spec)
        inputs = store.inputs(identity["parents"])
        store.finish(work, {**identity, "inputs": inputs, "status": "done", "numbers": {}, "seconds": 1.0})


def address(spec: Trial) -> tuple[str, str]:
    return spec.KIND, key(spec)


def is_whole(store: Store, spec: Trial, scores: bytes = b"scores") -> bool:
    """Whether a finished trial has in the copy what was written."""
    folder = store.folder(*address(spec))
    told = all(
        (folder / file).read_bytes() == content for file, content in (FILES | {"scores.parquet": scores}).items()
    )
    return told and (folder / "spec.json").read_text() == spec_json(spec) and not list(folder.glob("*work.*"))


def test_what_one_node_finishes_another_reads(node: Node, trial: Trial) -> None:
    run(node("a"), trial)
    b = node("b")
    assert b.status(*address(trial)) is None
    assert b.index() == {address(trial): "done"} == node("a").index() == Replica(b.storage, b.root).index()
    assert is_whole(b, trial)
    assert integrity.faults(b, b.index(), deep=True) == {}
    assert b.record(*address(trial)) == node("a").record(*address(trial))
    run(b, trial, b"never computed")
    assert is_whole(b, trial)


def test_a_second_look_reads_nothing_that_is_there(node: Node, trial: Trial, monkeypatch: pytest.MonkeyPatch) -> None:
    run(node("a"), trial)
    node("b").index()
    monkeypatch.delattr(Objects, "read")
    monkeypatch.delattr(Objects, "download")
    assert node("b").index() == {address(trial): "done"}


@pytest.mark.parametrize("operation", ["write", "upload", "names", "read", "delete"])
def test_death_at_any_operation_on_objects_leaves_nothing_that_looks_finished(
    operation: str, storage: str, trial: Trial, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, calls, last = getattr(Objects, operation), 0, 0

    def dies(self: Objects, *arguments: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == last:
            raise Killed
        return real(self, *arguments)

    monkeypatch.setattr(lease, "BEAT_SECONDS", 1e6)  # beats would be counted, and die instead
    monkeypatch.setattr(lease, "STALE_SECONDS", 2e6)
    for last in range(1, 50):
        calls, own = 0, storage.replace("?", f"/{last}?")
        with monkeypatch.context() as patch:
            patch.setattr(Objects, operation, dies)
            try:
                run(Replica(own, tmp_path / str(last) / "a"), trial)
            except Killed:
                pass
            else:
                break
        there = Objects(own)
        there.delete(*there.names("lock"))  # this process lives, which a killed one does not
        b = Replica(own, tmp_path / str(last) / "b")
        status = b.index().get(address(trial))
        assert status is None or (status == "done" and is_whole(b, trial))
        assert integrity.faults(b, b.index(), deep=True) == {}
        run(Replica(own, tmp_path / str(last) / "a"), trial)
        assert b.index() == {address(trial): "done"}
        assert is_whole(b, trial)
        places = {name.split("/")[2] for name in there.names(f"{trial.KIND}/{key(trial)}")}
        assert places == {"spec.json", "attempts.jsonl", b.seal(*address(trial))[1][:16]}
    assert {"write": 5, "upload": 3, "names": 4, "read": 3, "delete": 1}[operation] < last < 49


def test_what_a_killed_worker_had_finished_is_not_computed_again(
    node: Node, trial: Trial, monkeypatch: pytest.MonkeyPatch
) -> None:
    def dies(*_: object) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(Objects, "upload", dies)
        with pytest.raises(Killed):
            run(node("a"), trial)
    assert node("b").index() == {}
    assert node("a").index() == {address(trial): "done"}, "the first who looks at the copy gives it to all"
    assert node("b").index() == {address(trial): "done"}


@pytest.mark.parametrize("damage", [lambda content: content[:-1], lambda content: b"?" + content[1:], None])
@pytest.mark.parametrize("which", ["record.json", *FILES, "spec.json", "DONE"])
def test_an_object_that_is_cut_short_flipped_or_gone_is_seen_and_the_trial_runs_again(
    which: str, damage: Callable[[bytes], bytes] | None, node: Node, trial: Trial
) -> None:
    a, b = node("a"), node("b")
    run(a, trial)
    names = [name for name in a.objects.names("") if name.endswith(which) or (which == "DONE" and "done/" in name)]
    assert len(names) == 1
    if damage is None:
        a.objects.delete(*names)
    else:
        a.objects.write(names[0], damage(a.objects.read(names[0]) or b""))
    if (which, damage) == ("DONE", None):  # it is no damage
        assert b.index() == {}
        return
    with pytest.raises(Damaged):
        b.fetch(*address(trial))
    assert b.status(*address(trial)) is None
    assert not (b.folder(*address(trial)) / "record.json").exists()
    assert b.index() == {address(trial): "done"}
    found = integrity.faults(b, b.index())
    assert found.keys() == {address(trial)}
    assert integrity.reopen(b, found) == 1
    assert b.index() == {}
    run(b, trial)
    assert b.index() == node("a").index() == node("c").index() == {address(trial): "done"}
    assert is_whole(node("c"), trial)


def test_who_is_to_run_a_trial_that_is_damaged_runs_it(node: Node, trial: Trial) -> None:
    a = node("a")
    run(a, trial)
    a.objects.delete(next(name for name in a.objects.names("") if name.endswith("scores.parquet")))
    run(node("b"), trial)
    assert is_whole(node("b"), trial)
    assert node("c").audit(node("c").index()) == {}
    outcomes = [one["outcome"] for one in node("b").record(*address(trial))["attempts"]]
    assert outcomes == ["started", "done", "damaged", "started", "done"]


def test_a_damaged_copy_is_brought_again(node: Node, trial: Trial) -> None:
    run(node("a"), trial)
    b = node("b")
    b.index()
    (b.folder(*address(trial)) / "scores.parquet").write_bytes(b"flipped")
    (b.folder(*address(trial)) / "images/a.png").unlink()
    assert integrity.faults(b, b.index(), deep=True) == {}
    assert is_whole(b, trial)


def test_most_images_stay_away_until_a_trial_reads_them(node: Node, trial: Trial) -> None:
    more = {f"images/{name}.png": name.encode() for name in "bcdef"}
    run(node("a"), trial, more=more)
    b = node("b")
    assert b.index() == {address(trial): "done"}
    images = b.folder(*address(trial)) / "images"
    assert sorted(path.name for path in images.iterdir()) == ["a.png", "b.png", "c.png"]
    assert b.away(*address(trial)) == {"images/d.png", "images/e.png", "images/f.png"}
    assert integrity.faults(b, b.index(), deep=True) == {}
    (images / "a.png").unlink()
    assert integrity.faults(b, b.index(), deep=True) == {}
    assert len(list(images.iterdir())) == transfer.SHOWN >= crops.IMAGES_PER_SET
    b.fetch(*address(trial))
    assert len(list(images.iterdir())) == 6
    assert not b.away(*address(trial))
    assert b.index() == {address(trial): "done"}
    assert len(list(images.iterdir())) == 6


def test_an_audit_reads_every_object_and_a_whole_copy_mends_what_is_damaged(node: Node, trial: Trial) -> None:
    a = node("a")
    run(a, trial)
    assert a.audit(a.index()) == {}
    place = next(name for name in a.objects.names("") if name.endswith("scores.parquet"))
    a.objects.write(place, b"flipped")
    found = {address(trial): "scores.parquet is not what was written: another digest"}
    assert a.audit(a.index()) == found
    assert integrity.faults(a, a.index(), deep=True) == {}, "the copy is whole"
    assert not node("b").give_again(*address(trial)), "it has no copy"
    assert a.give_again(*address(trial))
    assert a.audit(a.index()) == {}
    a.objects.write(place, b"flipped")
    (a.folder(*address(trial)) / "scores.parquet").write_bytes(b"flipped, too")
    assert not a.give_again(*address(trial))
    assert integrity.reopen(a, a.audit(a.index())) == 1
    assert a.index() == {}


def test_a_record_may_not_name_files_outside_of_its_trial(node: Node, trial: Trial) -> None:
    a = node("a")
    run(a, trial)
    record = a.record(*address(trial)) | {"files": {"../../stolen": sha256(a.folder(*address(trial)) / "DONE")}}
    content = json.dumps(record)
    said = done("done", content)
    seal = said.splitlines()[1][:16]
    a.objects.write("/".join((*address(trial), seal, "record.json")), content.encode())
    a.objects.write("done/" + "/".join(address(trial)), said.encode())
    with pytest.raises(Damaged, match="files outside of its trial"):
        node("b").fetch(*address(trial))


def test_a_copy_that_lost_a_file_before_it_was_given_to_all_is_computed_again(
    node: Node, trial: Trial, monkeypatch: pytest.MonkeyPatch
) -> None:
    def dies(*_: object) -> None:
        raise Killed

    a = node("a")
    with monkeypatch.context() as patch:
        patch.setattr(Objects, "upload", dies)
        with pytest.raises(Killed):
            run(a, trial)
    (a.folder(*address(trial)) / "scores.parquet").unlink()
    assert node("a").index() == {}
    run(node("a"), trial, b"others")
    assert is_whole(node("a"), trial, b"others")


def test_a_trial_that_was_reopened_is_unfinished_on_every_node(node: Node, trial: Trial) -> None:
    a, b = node("a"), node("b")
    run(a, trial)
    b.index()
    assert b.reopen(*address(trial), lambda: "") is False
    assert b.reopen(*address(trial), lambda: "damaged") is True
    assert a.index() == b.index() == {}
    assert a.status(*address(trial)) == "done", "in the copy, until somebody needs to know"
    run(a, trial, b"others")
    assert node("b").index() == {address(trial): "done"}
    assert is_whole(node("b"), trial, b"others")
    assert [one["outcome"] for one in b.attempts(*address(trial))] == ["started", "done", "damaged", "started", "done"]


def test_a_child_reads_what_its_parent_is_now(node: Node, trial: Trial) -> None:
    a, b = node("a"), node("b")
    run(a, trial)
    b.fetch(*address(trial))
    a.reopen(*address(trial), lambda: "damaged")
    b.fetch(*address(trial))
    assert b.status(*address(trial)) is None
    run(a, trial, b"others")
    b.fetch(*address(trial))
    assert is_whole(b, trial, b"others")


def test_a_holder_that_lost_its_lease_finishes_nothing_for_others(node: Node, trial: Trial) -> None:
    a = node("a")
    a.prepare(trial)
    with a.claim(*address(trial)):
        work = a.workspace(*address(trial))
        (work / "scores.parquet").write_bytes(b"late")
        a.objects.delete(*a.objects.names("lock"))
        run(node("b"), trial)
        with pytest.raises(OSError, match="the lease is lost"):
            a.finish(work, {**identity_record(trial), "status": "done", "numbers": {}, "seconds": 1.0})
    assert node("c").index() == {address(trial): "done"}
    assert is_whole(node("c"), trial)
    assert node("a").index() == {address(trial): "done"}
    assert is_whole(node("a"), trial), "its own copy yields"


def test_who_hangs_while_it_brings_a_trial_brings_nothing_once_another_has_the_copy(
    node: Node, trial: Trial, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(node("a"), trial)
    copy = node("b")
    read, others = copy.objects.read, copy.folder(*address(trial)) / "checkpoint"

    def taken_over(name: str) -> bytes | None:
        found = read(name)
        if name.endswith("record.json"):
            (own,) = copy.folder(*address(trial)).glob("work.*")
            own.rename(copy.root / "taken")
            others.mkdir()
        return found

    monkeypatch.setattr(copy.objects, "read", taken_over)
    with pytest.raises(BlockingIOError, match="another works on this trial now"):
        copy.fetch(*address(trial))
    assert copy.status(*address(trial)) is None
    assert others.exists()
    assert not list(copy.folder(*address(trial)).glob("work.*"))


def test_a_removed_trial_is_gone_for_all_before_another_can_claim_it(
    node: Node, trial: Trial, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(node("a"), trial)
    store, other = node("b"), node("c")
    store.fetch(*address(trial))
    delete, claimable = store.objects.delete_folder, []

    def look(folder: str) -> None:
        with contextlib.suppress(BlockingIOError), other.claim(*address(trial)):
            claimable.append(folder)
        delete(folder)

    monkeypatch.setattr(store.objects, "delete_folder", look)
    store.remove(*address(trial))
    assert claimable == []
    assert not store.objects.names("/".join(address(trial)))
    assert not store.folder(*address(trial)).exists()


def test_a_done_that_comes_after_all_is_that_of_a_whole_trial(node: Node, trial: Trial) -> None:
    """What no store without conditional writes can exclude: two runs with other bits, the later DONE over the other."""
    a, b = node("a"), node("b")
    run(a, trial)
    late = a.objects.read("done/" + "/".join(address(trial)))
    assert late
    a.objects.delete("done/" + "/".join(address(trial)))
    run(b, trial, b"others")
    a.objects.write("done/" + "/".join(address(trial)), late)
    c = node("c")
    assert c.index() == {address(trial): "done"}
    found = integrity.faults(c, c.index(), deep=True)
    assert found or is_whole(c, trial)
    integrity.reopen(c, found)
    run(c, trial)
    assert node("d").index() == {address(trial): "done"}
    assert is_whole(node("d"), trial)


def share(store: Replica, spec: Trial, step: int) -> None:
    """Saves and keeps a checkpoint."""
    path = store.folder(*address(spec)) / "checkpoint" / "inputs" / f"{step:09}-0123456789abcdef.pt"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"%d" % step)
    store.share_checkpoint(path)


def shared_steps(store: Replica) -> list[int]:
    """Steps of the checkpoints in the object store."""
    return sorted(int(name.rpartition("/")[2].partition("-")[0]) for name in store.objects.names("") if "-" in name)


def take_over(by: Replica, spec: Trial) -> contextlib.AbstractContextManager[Path]:
    """The lease of whoever holds the trial is stale; another node takes it."""
    by.objects.delete(*by.objects.names("lock"))
    claim = by.claim(*address(spec))
    by.bring_checkpoints(by.folder(*address(spec)) / "checkpoint" / "inputs")
    return claim


@pytest.fixture
def beatless(monkeypatch: pytest.MonkeyPatch) -> None:
    """Claims that a test removes are not written again by a beat that has just looked."""
    monkeypatch.setattr(lease, "BEAT_SECONDS", 1e6)
    monkeypatch.setattr(lease, "STALE_SECONDS", 2e6)


@pytest.mark.usefixtures("beatless")
def test_a_holder_that_lost_its_lease_keeps_no_checkpoint_and_removes_none(node: Node, trial: Trial) -> None:
    a, b = node("a"), node("b")
    a.prepare(trial)
    with a.claim(*address(trial)):
        share(a, trial, 1000)
        assert not a.lost(*address(trial))
        with take_over(b, trial):
            share(b, trial, 3000)
            assert shared_steps(b) == [3000]
            share(a, trial, 1200)
            assert shared_steps(b) == [3000]
            assert a.lost(*address(trial))
            assert not b.lost(*address(trial))


@pytest.mark.usefixtures("beatless")
def test_a_holder_that_loses_its_lease_while_it_uploads_removes_no_checkpoint_of_the_next(
    node: Node, trial: Trial, monkeypatch: pytest.MonkeyPatch
) -> None:
    a, b, upload = node("a"), node("b"), Objects.upload
    a.prepare(trial)
    with a.claim(*address(trial)), contextlib.ExitStack() as second:

        def hangs(objects: Objects, *what: Any) -> str:
            monkeypatch.setattr(Objects, "upload", upload)
            second.enter_context(take_over(b, trial))
            share(b, trial, 500)
            share(b, trial, 3000)
            return upload(objects, *what)

        share(a, trial, 1000)
        monkeypatch.setattr(Objects, "upload", hangs)
        share(a, trial, 1200)
        assert shared_steps(b) == [1200, 3000]
        assert a.lost(*address(trial))


def test_a_beat_that_finds_its_claim_gone_tells_the_trial(node: Node, trial: Trial) -> None:
    a = node("a")
    a.prepare(trial)
    with a.claim(*address(trial)):
        deadline = time.monotonic() + 10
        while not a.lost(*address(trial)):
            a.objects.delete(*a.objects.names("lock"))
            assert time.monotonic() < deadline


def test_checkpoints_follow_their_trial_to_another_node(node: Node, trial: Trial) -> None:
    a, b = node("a"), node("b")
    folders = [one.folder(*address(trial)) / "checkpoint" / "inputs" for one in (a, b)]
    a.prepare(trial)
    with a.claim(*address(trial)):
        for step in (3, 5):
            share(a, trial, step)
    assert shared_steps(a) == [5]
    b.bring_checkpoints(folders[1])
    assert [path.read_bytes() for path in folders[1].iterdir()] == [b"5"]
    newer = folders[1] / "000000009-0123456789abcdef.pt"
    newer.write_bytes(b"9")
    b.bring_checkpoints(folders[1])
    assert sorted(path.read_bytes() for path in folders[1].iterdir()) == [b"5", b"9"]
    run(b, trial)
    assert not b.objects.names(f"{trial.KIND}/{key(trial)}/checkpoint")


def test_a_checkpoint_that_cannot_be_kept_ends_no_training(
    node: Node, trial: Trial, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: object) -> None:
        raise OSError("no network")

    monkeypatch.setattr(Objects, "upload", away)
    a = node("a")
    a.prepare(trial)
    with a.claim(*address(trial)):
        share(a, trial, 1)
        assert not a.lost(*address(trial))


def test_who_wants_a_copy_waits_as_long_as_a_process_that_makes_it_lives(
    node: Node, trial: Trial, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(node("a"), trial)
    b, stale, looks = node("b"), lease.Watch.stale, 0
    b.folder(*address(trial)).mkdir(parents=True)
    ended = contextlib.ExitStack()
    ended.enter_context(lease.hold(b.folder(*address(trial)) / "lock", lambda: True))

    def look(watch: lease.Watch, *file: Any) -> bool:
        nonlocal looks
        looks += 1
        if looks == 5:
            ended.close()
        return stale(watch, *file)

    clock = SimpleNamespace(monotonic=itertools.count(0.0, 1e6).__next__)  # an hour, and another hour
    monkeypatch.setattr(remote, "time", clock)
    monkeypatch.setattr(lease.Watch, "stale", look)
    b.fetch(*address(trial))
    assert looks >= 5
    assert is_whole(b, trial)


def test_who_wants_a_copy_does_not_wait_for_a_process_that_hangs(node: Node, trial: Trial) -> None:
    run(node("a"), trial)
    b = node("b")
    b.folder(*address(trial)).mkdir(parents=True)
    with open(b.folder(*address(trial)) / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # and no beat
        b.fetch(*address(trial))
    assert is_whole(b, trial)


def test_a_request_to_stop_reaches_every_node(node: Node, trial: Trial) -> None:
    a, b = node("a"), node("b")
    a.prepare(trial)
    with b.claim(*address(trial)):
        assert not b.stop_requested("host-1")
        a.request_stop("host-1")
        assert a.stop_requested("host-1")
        deadline = time.monotonic() + 10
        while not b.stop_requested("host-1"):
            assert time.monotonic() < deadline
            time.sleep(0.05)
    assert not b.stop_requested("host-2")
    a.forget_stop("host-1")
    assert not node("c").stop_requested("host-1")


def test_every_node_sees_who_works_on_a_trial(node: Node, trial: Trial) -> None:
    a, b = node("a"), node("b")
    a.prepare(trial)
    with a.claim(*address(trial), node="n1", sweep="s1"):
        found = b.holder(*address(trial))
        assert found is not None
        assert (found.node, found.sweep) == ("n1", "s1")
        with pytest.raises(BlockingIOError), b.claim(*address(trial)):
            pass
    assert b.holder(*address(trial)) is None


def test_a_store_that_does_not_answer_says_nothing_about_trials(
    node: Node, trial: Trial, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: object) -> None:
        raise OSError("no network")

    a, b = node("a"), node("b")
    a.prepare(trial)
    with a.claim(*address(trial)):
        progress = b.progress(*address(trial))
        with monkeypatch.context() as patch:
            patch.setattr(remote_lease, "holders", away)
            assert b.holder(*address(trial)) is not None
            assert b.progress(*address(trial)) != progress, "or it would seem to hang"


def test_manifests_and_sources_are_those_of_all_nodes(node: Node) -> None:
    found = {json.dumps(["judge", "piqe", "", "1"]): {"content": "c", "files": []}}
    Manifests(found).keep(node("a"))
    b = node("b")
    assert Manifests.of(b).found == found
    assert (b.root / SOURCES).read_bytes() == (node("a").root / SOURCES).read_bytes()
    b.objects.delete(FILE, SOURCES)
    assert Manifests.of(b).found == found
    assert b.objects.names("").keys() == {FILE, SOURCES}, "given back by the one who had them"


def test_each_address_and_server_has_a_copy_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, storage: str
) -> None:
    monkeypatch.chdir(tmp_path)
    assert type(open_store("results/store", "cache")) is Store
    one, two = open_store(storage, "cache"), open_store(storage + "&x=1", "cache")
    assert one is open_store(storage, "cache")
    assert one.root != two.root
    assert one.root.parent == tmp_path / "cache" / "stores"
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://elsewhere")
    remote._replica.cache_clear()
    assert open_store(storage, "cache").root != one.root
    remote._replica.cache_clear()


@pytest.fixture
def addresses(storage: str) -> dict[str, str]:
    """Addresses that cannot be used."""
    return {
        "bucket": storage.replace("s3://bucket/", "s3://no-such-bucket/"),
        "network": storage.partition("?")[0] + "?endpoint_override=127.0.0.1:1&scheme=http&region=us-east-1",
        "query": storage + "&regoin=x",
    }


@pytest.mark.parametrize(
    ("which", "said"),
    [
        ("bucket", "the bucket is not there; allowed: one that is; next: make it, or change runtime.storage"),
        ("network", "does not answer; next: look at the network and endpoint_override; it said: "),
        ("query", "Unexpected query parameter in S3 URI: 'regoin'; allowed: "),
    ],
)
def test_what_is_wrong_with_a_storage_is_told_in_one_line(
    which: str, said: str, addresses: dict[str, str], tmp_path: Path
) -> None:
    store = Replica(addresses[which], tmp_path / "copy")
    with pytest.raises(OSError, match="s3://") as error:
        store.index()
    assert str(error.value.strerror).startswith(said)
    assert "\n" not in str(error.value)
    assert "endpoint_override=" not in str(error.value.filename)
    with pytest.raises(OSError, match="s3://"):
        store.check_writable()


def test_a_damaged_history_and_a_damaged_claim_keep_nobody_from_a_trial(node: Node, trial: Trial) -> None:
    a, name = node("a"), "/".join(address(trial))
    lines = ['{"outcome": "started"}', "[1]", '{"time": 2.0}', "[" * 100_000, '{"time": 3.0, "outcome": "interrupted"}']
    a.objects.write(f"{name}/attempts.jsonl", "\n".join(lines).encode())
    assert [one["outcome"] for one in a.attempts(*address(trial))] == ["interrupted"]
    with a.claim(*address(trial)):
        claim = next(iter(a.objects.names("lock")))
        said = json.loads(a.objects.read(claim) or b"")
        a.objects.write(claim, json.dumps({**said, "beat": said["beat"] + 9, "progress": [1]}).encode())
        assert node("b").progress(*address(trial)) is None
        assert node("b").holder(*address(trial))
    run(a, trial)
    assert [one["outcome"] for one in node("b").attempts(*address(trial))] == ["interrupted", "started", "done"]
