"""The study's figures as files: charts as SVG in a light and a dark theme and as PNG, and strips of real crops.

One module a figure; each has `TITLE`, `CAPTION` and `draw(material, theme)`, which returns None where the study has
nothing to draw: such a figure is left out.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from orchestrator.aggregate.crops import strip_images
from orchestrator.aggregate.figures import (
    adversarial_weight,
    artifacts,
    claims,
    curves,
    initialization,
    ranks,
    sensitivity,
    slopes,
    stability,
    strips,
)
from orchestrator.aggregate.figures.material import Material
from orchestrator.aggregate.figures.theme import LIGHT, Theme, applied, darkened, save
from orchestrator.aggregate.scores import Evidence

Draw = Callable[[Material, Theme], Figure | None]
CHARTS: dict[str, tuple[str, str, Draw]] = {
    "ranks": (ranks.TITLE, ranks.CAPTION, ranks.draw),
    "slopes": (slopes.TITLE, slopes.CAPTION, slopes.draw),
    "sensitivity": (sensitivity.TITLE, sensitivity.CAPTION, sensitivity.draw),
    "claims": (claims.TITLE, claims.CAPTION, claims.draw),
    "initialization": (initialization.TITLE, initialization.CAPTION, initialization.draw),
    "adversarial-weight": (adversarial_weight.TITLE, adversarial_weight.CAPTION, adversarial_weight.draw),
    "learning-curves": (curves.TITLE, curves.CAPTION, curves.draw),
    "loss-terms": (curves.TERMS_TITLE, curves.TERMS_CAPTION, curves.draw_terms),
    "stability": (stability.TITLE, stability.CAPTION, stability.draw),
    "artifacts": (artifacts.TITLE, artifacts.CAPTION, artifacts.draw),
}
"""Title, caption and function of every chart, by the name of its files."""


@dataclass(frozen=True)
class Chart:
    """One chart's files, and what to say of it in plain text."""

    title: str
    caption: str
    light: Path
    """SVG."""
    dark: Path
    """SVG."""
    png: Path
    """Light."""


@dataclass(frozen=True)
class Drawn:
    """The figures of one group of losses."""

    charts: dict[str, Chart]
    """By name, in the order of `CHARTS`; those that could be drawn."""
    strips: dict[str, Path]
    """PNG by the name of the image; an SVG stands beside each."""


def write(tables: Mapping[str, pd.DataFrame], evidence: Evidence, folder: Path, suffix: str = "") -> Drawn:
    """Draws the figures of one group of losses into `folder`; their names end in `suffix`, as its tables' do.

    `tables` are the frames of all tables by their whole name; one that is not there has no figure. `evidence` is the
    group's own. The same input gives the same bytes.
    """
    folder.mkdir(parents=True, exist_ok=True)
    material = Material(tables, evidence, suffix)
    charts = {name: _write_chart(name, material, folder) for name in CHARTS}
    shown = {}
    for image, crops in strip_images(evidence.restorations):
        shown[image] = folder / f"strip-{image}{suffix}.png"
        with applied(LIGHT):
            save(
                strips.draw(image, crops),
                shown[image],
                shown[image].with_suffix(".svg"),
                dpi=strips.DPI,
                transparent=True,
            )
    return Drawn({name: chart for name, chart in charts.items() if chart}, shown)


def _write_chart(name: str, material: Material, folder: Path) -> Chart | None:
    title, caption, draw = CHARTS[name]
    light, dark, png = (folder / f"{name}{material.suffix}{end}" for end in (".svg", "-dark.svg", ".png"))
    with applied(LIGHT):
        figure = draw(material, LIGHT)
        if figure is None:
            return None
        save(figure, png, light)
    dark.write_text(darkened(light.read_text(encoding="utf-8")), encoding="utf-8")
    return Chart(title, caption, light, dark, png)
