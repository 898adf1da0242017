"""What a store holds of some trials: how each ended, its record, its per-image scores, or what is wrong with it."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from orchestrator.aggregate import predictions, records
from orchestrator.aggregate.faults import Unusable, sift
from orchestrator.aggregate.predictions import Predictions
from orchestrator.aggregate.records import Record
from orchestrator.identity import key
from orchestrator.spec import Trial, parents
from orchestrator.store import FINISHED, Store

UNREADABLE = "unreadable"
AGAIN = "the trial counts as not there; remove this folder and sweep again"


@dataclass(frozen=True)
class Finished:
    """By the key of a trial."""

    outcomes: Mapping[str, tuple[str, str]]
    """Every trial's (status, because): the ancestor that stopped it, or what is wrong with it."""
    records: Mapping[str, Record]
    scores: Mapping[str, Predictions]
    faults: Mapping[str, str]
    """What is wrong with the unreadable ones."""


def lineage(trials: Iterable[Trial]) -> dict[str, Trial]:
    """key -> trial, for `trials` and all that they depend on, parents before children."""
    found: dict[str, Trial] = {}

    def add(trial: Trial) -> None:
        if key(trial) not in found:
            for _, parent in parents(trial):
                add(parent)
            found[key(trial)] = trial

    for trial in trials:
        add(trial)
    return found


def read(store: Store, trials: Mapping[str, Trial], comparable: Mapping[str, Sequence[str]]) -> Finished:
    """Reads the trials of a `lineage`. `comparable` names, in words, the keys of evaluations on one set of images:
    those whose images differ from most others' are unreadable."""
    folders = {name: store.folder(trial.KIND, name) for name, trial in trials.items()}
    seals, faults = sift(folders, "DONE", _seal, lambda folder: store.seal(folder.parent.name, folder.name))
    states = {name: state for name, (state, _) in seals.items()}
    finished = {name: folders[name] for name, state in states.items() if state in FINISHED}
    recorded, wrong = records.read(finished, {name: seals[name][1] for name in finished})
    faults |= wrong
    scores: dict[str, Predictions] = {}
    for kind in ("benchmark", "judging"):
        done = [name for name in recorded if states[name] == "done" and kind == trials[name].KIND]
        digests = {name: recorded[name].digests.get(predictions.FILE, "") for name in done}
        found, wrong = predictions.read({name: folders[name] for name in done}, kind == "benchmark", digests)
        scores, faults = scores | found, faults | wrong
    for name, fault in predictions.strangers(comparable, scores).items():
        faults[name] = f"{folders[name]}: {fault}"
    faults = {name: f"{fault}; {AGAIN}" for name, fault in faults.items()}
    sound = {name: value for name, value in scores.items() if name not in faults}
    return Finished(_outcomes(trials, states, faults), recorded, sound, faults)


def _seal(_: Path, seal: tuple[str | None, str]) -> tuple[str | None, str]:
    """What the store says of a trial: done, diverged, failed or nothing, and the digest of its record."""
    state, _digest = seal
    if state and state not in (*FINISHED, "failed"):
        raise Unusable(f"DONE says {state[:40]!r}; it can say {' or '.join(FINISHED)}")
    return seal


def _outcomes(
    trials: Mapping[str, Trial], states: Mapping[str, str | None], faults: Mapping[str, str]
) -> dict[str, tuple[str, str]]:
    found: dict[str, tuple[str, str]] = {}
    for name, trial in trials.items():
        if name in faults:
            found[name] = (UNREADABLE, faults[name])
        elif state := states[name]:
            found[name] = (state, "")
        else:
            found[name] = _stopped_by(trial, found)
    return found


def _stopped_by(trial: Trial, outcomes: Mapping[str, tuple[str, str]]) -> tuple[str, str]:
    """Status of a trial that never ended, and the ancestor that stopped it."""
    for _, parent in parents(trial):
        status, because = outcomes[key(parent)]
        if status in ("diverged", "failed"):
            return f"parent {status}", f"{parent.KIND} {key(parent)}"
        if status.startswith("parent"):
            return status, because
    return "missing", ""
