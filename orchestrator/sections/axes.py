"""The axes of the matrix: backbones, losses, discriminators, initializations, tasks."""

import itertools
from collections.abc import Mapping
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import BeforeValidator, Discriminator, Field, Tag
from pydantic_core import PydanticCustomError

from orchestrator import spec
from orchestrator.sections.common import Name, Section, Seed, Weight, listed

RELEASED = "released"


class WeightsFile(Section):
    """Released weights in a file of one's own, for machines without network."""

    file: Annotated[str, Field(min_length=1)]


Weights = Annotated[
    Annotated[str, Field(min_length=1), Tag("<name>")] | Annotated[WeightsFile, Tag("<file>")],
    Discriminator(lambda value: "<file>" if isinstance(value, dict | WeightsFile) else "<name>"),
]
STARTS = ("random", "pretext", RELEASED)
"""Starts that every backbone may have, by the words of its weights."""
GAN = "gan"
"""The start from a trained discriminator."""
Start = Annotated[Name, Field(examples=[*STARTS])]
Initialization = Annotated[Name, Field(examples=[*STARTS, GAN])]
Head = Annotated[Name, Field(examples=["vanilla", "patch"])]


class BackboneLevel(Section):
    """An architecture and where its weights come from: random, pretext, released (timm), a tag of open_clip, a file."""

    model: Annotated[str, Field(pattern=r"^(small|timm|open_clip)/[A-Za-z0-9][A-Za-z0-9._-]*$")]
    weights: Weights
    starts: dict[Name, Weights] = Field(default_factory=dict)
    """Further starts of discriminators and IQA models, by name: a file, a tag of open_clip, released (timm)."""

    def started(self, start: str) -> "BackboneLevel":
        """The level that has a start's weights for its own; itself for those that every backbone has."""
        return self.model_copy(update={"weights": self.starts[start]}) if start in self.starts else self

    @property
    def has_released(self) -> bool:
        """Whether its weights are a file that others made."""
        return self.weights not in ("random", "pretext")


class DiscriminatorAxis(Section):
    """Discriminators: every head x every backbone x every start (x every adversarial weight, where it is a factor)."""

    head: Annotated[tuple[Head, ...], Field(min_length=1), listed]
    """Names of HEADS in workers/models/discriminators.py."""
    backbone: Annotated[tuple[str, ...], listed, Field(min_length=1)]
    start: Annotated[tuple[Start, ...], Field(min_length=1), listed]
    """random, pretext, released, or one of the backbone's own starts."""
    weight: Annotated[tuple[Weight, ...], listed, Field(min_length=1)] | None = None


def _no_yaml_booleans(value: Any) -> Any:
    if isinstance(value, bool):
        raise PydanticCustomError(
            "yaml_boolean",
            "none (YAML reads off, no, on and yes without quotes as booleans), {head: ..., backbone: ..., start: ...}",
        )
    return value


DiscriminatorEntry = Annotated[
    Annotated[Literal["none"], Tag("<name>")] | Annotated[DiscriminatorAxis, Tag("<axis>")],
    Discriminator(lambda value: "<axis>" if isinstance(value, dict | DiscriminatorAxis) else "<name>"),
    BeforeValidator(_no_yaml_booleans),
]


class DiscriminatorLevel(NamedTuple):
    """One level of the discriminator axis; `none` has empty parts."""

    name: str
    head: str = ""
    backbone: str = ""
    start: str = ""
    weight: spec.Weight | None = None
    """The adversarial weight where it is a factor; None: that of the section."""


def discriminator_levels(entry: "str | DiscriminatorAxis") -> list[DiscriminatorLevel]:
    """The levels that one entry of the axis makes."""
    if isinstance(entry, str):
        return [DiscriminatorLevel(entry)]
    parts = itertools.product(entry.head, entry.backbone, entry.start, entry.weight or (None,))
    return [
        DiscriminatorLevel("-".join((head, backbone, start)) + _suffix(weight), head, backbone, start, weight)
        for head, backbone, start, weight in parts
    ]


def _suffix(weight: spec.Weight | None) -> str:
    """-w0.01 for a raw weight, -x0.1 for that many times the reference."""
    if weight is None:
        return ""
    return f"-x{weight.times:g}" if isinstance(weight, spec.Calibrated) else f"-w{weight:g}"


class Matrix(Section):
    """The axes; the seeds are the fifth. Without initializations and tasks the study is of optimization alone."""

    loss: Annotated[tuple[str, ...], Field(min_length=1)]
    twins: tuple[str, ...] = ()
    """Losses that run like the others and are ranked among themselves: a random and a released twin of one architecture
    are not two independent losses."""
    discriminator: Annotated[tuple[DiscriminatorEntry, ...], Field(min_length=1)]
    initialization: tuple[Initialization, ...] = ()
    """random, pretext, released, gan, or a start that each backbone of the IQA models has."""
    task: tuple[spec.Task, ...] = ()


Levels = Annotated[tuple[str, ...], listed, Field(min_length=1)]
Seeds = Annotated[tuple[Seed, ...], listed, Field(min_length=1)]


class Condition(Section):
    """Levels of factors, one or a list of each. A cell meets it that has one of the levels of every factor named."""

    loss: Levels | None = None
    discriminator: Levels | None = None
    initialization: Levels | None = None
    task: Levels | None = None
    seed: Seeds | None = None

    def named(self) -> dict[str, tuple[str | int, ...]]:
        """Only the factors that it names."""
        return {name: getattr(self, name) for name in Condition.model_fields if getattr(self, name) is not None}

    def met(self, cell: Mapping[str, object]) -> bool:
        """Whether a cell, as level by factor, meets it."""
        return all(cell[name] in levels for name, levels in self.named().items())


class When(Condition):
    """Of the cells that meet it, only those stay that meet `only`, too."""

    only: Condition


class Zip(Condition):
    """Factors that go together: a cell that has one of the levels of every factor named stays where they stand at the
    same position of their lists. Levels that are not listed combine freely."""

    def met(self, cell: Mapping[str, object]) -> bool:
        """Whether a cell stays."""
        named = self.named()
        return not super().met(cell) or any(
            all(cell[name] == level for name, level in zip(named, levels, strict=True))
            for levels in zip(*named.values(), strict=True)
        )
