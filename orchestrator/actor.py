"""The process that runs trials, one after another."""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

from orchestrator import cluster  # noqa: F401  # before ray

# isort: split

import ray
from ray import tune

from orchestrator.meters import TrialMeters
from orchestrator.remote import open_store
from orchestrator.runner import run_trial
from orchestrator.store import Unseen

UNSEEN = "unseen"
"""Status of a trial on a node that does not see the store."""
UNSEEN_SECONDS = 5.0


class TrialActor(tune.Trainable):
    """A process that runs one trial after another. Its name is what the dashboard shows of it."""

    @classmethod
    def default_resource_request(cls, config: Mapping[str, Any]) -> tune.PlacementGroupFactory:
        """What the trial of a config reserves. (tune.with_resources would hide the class in one of its own.)"""
        return tune.PlacementGroupFactory([config["reserves"]])

    def setup(self, config: dict[str, Any]) -> None:
        """Remembers the folder that Tune made for the first trial."""
        self.scratch, self.unseen = Path(self.logdir), ""

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """The process goes on with another trial. Of the last one Tune leaves two empty folders, which would take 8 KiB
        a trial for ever: here, and on the driver's node."""
        for folder in (self.scratch, self.scratch.parents[1] / "driver_artifacts" / self.scratch.name):
            with suppress(OSError):  # not there, or not empty
                folder.rmdir()
        self.scratch, self.unseen = Path(self.logdir), ""
        return True

    def step(self) -> dict[str, Any]:
        """The whole trial; Tune sees one result. On a node that does not see the store it sees one every few seconds:
        the process keeps the place, where one trial after another would fail, until it sees the store or is ended. Its
        trial is another process's by then."""
        if self.unseen:
            time.sleep(UNSEEN_SECONDS)
            store = open_store(self.config["store"], self.config["cache"])
            there = store.folder(self.config["kind"], self.config["key"]).is_dir()
            return {"trial_status": UNSEEN, "note": self.unseen, "done": there}
        device = "cuda" if ray.get_gpu_ids() and self.config["device"] == "auto" else "cpu"
        here = {"device": device, "node": ray.get_runtime_context().get_node_id()}
        kind = self.config["kind"]
        self.meters = getattr(self, "meters", None) or TrialMeters()
        with _titled(f"{kind}: {self.config['name']}"):
            try:
                status = run_trial({**self.config, **here}, partial(self.meters.hear, kind))
            except Unseen as unseen:
                self.unseen = str(unseen)
                return {"trial_status": UNSEEN, "note": self.unseen, "done": False}
            finally:
                self.meters.rest(kind)
        return {"trial_status": status, "done": True}


@contextmanager
def _titled(words: str) -> Iterator[None]:
    """Within it the process is called by what it does, as the dashboard's page of nodes, ps and nvidia-smi show it."""
    before = ray._raylet.getproctitle()
    ray._raylet.setproctitle(f"ray::{words}")
    try:
        yield
    finally:
        ray._raylet.setproctitle(before)
