"""What figures are drawn from: the tables of one group of losses, by name, and the evidence behind them."""

from collections.abc import Mapping
from dataclasses import dataclass

import pandas as pd

from orchestrator.aggregate.figures.theme import Mark, Theme, baseline_mark, loss_marks
from orchestrator.aggregate.scores import Evidence


@dataclass(frozen=True)
class Material:
    """The tables of all groups with what ends the names of this group's, and this group's evidence."""

    tables: Mapping[str, pd.DataFrame]
    evidence: Evidence
    suffix: str = ""

    def table(self, name: str) -> pd.DataFrame:
        """The group's table of that name; a frame without rows where the study has none."""
        return self.tables.get(name + self.suffix, pd.DataFrame())

    def marks(self, theme: Theme) -> dict[str, Mark]:
        """The mark of each ranked loss, and of each baseline that evidence or tables name."""
        known = loss_marks(self.evidence.losses, theme)
        named = pd.concat([self.evidence.cells["loss"], self.evidence.curves["loss"]]).unique()
        return known | {name: baseline_mark(theme) for name in named if name not in known}
