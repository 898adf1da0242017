"""report.html: one self-contained page with the study's answer, tables, figures and crops, readable without JavaScript.

The page's look is report.html.j2 with report.css and report.js beside this file. Jinja escapes every name (autoescape),
for HTML and for the script; images are data URIs. The page holds no date: the same store gives the same bytes.
"""

import importlib.metadata
import platform
from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from orchestrator.aggregate.crops import BESIDE
from orchestrator.aggregate.figures import Drawn
from orchestrator.aggregate.headline import headline
from orchestrator.aggregate.outline import sections
from orchestrator.aggregate.provenance import Provenance, commits
from orchestrator.aggregate.scores import Evidence
from orchestrator.aggregate.verdicts import SIGNS
from orchestrator.aggregate.writing import Table

LIBRARIES = ("numpy", "scipy", "pandas", "choix", "matplotlib", "Jinja2")
"""Whose versions the page names: they made its numbers and figures."""


def write(evidence: Evidence, tables: Sequence[Table], figures: Mapping[str, Drawn], path: Path) -> Path:
    """Writes the page to `path` and returns it. `figures` are those of each group of losses, by what ends the names of
    its tables."""
    provenance, by_name = Provenance(evidence.trials, path.parent), {table.name: table for table in tables}
    frames = {
        name: by_name[name].frame if name in by_name else pd.DataFrame()
        for name in ("claims", "asymmetry", "claims_by_view")
    }
    groups = {
        suffix: list(sections(group, suffix, by_name, figures[suffix], provenance))
        for suffix, group in evidence.groups()
    }
    page = (
        _environment()
        .get_template("report.html.j2")
        .render(
            evidence=evidence,
            headline=headline(frames["claims"], frames["asymmetry"], evidence.label_kind, frames["claims_by_view"]),
            groups=groups,
            beside=BESIDE,
            signs=SIGNS,
            done=_with_status(evidence.cells, "done"),
            planned=evidence.cells["key"].nunique(),
            diverged=_with_status(evidence.cells, "diverged"),
            commits=commits(evidence.trials).to_dict("records"),
            circular=evidence.circular.to_dict("records"),
            versions=_versions(),
            trials=provenance.data(),
        )
    )
    path.write_text(page, encoding="utf-8")
    return path


def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.policies["json.dumps_kwargs"] = {"separators": (",", ":")}
    return environment


def _with_status(cells: pd.DataFrame, status: str) -> int:
    return int(cells.loc[cells["status"] == status, "key"].nunique())


def _versions() -> str:
    names = [f"Python {platform.python_version()}"]
    return ", ".join([*names, *(f"{name} {importlib.metadata.version(name)}" for name in LIBRARIES)])
