"""What a grid claims: typed contrasts with an effect, a null and the smallest effect that matters."""

import re
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Discriminator, Field, Tag
from pydantic_core import PydanticCustomError

from orchestrator.sections.common import Section, listed

ALL, ADVERSARIAL, NONE = "all", "adversarial", "none"
"""Words for discriminators: every one, every one but none, and none itself."""

Text = Annotated[str, Field(min_length=1)]
Texts = Annotated[tuple[Text, ...], listed, Field(min_length=1)]
Seeds = Annotated[tuple[int, ...], listed, Field(min_length=1)]
Numbers = Annotated[tuple[float, ...], listed, Field(min_length=1)]


def _claim_name(name: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,23}", name):
        raise PydanticCustomError("claim_name", "letters, digits and . _ - (at most 24, the first a letter or digit)")
    return name


ClaimName = Annotated[str, AfterValidator(_claim_name)]


class Levels(Section):
    """The levels that one side of a contrast has; a factor without levels may have any."""

    loss: Texts | None = None
    discriminator: Texts | None = None
    """Names, or `adversarial`: all but none."""
    head: Texts | None = None
    backbone: Texts | None = None
    """Of the discriminator; of the IQA model where the measure is srcc."""
    start: Texts | None = None
    """Of the discriminator; where the measure is srcc, of the one that a gan initialization comes from."""
    weight: Numbers | None = None
    """Of the adversarial loss; of a calibrated one its times."""
    initialization: Texts | None = None
    task: Texts | None = None
    seed: Seeds | None = None

    def named(self) -> dict[str, tuple[Any, ...]]:
        """Factor -> levels, of those factors alone that have some."""
        return {factor: levels for factor, levels in self if levels is not None}


def selected(levels: Levels, row: Mapping[str, Any]) -> bool:
    """Whether a row (factor -> level, with a level for each factor that `levels` names) is on this side."""
    return all(_among(row[factor], wanted) for factor, wanted in levels.named().items())


def _among(level: Any, wanted: tuple[Any, ...]) -> bool:
    """No other factor has a level called adversarial: the checks of a grid allow names of its levels alone."""
    return level in wanted or (ADVERSARIAL in wanted and level not in (NONE, ""))


def meant(words: Iterable[str], discriminators: Iterable[str]) -> tuple[str, ...]:
    """Those of `discriminators` that the words name, in their own order: names, `adversarial` or `all`."""
    asked = set(words)
    return tuple(
        name for name in discriminators if name in asked or ALL in asked or (ADVERSARIAL in asked and name != NONE)
    )


class _Stated(Section):
    """What all claims state."""

    says: Text
    """The claim in one sentence of plain English."""
    matters: Annotated[float, Field(gt=0)]
    """The smallest effect that matters, in the effect's unit."""
    grid: Text | None = None
    """Another grid file, in the folder of this one or relative to it, on whose trials the claim rests."""


class Agreement(_Stated):
    """Metric quality and training quality rank the losses differently.

    Effect: 1 - rho, rho being Spearman's between IQA score and optimization score over the losses; mean over the
    discriminators. No unit: 0 at full agreement, 1 at none. Null: agreement is perfect, seen through the noise.
    """

    contrast: Literal["agreement"]
    discriminators: Texts = (ALL,)
    """Names, `all` or `adversarial`."""
    null: ClassVar[str] = "perfect"
    direction: ClassVar[str] = "higher"


class AgreementChange(_Stated):
    """Agreement between the rankings changes with the discriminator.

    Effect: mean rho over the discriminators `of`, minus rho under `over`. No unit, from -2 to 2. Null: no difference.
    """

    contrast: Literal["agreement_change"]
    of: Texts
    """Names or `adversarial`."""
    over: Text = NONE
    direction: Literal["higher", "lower"]
    null: ClassVar[str] = "zero"


class Upset(_Stated):
    """A loss that is a worse metric than others trains better than they do.

    Effect: its quality minus that of the best of `over`, under the discriminator where this is largest. Unit: standard
    deviations of each judge over warm-up outputs. Null: under no discriminator is it above zero, or the IQA score of
    the loss is not below that of each of `over`.
    """

    contrast: Literal["upset"]
    loss: Text
    over: Texts
    discriminators: Texts = (ALL,)
    """It is enough to be above under one of these: names, `all` or `adversarial`."""
    null: ClassVar[str] = "zero"
    direction: ClassVar[str] = "higher"


Measure = Literal["quality", "srcc", "stability"]
Unit = Literal["pair", "seed", "loss"]
Direction = Literal["higher", "lower", "negligible"]
FACTORS: dict[str, tuple[str, ...]] = {
    "quality": ("loss", "discriminator", "head", "backbone", "start", "weight", "seed"),
    "srcc": ("task", "backbone", "initialization", "start", "loss", "discriminator", "head", "seed"),
    "stability": ("loss", "discriminator", "head", "backbone", "start", "weight", "seed"),
}
"""Measure -> the factors that its values differ by."""


class Difference(_Stated):
    """One side of a design choice gives more of a measure than the other.

    Effect: mean over matched pairs of the measure at `of` minus the measure at `over`; whatever is neither fixed nor
    paired is averaged on each side. Unit: that of the measure. Null: zero; of the direction negligible, an effect of
    `matters` or more in size.

    - quality: judge scores, higher is better, in standard deviations of each judge over warm-up outputs
    - srcc: mean SRCC of an IQA model over its benchmarks
    - stability: minus the spread of the validation PSNR over the last checkpoints, dB
    """

    contrast: Literal["difference"]
    measure: Measure
    judges: Texts | None = None
    """For quality: judges of the grid that take the place of those of the score."""
    of: Levels
    over: Levels
    pairs: Texts
    """Factors in which the two runs of a pair are alike."""
    unit: Unit = "pair"
    """What counts as one independent observation: a pair, or the mean of all pairs of a seed or of a loss."""
    direction: Direction
    null: ClassVar[str] = "zero"


class Trend(_Stated):
    """A measure changes faster along a factor on one side than on the other.

    Effect: mean over matched pairs of the slope of the measure per tenfold weight at `of` minus that at `over`; without
    `over` the slope itself. Unit: that of the measure (see Difference) per tenfold. Null: zero; of the direction
    negligible, an effect of `matters` or more in size.
    """

    contrast: Literal["trend"]
    measure: Literal["quality", "stability"]
    judges: Texts | None = None
    along: Literal["weight"] = "weight"
    of: Levels
    over: Levels | None = None
    pairs: Texts
    unit: Unit = "pair"
    direction: Direction
    null: ClassVar[str] = "zero"


class _Contrast(BaseModel):
    """Looks at the contrast alone, for an error that names all of them."""

    model_config = ConfigDict(strict=True)
    contrast: Literal["agreement", "agreement_change", "upset", "difference", "trend"]


def _of_known_contrast(value: Any) -> Any:
    if not isinstance(value, _Stated):
        _Contrast.model_validate(value)
    return value


def _tag(value: Any) -> str:
    return f"<{value['contrast'] if isinstance(value, dict) else value.contrast}>"


Claim = Annotated[
    Annotated[Agreement, Tag("<agreement>")]
    | Annotated[AgreementChange, Tag("<agreement_change>")]
    | Annotated[Upset, Tag("<upset>")]
    | Annotated[Difference, Tag("<difference>")]
    | Annotated[Trend, Tag("<trend>")],
    Discriminator(_tag),
    BeforeValidator(_of_known_contrast),
]
