"""Reads a mirror back. What each run holds, and where, mirrored.py says."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlparse

from orchestrator import mirrored, tracking


class MirrorError(ValueError):
    """A mirror that cannot be read. `str()` says why, and what to do."""


class Reader:
    """Reads back what the mirror of a grid's sweeps holds: `runs` by the key of a trial or evaluation."""

    def __init__(self, place: str, experiment: str) -> None:
        """Raises MirrorError where there is no such database, server or experiment, or one that holds no files."""
        self.place, self.shown = place, mirrored.public(place)
        with self._told("no MLflow server answers" if place.startswith("http") else "cannot be read"):
            _check_existence(place)
            client = tracking.client_of(place)
            found = client.get_experiment_by_name(experiment)
            if not found or found.lifecycle_stage != "active":
                others = sorted(one.name for one in client.search_experiments())
                raise MirrorError(f"{self.shown}: no experiment {experiment!r}; there are: {', '.join(others)}")
            self.experiment = found.experiment_id
            self.all = {run.info.run_id: run for run in tracking.runs_of(client, self.experiment)}
        valid = {run: one for run, one in self.all.items() if tracking.SUPERSEDED not in one.data.tags}
        evaluations = {name: run for run, one in reversed(valid.items()) for name in tracking.evaluations_of(one)}
        tags = {run: one.data.tags for run, one in valid.items()}
        trained = {own["key"]: run for run, own in tags.items() if own.get("mirrored") == tracking.WITH_FILES}
        self.runs: dict[str, str] = {**evaluations, **trained}
        if not self.runs:
            raise MirrorError(
                f"{self.shown}: experiment {experiment!r} has {len(tags)} runs and no files of trials in them: a "
                "version before this one mirrored it, or nothing has finished; next: sweep again where its store is"
            )

    def links(self) -> dict[str, Any]:
        """As Writer.links: of what has its files."""
        return {"experiment": self.experiment, "runs": self.runs}

    def sweeps(self) -> list[str]:
        """The parent runs that hold manifests, oldest first."""
        return [run for run, one in reversed(self.all.items()) if "manifests" in one.data.tags]

    def download(self, run: str, part: str, into: Path) -> Path:
        """Copies a folder of a run's artifacts to `into`/`part`. Raises MirrorError when it cannot be had."""
        with self._told(f"{part} of run {run} cannot be read"):
            tracking.download(self._artifacts(run, part), part, into, self.place)
        return into / part

    def _artifacts(self, run: str, part: str) -> str:
        """Address of a run's artifacts. MLflow knows local ones by the path at which they were written: where a
        database and its artifacts were moved or copied together, they are beside it now."""
        address = str(self.all[run].info.artifact_uri)
        moved = tracking.artifact_location(self.place) / run / "artifacts"
        gone = address.startswith("file:") and not (Path(unquote(urlparse(address).path)) / part).exists()
        return str(moved) if gone and (moved / part).exists() else address

    @contextmanager
    def _told(self, what: str) -> Iterator[None]:
        try:
            yield
        except MirrorError:
            raise
        except Exception as error:  # MLflow raises whatever its database, server or file system raises
            logging.getLogger(__name__).debug("reading failed", exc_info=True)
            said = mirrored.public(self.place, " ".join(str(error).split()))
            raise MirrorError(f"{self.shown}: {what} ({type(error).__name__}: {said})") from None


def _check_existence(place: str) -> None:
    """MLflow would make a database that is not there."""
    file = place.removeprefix("sqlite:///")
    if "://" not in file and not Path(file).is_file():
        raise MirrorError(f"{place}: not there; --tracking names the MLflow database or server that a sweep filled")
