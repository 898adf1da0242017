"""Preflight: everything outside the repository that a grid needs is looked at before any trial starts.

Data sets are read once (every image decoded, every label checked) and weights once (digested); their manifests are kept
in the store, and where names, sizes and times of the files are still the same they are taken as they are. All that is
wrong comes in one list: a wrong label is found now, not at hour 30.
"""

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from orchestrator import fetching, scanning
from orchestrator.manifests import Manifests, Request, data_request, requests
from orchestrator.sections import Grid, OfficialSet, Warmup
from orchestrator.spec import KINDS
from orchestrator.store import Store

SPARE_BYTES = 2 * 1024**3
"""Free space below which a store is refused."""

Say = Callable[[str], None]


@dataclass
class Findings:
    """What a preflight found."""

    faults: list[str] = field(default_factory=list)
    looked_at: list[str] = field(default_factory=list)
    """What was read now; the rest was known."""


def check(grid: Grid, store: Store, say: Say, offline: bool = True) -> Findings:
    """Checks everything and writes the manifests of what is in order. With `offline` False missing weights are fetched.
    `say` is told what takes long. Raises nothing for what is wrong with files: that is in the findings."""
    manifests, findings = Manifests.of(store), Findings()
    order = list(manifests.found)
    unusable = list(_storage_faults(grid, store))
    findings.faults += unusable
    findings.faults += _gpu_faults(grid)
    no_root = _root_faults(grid)
    findings.faults += no_root
    wanted = requests(grid)
    if not no_root:
        _look_at_data([one for one in wanted if one.kind == "data"], manifests, findings, say)
    findings.faults += _size_faults(grid, manifests)
    _look_at_files([one for one in wanted if one.kind != "data"], manifests, findings, say, offline)
    manifests.last(wanted)
    changed = findings.looked_at or list(manifests.found) != order or not manifests.sources_are_in(store.root)
    if changed and not unusable:
        manifests.keep(store)
    return findings


def _storage_faults(grid: Grid, store: Store) -> Iterator[str]:
    where = f"runtime.storage: found {grid.runtime.storage}"
    try:
        store.check_writable()
    except OSError as error:
        yield f"{where}, {error.strerror}; allowed: {store.ALLOWED}"
        return
    free = shutil.disk_usage(store.root).free
    if free < SPARE_BYTES:
        yield f"{where} with {free / 1e9:.1f} GB free; allowed: at least {SPARE_BYTES / 1e9:.1f} GB"


def _root_faults(grid: Grid) -> list[str]:
    """One line instead of one a data set where the variable of data.root is not set."""
    if grid.data is None or "$" not in os.path.expandvars(grid.data.root):
        return []
    return [f"data.root: found {grid.data.root}, which is not set; allowed: a folder, or a variable that holds one"]


def _size_faults(grid: Grid, manifests: Manifests) -> Iterator[str]:
    """Crops that an image of a training set is too small for, and a hold-out that leaves nothing to train on."""
    section = grid.super_resolution
    if section.train is not None and (found := manifests.found.get(data_request(grid, section.train).key)):
        if section.hold_out >= found["images"]:
            most = found["images"] - 1
            yield f"super_resolution.hold_out: found {section.hold_out}; allowed: 1 to {most}, one less than the images"
        patches = {"training": section.training.patch}
        if isinstance(section.warmup, Warmup):
            patches["warmup"] = section.warmup.patch
        most = found["shortest_side"] // section.scale
        for name, patch in patches.items():
            if patch > most:
                side = f"the shortest side of its images, {found['shortest_side']}, reduced {section.scale} times"
                yield f"super_resolution.{name}.patch: found {patch}; allowed: at most {most} ({side})"
    for task in grid.iqa_sets.tasks():
        iqa_set = grid.iqa_sets.of(task)
        if not isinstance(iqa_set, OfficialSet):
            continue
        most = manifests.found.get(data_request(grid, iqa_set.train).key, {}).get("shortest_side", iqa_set.crop)
        if iqa_set.crop > most:
            allowed = f"at most {most}, the shortest side of the images of {iqa_set.train}"
            yield f"iqa_sets.{task}.crop: found {iqa_set.crop}; allowed: {allowed}"


def _gpu_faults(grid: Grid) -> Iterator[str]:
    """On a cluster Ray knows its GPUs; here the driver's own machine is asked."""
    most = max(map(grid.runtime.gpus_of, KINDS))
    if not most or os.environ.get("RAY_ADDRESS"):
        return
    found = gpu_bytes()
    if len(found) < most:
        yield (
            f"runtime.gpus: found {most:g} a trial, but this machine has {len(found)}; allowed: a machine with GPUs, "
            "RAY_ADDRESS of a cluster that has some, or gpus: 0 (reserves none; trials compute on the CPU)"
        )


def gpu_bytes() -> list[int]:
    """Memory of each GPU of this machine, bytes; empty without any."""
    try:
        asked = ["nvidia-smi", "--query-gpu=memory.total", "--format=csv,noheader,nounits"]
        lines = subprocess.run(asked, capture_output=True, text=True, check=True, timeout=20).stdout.split()
        return [int(line) * 1024**2 for line in lines]
    except (OSError, ValueError, subprocess.SubprocessError):
        return []


def _look_at_data(wanted: list[Request], manifests: Manifests, findings: Findings, say: Say) -> None:
    changed = [one for one in wanted if not scanning.still_as_scanned(one, manifests.found.get(one.key))]
    for request, found in zip(changed, scanning.scan(changed, say), strict=True):
        findings.looked_at.append(request.words)
        if found["faults"]:
            findings.faults += [f"data.sets.{request.name}: {fault}" for fault in found["faults"]]
            manifests.drop(request)
        else:
            manifests.found[request.key] = found


def _look_at_files(wanted: list[Request], manifests: Manifests, findings: Findings, say: Say, offline: bool) -> None:
    """Weights and judges, in a child process: their libraries take seconds to import, and torch stays out of here."""
    unknown = [one for one in wanted if not fetching.still_there(manifests.found.get(one.key))]
    if not unknown:
        return
    say(f"looking for the weights of {', '.join(one.name for one in unknown)}")
    for request, answer in zip(unknown, fetching.ask(unknown, offline), strict=True):
        findings.looked_at.append(request.words)
        if answer["fault"]:
            fault = answer["fault"].removeprefix(f"judge {request.name!r}: ")
            findings.faults.append(f"{request.words}: {fault}")
            manifests.drop(request)
        else:
            fetching.record(manifests, request, answer)
