"""From a number of the page to the trials behind it: a compact index of trials, and per row the positions in it.

The full study has 14,000 trials and rows that rest on a thousand of them. The page therefore holds every trial once,
and a row only ranges of positions (`0-5 9`); its script makes the list when somebody asks for it.
"""

import os
import re
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

import pandas as pd

MLFLOW = "http://127.0.0.1:5000/"
"""Where `make mlflow` serves the mirror."""
TITLE_KEYS = 12
"""Keys that a tooltip names; the CSV files hold all."""


class Provenance:
    """The trials behind a page.

    `trials`: frame indexed by key with kind, name, status, seconds, device, git_commit, git_dirty, record, mlflow, in
    an order in which the trials of a row tend to be neighbours. `page`: the page's folder, from which links start. Keys
    that the frame does not have, of another grid's trials, are appended as they are met.
    """

    def __init__(self, trials: pd.DataFrame, page: Path) -> None:
        self.trials, self.page = trials, page
        self.positions = {str(key): i for i, key in enumerate(trials.index)}
        self.known = len(self.positions)

    def ranges(self, keys: Sequence[str]) -> str:
        """Positions of the trials as ranges: `0-5 9`."""
        found = sorted({self.positions.setdefault(key, len(self.positions)) for key in keys})
        runs = [[i for _, i in run] for _, run in groupby(enumerate(found), lambda pair: pair[1] - pair[0])]
        return " ".join(str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in runs)

    def data(self) -> dict[str, Any]:
        """What the page's script reads: words that repeat (kinds, statuses, devices, commits, folders) once each, and a
        row a trial: key, name, kind, status, seconds, device, commit, folder of the store or -1, path in MLflow."""
        words: dict[str, dict[Any, int]] = {name: {} for name in ("kinds", "statuses", "devices", "commits", "roots")}

        def position(name: str, value: Any) -> int:
            return words[name].setdefault(value, len(words[name]))

        rows = [
            [
                key,
                _text(row.name),
                position("kinds", _text(row.kind)),
                position("statuses", _text(row.status)),
                None if pd.isna(row.seconds) else round(float(row.seconds), 1),
                position("devices", _text(row.device)),
                position("commits", _commit(row.git_commit, row.git_dirty)),
                position("roots", root) if (root := self._root(row.record, _text(row.kind), key)) else -1,
                _text(row.mlflow),
            ]
            for key, row in zip(list(self.positions)[: self.known], _rows(self.trials), strict=True)
        ]
        stranger: list[Any] = ["trial of another grid", position("kinds", ""), position("statuses", ""), None]
        stranger += [position("devices", ""), position("commits", ""), -1, ""]
        rows += [[key, *stranger] for key in list(self.positions)[self.known :]]
        return {"mlflow": MLFLOW, "trials": rows} | {name: list(values) for name, values in words.items()}

    def _root(self, record: Any, kind: str, key: str) -> str:
        """The store's folder as a link from the page; empty where the record is not there."""
        path = Path(_text(record))
        if path.parts[-3:] != (kind, key, "record.json"):
            return ""
        return Path(os.path.relpath(path.parents[2], self.page)).as_posix()


def title(keys: Sequence[str]) -> str:
    """A tooltip that names the keys, the first ones of many."""
    if len(keys) <= TITLE_KEYS:
        return "keys: " + " ".join(keys)
    return f"keys: {' '.join(keys[:TITLE_KEYS])} and {len(keys) - TITLE_KEYS} more: the CSV file has all"


def commits(trials: pd.DataFrame) -> pd.DataFrame:
    """How many finished trials each commit and device made: git_commit, device, trials; most first."""
    made = trials[trials["git_commit"].fillna("").astype(str) != ""]
    if made.empty:
        return pd.DataFrame(columns=["git_commit", "device", "trials"])
    names = [_commit(c, d) for c, d in zip(made["git_commit"], made["git_dirty"], strict=True)]
    frame = pd.DataFrame({"git_commit": names, "device": made["device"].fillna("").astype(str)})
    counted = frame.value_counts().rename("trials").reset_index()
    return counted.sort_values(["trials", "git_commit", "device"], ascending=[False, True, True], ignore_index=True)


def _commit(commit: Any, dirty: Any) -> str:
    name = _text(commit)
    return f"{name} with uncommitted changes" if name and not pd.isna(dirty) and bool(dirty) else name


def _rows(frame: pd.DataFrame) -> Any:
    names = ["kind", "name", "status", "seconds", "device", "git_commit", "git_dirty", "record", "mlflow"]
    return frame[names].itertuples(index=False)


def _text(value: Any) -> str:
    return "" if value is None or pd.isna(value) else re.sub(r"\s+", " ", str(value))
