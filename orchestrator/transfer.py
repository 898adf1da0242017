"""The results of one trial between a folder and an object store: DONE last, and nothing that was damaged."""

import contextlib
import json
import os
from collections import defaultdict
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from orchestrator.fence import OWN, WORK, empty, put_away
from orchestrator.identity import Address
from orchestrator.objects import Objects
from orchestrator.store import Damaged, done

AWAY = ".away"
"""In a folder: the files that it does without."""
SHOWN = 3
"""Of a restoration's images of each sort, so many are brought to a node that only makes tables: those that the report
shows."""
THREADS = 8


def done_name(address: Address) -> str:
    """The object that says that a trial is finished."""
    return "done/" + "/".join(address)


def upload(objects: Objects, address: Address, folder: Path, check: Callable[[], None]) -> None:
    """Gives a finished trial to the object store: all else first; then, if `check()` raises nothing, DONE. Raises
    Damaged where the folder does not hold what was written."""
    try:
        content, said = (folder / "record.json").read_text(errors="replace"), (folder / "DONE").read_text()
        record = json.loads(content)
        files, whole = record["files"], said == done(record["status"], content)
    except (FileNotFoundError, KeyError, TypeError, ValueError):
        whole = False
    if not whole:
        raise Damaged("DONE or record.json is not what was written, or not there")
    place = _place(address, said)

    def put(name: str) -> None:
        if not (folder / name).is_file() or objects.upload(f"{place}/{name}", folder / name) != files[name]:
            raise Damaged(f"{name} is not what was written, or not there")

    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(put, files))
    objects.write(f"{place}/record.json", content.encode())
    check()
    objects.write(done_name(address), said.encode())
    trial = "/".join(address)
    with contextlib.suppress(OSError):  # what nobody reads any more can stay
        parts = {name.split("/")[2] for name in objects.names(trial)}
        for part in parts - {Path(place).name, "spec.json", "attempts.jsonl"}:
            objects.delete_folder(f"{trial}/{part}")


def download(objects: Objects, address: Address, said: bytes, work: Path, whole: bool) -> None:
    """Brings the trial that DONE, whose text is `said`, speaks of to an empty folder; unless `whole`, without most
    images. Raises Damaged where something is not what was written, FileNotFoundError where the folder is gone."""
    place, text = _place(address, said.decode(errors="replace")), said.decode(errors="replace")
    content = (objects.read(f"{place}/record.json") or b"").decode(errors="replace")
    try:
        record = dict(json.loads(content))
        files, is_sound = dict(record["files"]), text == done(record["status"], content)
    except (KeyError, TypeError, ValueError):
        is_sound = False
    if not is_sound:
        raise Damaged("DONE or record.json is not what was written, or not there")
    if any(".." in Path(name).parts or Path(name).is_absolute() for name in files):
        raise Damaged("record.json names files outside of its trial")
    if not whole and (away := _not_shown(files)):
        (work / AWAY).write_text(json.dumps(away))
        files = {name: digest for name, digest in files.items() if name not in away}
    wanted = {f"{place}/{name}": (name, digest) for name, digest in files.items()}
    wanted["/".join(address) + "/spec.json"] = "spec.json", record["spec"]
    for inside in sorted({above for name in files for above in Path(name).parents} - {Path(".")}):
        (work / inside).mkdir()  # never `work`, which whoever has taken the lease over has removed

    def get(source: str) -> None:
        name, digest = wanted[source]
        if (found := objects.download(source, work / name)) != digest:
            raise Damaged(f"{name} is not {'what was written: another digest' if found else 'there'}")

    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(get, wanted))
    (work / "record.json").write_text(content)
    (work / "DONE").write_bytes(said)


def move_in(work: Path, folder: Path) -> None:
    """Puts what was downloaded, to a folder in the holder's work folder, in the place of what the folder has of the
    trial: DONE goes first and comes last. It is not synced to disk: whatever a loss of power damages is brought
    again."""
    own = work.parent
    put_away(folder / "DONE", own)
    for name in os.listdir(folder):
        stale = name in ("record.json", "checkpoint", "FAILED", AWAY)
        if stale or not (name in OWN or name.startswith((".", WORK))):
            put_away(folder / name, own)
    empty(own)
    for name in sorted(os.listdir(work), key=lambda name: name == "DONE"):
        os.replace(work / name, folder / name)
    work.rmdir()


def _place(address: Address, said: str) -> str:
    """Where the files of a run are, from the text of its DONE."""
    return "/".join(address) + "/" + said.partition("\n")[2][:16]


def _not_shown(files: Iterable[str]) -> list[str]:
    """Images beyond the first ones of each folder."""
    folders: dict[Path, list[str]] = defaultdict(list)
    for name in sorted(files):
        if name.endswith(".png"):
            folders[Path(name).parent].append(name)
    return [name for names in folders.values() for name in names[SHOWN:]]
