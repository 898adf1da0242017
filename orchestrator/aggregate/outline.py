"""What stands on the page and in which order: topics, and what a study has of each."""

import base64
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from orchestrator.aggregate.cards import Card, cards
from orchestrator.aggregate.figures import Chart, Drawn
from orchestrator.aggregate.flipping import Flips, flips
from orchestrator.aggregate.perspectives import INDEPENDENT
from orchestrator.aggregate.provenance import Provenance
from orchestrator.aggregate.scores import TWINS, Evidence
from orchestrator.aggregate.views import View, ranks_view, view
from orchestrator.aggregate.writing import Table

OPEN_ROWS = 40
"""A table of up to so many rows is shown unfolded."""


@dataclass(frozen=True)
class Topic:
    """A section of the page: the tables and charts that it shows, by their names."""

    name: str
    title: str
    about: str
    tables: tuple[str, ...] = ()
    charts: tuple[str, ...] = ()


TOPICS = (
    Topic(
        "claims",
        "Claims",
        "What the grid set out to test, and how it stands. Shaded: too small to matter; bar: 95 % interval.",
        ("claims", "claims_by_view"),
        ("claims",),
    ),
    Topic("asymmetry", "Asymmetry", "Do losses rank alike as metrics and as training losses?", ("asymmetry",)),
    Topic("ranks", "Ranks of the losses", "Where each loss stands on either side.", ("ranks",), ("ranks", "slopes")),
    Topic(
        "sensitivity",
        "Sensitivity and reliability",
        "What other choices would have shown, and how well each ranking repeats itself.",
        ("sensitivity", "reliability"),
        ("sensitivity",),
    ),
    Topic("metrics", "The losses as metrics", "Each loss against the labels of the IQA sets.", ("fr_iqa_by_loss",)),
    Topic(
        "optimization",
        "The losses as losses",
        "What judges say of the images that a generator gives when it is trained with each loss.",
        ("optimization_score", "optimization_by_judge"),
    ),
    Topic(
        "initialization",
        "Starts of IQA models",
        "Pretrained weights, random ones, and the backbones of trained discriminators.",
        ("iqa_transfer", "iqa_transfer_gan"),
        ("initialization",),
    ),
    Topic(
        "adversarial-weight",
        "Adversarial weight",
        "Quality as the adversarial weight grows.",
        ("adversarial_weight",),
        ("adversarial-weight",),
    ),
    Topic("stability", "Stability", "How steadily each pair trains.", ("stability",), ("stability",)),
    Topic("learning", "Learning curves", "How the trainings went.", (), ("learning-curves", "loss-terms")),
    Topic("artifacts", "Artifacts", "What the generator adds that is not in the photograph.", (), ("artifacts",)),
    Topic("crops", "Crops", "What the numbers look like."),
    Topic("outcomes", "Outcomes and missing trials", "What ran, and what did not.", ("counts", "missing")),
    Topic("more", "More", "What belongs to no other section."),
)
"""In the order of the page."""


@dataclass(frozen=True)
class Block:
    """A table, and the same without circular judges where it differs."""

    all_judges: View
    independent: View | None
    same: bool
    """Whether leaving out circular judges changes nothing, as where there are none."""

    @property
    def open(self) -> bool:
        """Whether it is shown unfolded."""
        return len(self.all_judges.rows) <= OPEN_ROWS


@dataclass(frozen=True)
class Picture:
    """A chart, and its two SVGs as data URIs."""

    chart: Chart
    light: str
    dark: str


@dataclass(frozen=True)
class Section:
    """A topic with what this study has of it."""

    id: str
    topic: Topic
    blocks: list[Block]
    pictures: list[Picture]
    cards: list[Card]
    flips: Flips | None
    faults: list[dict[str, str]]

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to show."""
        return not (self.blocks or self.pictures or self.cards or self.flips or self.faults)


def sections(
    evidence: Evidence, suffix: str, tables: Mapping[str, Table], drawn: Drawn, provenance: Provenance
) -> Iterator[Section]:
    """The sections of one group of losses that have something to show. `evidence` is the group's own; the names of its
    tables end in `suffix`."""
    own = {base: name for name in tables for base, end in [_split(name)] if end == suffix and base}
    topical = {name for topic in TOPICS for name in topic.tables}
    charted = {name for topic in TOPICS for name in topic.charts}
    for topic in TOPICS:
        names, charts = topic.tables, topic.charts
        if topic.name == "more":
            names = tuple(base for base in own if base not in topical)
            charts = tuple(name for name in drawn.charts if name not in charted)
        frames = {name: tables[name].frame for name in ("claims", "claims_by_view") if name in tables}
        of_study = suffix == ""
        section = Section(
            id=topic.name + suffix,
            topic=topic,
            blocks=[_block(own[name], tables, provenance) for name in names if name in own],
            pictures=[_picture(drawn.charts[name]) for name in charts if name in drawn.charts],
            cards=_cards(frames, provenance) if topic.name == "claims" and of_study else [],
            flips=flips(evidence.restorations) if topic.name == "crops" else None,
            faults=evidence.faults.to_dict("records") if topic.name == "outcomes" and of_study else [],
        )
        if not section.is_empty:
            yield section


def _split(name: str) -> tuple[str, str]:
    """(name of a table without endings, ending of its group); ("", "") for one without circular judges, which stands
    beside the one with all."""
    if name.endswith(INDEPENDENT):
        return "", ""
    return (name.removesuffix(TWINS), TWINS) if name.endswith(TWINS) else (name, "")


def _block(name: str, tables: Mapping[str, Table], provenance: Provenance) -> Block:
    shown, other = tables[name], tables.get(name + INDEPENDENT)
    same = other is not None and other.frame.equals(shown.frame)
    beside = None if other is None or same else _view(other, provenance)
    return Block(_view(shown, provenance), beside, same)


def _view(table: Table, provenance: Provenance) -> View:
    is_ranks = table.name.removesuffix(INDEPENDENT).removesuffix(TWINS) == "ranks"
    return ranks_view(table, provenance) if is_ranks else view(table, provenance)


def _cards(frames: Mapping[str, pd.DataFrame], provenance: Provenance) -> list[Card]:
    return cards(frames.get("claims", pd.DataFrame()), frames.get("claims_by_view", pd.DataFrame()), provenance)


def _picture(chart: Chart) -> Picture:
    return Picture(chart, data_uri(chart.light), data_uri(chart.dark))


def data_uri(svg: Path) -> str:
    """An SVG file as a data URI, without the line breaks and indents that are a sixth of it."""
    words = " ".join(svg.read_text(encoding="utf-8").split())
    return f"data:image/svg+xml;base64,{base64.b64encode(words.encode()).decode()}"
