"""A whole grid file."""

from typing import Annotated, Literal

from pydantic import Field

from orchestrator import spec
from orchestrator.sections.axes import (
    BackboneLevel,
    Condition,
    DiscriminatorLevel,
    Matrix,
    When,
    Zip,
    discriminator_levels,
)
from orchestrator.sections.claims import Claim, ClaimName
from orchestrator.sections.common import Name, Section, Seed
from orchestrator.sections.data import DataSection, IqaSets, PhotographSplit
from orchestrator.sections.training import IqaTransferSection, Judges, Runtime, SuperResolutionSection


class Grid(Section):
    """One question: its factors, data, trainings, judges, and where it runs."""

    name: Name
    seeds: Annotated[tuple[Seed, ...], Field(min_length=1)]
    numerics: spec.Numerics
    backbones: Annotated[dict[Name, BackboneLevel], Field(min_length=1)]
    matrix: Matrix
    exclude: tuple[Condition, ...] = ()
    """Cells that meet one of them are left out."""
    when: tuple[When, ...] = ()
    zip: tuple[Zip, ...] = ()
    baselines: tuple[Literal["pixel"], ...] = ()
    photographs: PhotographSplit | None = None
    data: DataSection | None = None
    iqa_sets: IqaSets
    pretext: spec.PretextTraining | None = None
    fr_iqa: spec.MetricFit
    super_resolution: SuperResolutionSection
    iqa_transfer: IqaTransferSection | None = None
    judges: Judges
    claims: dict[ClaimName, Claim] = Field(default_factory=dict)
    runtime: Runtime = Runtime()

    def discriminators(self) -> list[DiscriminatorLevel]:
        """The levels of the discriminator axis, in the order of the file."""
        return [level for entry in self.matrix.discriminator for level in discriminator_levels(entry)]

    def iqa_backbones(self) -> tuple[str, ...]:
        """Names of the backbones of the IQA models; none where no initialization is asked for."""
        if self.iqa_transfer is None or not self.matrix.initialization:
            return ()
        own = (level.backbone for level in self.discriminators() if level.backbone)
        return self.iqa_transfer.backbones or tuple(dict.fromkeys(own))
