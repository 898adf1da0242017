"""The sections of a grid file, typed. grid.py reads and checks them, builder.py turns them into trials."""

from orchestrator.sections.axes import (
    GAN,
    STARTS,
    BackboneLevel,
    Condition,
    DiscriminatorAxis,
    DiscriminatorLevel,
    Matrix,
    WeightsFile,
    discriminator_levels,
)
from orchestrator.sections.claims import Agreement, AgreementChange, Claim, Difference, Levels, Trend, Upset
from orchestrator.sections.common import Section
from orchestrator.sections.data import (
    DataSection,
    ImageFolders,
    IqaFolder,
    LadderSet,
    OfficialSet,
    PhotographSplit,
    SplitByReference,
)
from orchestrator.sections.grid import Grid
from orchestrator.sections.training import GENERATORS, OfficialGenerator, Runtime, SuperResolutionSection, Warmup

__all__ = [
    "GAN",
    "GENERATORS",
    "STARTS",
    "Agreement",
    "AgreementChange",
    "BackboneLevel",
    "Claim",
    "Condition",
    "DataSection",
    "Difference",
    "DiscriminatorAxis",
    "DiscriminatorLevel",
    "Grid",
    "ImageFolders",
    "IqaFolder",
    "LadderSet",
    "Levels",
    "Matrix",
    "OfficialGenerator",
    "OfficialSet",
    "PhotographSplit",
    "Runtime",
    "Section",
    "SplitByReference",
    "SuperResolutionSection",
    "Trend",
    "Upset",
    "Warmup",
    "WeightsFile",
    "discriminator_levels",
]
