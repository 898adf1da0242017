"""Learning curves of the super-resolution trials: validation PSNR, and every term of the loss."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from orchestrator.aggregate.figures.material import Material
from orchestrator.aggregate.figures.panels import Page, beneath, panels
from orchestrator.aggregate.figures.theme import FADED, Mark, Theme
from orchestrator.matrix import WARMUP

TITLE = "Learning curves"
CAPTION = (
    "PSNR on the validation crops during training; each line is a mean over seeds, the seeds stand faintly behind"
    " it. While a discriminator warms up, the generator does not train; all trials start from the generator's "
    "warm-up."
)
TERMS_TITLE = "Terms of the loss during training"
TERMS_CAPTION = (
    "Each term as it was trained on, before its weight; means over seeds. A term's values compare within a loss, not "
    "between losses."
)
VALIDATION, GENERATOR = "validation_psnr", "pixel"
TERMS = ("pixel", "fidelity", "adversarial", "discriminator_loss")
DISCRIMINATOR_READY, GENERATOR_READY = "discriminator warmed up", "generator's warm-up"
BINS, FEW = 100, 12
"""Points that a curve is drawn with at most, means over bins of steps; and up to how many each is marked."""


def draw(material: Material, theme: Theme) -> Figure | None:
    """Validation PSNR, a panel a discriminator; None where no trial logged it."""
    curves = _trained(material)
    shown = thinned(curves[curves["name"] == VALIDATION])
    names, marks, psnr = _names(curves, material), material.marks(theme), _warmup_psnr(material)
    if shown.empty or not names:
        return None
    page = Page(
        names=names,
        least=1.8,
        widest=2.9,
        high=1.35,
        most=3,
        beside=0.36,
        x="training step",
        y="validation PSNR (dB)",
        legend=_used(marks, shown) | _guides(curves, psnr, theme),
        legend_points=False,
    )
    drawn = panels(page)
    for axis, name in zip(drawn.axes, names, strict=True):
        here = shown[shown["discriminator"] == name]
        _draw_lines(axis, here, marks, seeds=True)
        _draw_guides(axis, curves[curves["discriminator"] == name], psnr, theme)
        _format_steps(axis)
    return drawn.figure


def draw_terms(material: Material, theme: Theme) -> Figure | None:
    """A row a discriminator, a column a term of the loss; None where no term was logged."""
    curves = _trained(material)
    shown = thinned(curves[curves["name"].isin(TERMS)])
    names, marks = _names(shown, material), material.marks(theme)
    if not names:
        return None
    terms = [term for term in TERMS if term in set(shown["name"])]
    places = [(name, term) for name in names for term in terms]
    page = Page(
        names=[name if term == terms[0] else "" for name, term in places],
        span=2,
        least=1.1,
        widest=1.6,
        high=0.85,
        most=len(terms),
        beside=0.44,
        own_y=True,
        lines=1,
        x="training step",
        legend=_used(marks, shown) | _guides(curves, np.nan, theme),
        legend_points=False,
    )
    drawn = panels(page)
    limits = {term: _limits(shown.loc[shown["name"] == term, "value"]) for term in terms}
    for axis, (name, term) in zip(drawn.axes, places, strict=True):
        here = shown[(shown["discriminator"] == name) & (shown["name"] == term)]
        if here.empty:
            axis.set_visible(False)
            continue
        beneath(axis, term.replace("_", " "), theme.faint)
        low, high, scale = limits[term]
        axis.set_yscale(scale)
        axis.set_ylim(low, high)
        _draw_lines(axis, here, marks, seeds=False)
        _draw_guides(axis, curves[curves["discriminator"] == name], np.nan, theme)
        _format_steps(axis)
        if scale == "linear":
            axis.yaxis.set_major_locator(MaxNLocator(3))
            axis.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.3g}"))
    return drawn.figure


def thinned(curves: pd.DataFrame) -> pd.DataFrame:
    """Curves of at most `BINS` points: steps and values are means over equal bins of steps."""
    if curves.empty:
        return curves
    width = max(1.0, (curves["step"].max() + 1) / BINS)
    by = ["loss", "discriminator", "seed", "name"]
    bins = (curves["step"] // width).astype(int)
    groups = curves[np.isfinite(curves["value"])].groupby([*by, bins.rename("bin")], sort=False, dropna=False)
    return groups[["step", "value"]].mean().reset_index()


def start_of_training(curves: pd.DataFrame) -> float | None:
    """The step at which the generators of one discriminator start to train, where others were logged before it."""
    started = curves.loc[curves["name"] == GENERATOR, "step"]
    if started.empty or not (curves["step"] < started.min()).any():
        return None
    return float(started.min())


def _trained(material: Material) -> pd.DataFrame:
    """Curves of the ranked losses and of the baselines, less the warm-up: that is another training."""
    curves = material.evidence.curves
    known = curves["loss"].isin(material.evidence.losses) | curves["baseline"].astype(bool)
    return curves[known & (curves["loss"] != WARMUP)]


def _names(curves: pd.DataFrame, material: Material) -> list[str]:
    found = set(curves["discriminator"])
    return [name for name in material.evidence.discriminators if name in found]


def _used(marks: Mapping[str, Mark], shown: pd.DataFrame) -> dict[str, Mark]:
    found = set(shown["loss"])
    return {name: mark for name, mark in marks.items() if name in found}


def _draw_lines(axis: Axes, here: pd.DataFrame, marks: Mapping[str, Mark], seeds: bool) -> None:
    for loss, mark in marks.items():
        own = here[here["loss"] == loss]
        if own.empty:
            continue
        single = own.groupby("seed", dropna=False, sort=True)
        if seeds and single.ngroups > 1:
            for _, of_seed in single:
                axis.plot(of_seed["step"], of_seed["value"], color=mark.color, alpha=FADED / 1.5, linewidth=0.5)
        mean = own.groupby("bin")[["step", "value"]].mean()
        points = "." if len(mean) <= FEW else "none"
        axis.plot(mean["step"], mean["value"], **mark.line(linewidth=1.2, label=loss, marker=points, markersize=4))


def _guides(curves: pd.DataFrame, psnr: float, theme: Theme) -> dict[str, Mark]:
    """The lines that are no curves, those that there are: where generators start to train, and a warm-up's PSNR."""
    starts = [start_of_training(of_level) for _, of_level in curves.groupby("discriminator")]
    return {
        **({DISCRIMINATOR_READY: Mark(theme.ink, "none", (0, (6, 2)))} if any(starts) else {}),
        **({GENERATOR_READY: Mark(theme.ink, "none", (0, (1, 1.5)))} if np.isfinite(psnr) else {}),
    }


def _draw_guides(axis: Axes, curves: pd.DataFrame, psnr: float, theme: Theme) -> None:
    guides, start = _guides(curves, psnr, theme), start_of_training(curves)
    if start is not None:
        axis.axvline(start, **guides[DISCRIMINATOR_READY].line(linewidth=0.8, zorder=0))
    if GENERATOR_READY in guides:
        axis.axhline(psnr, **guides[GENERATOR_READY].line(linewidth=0.9, zorder=0))


def _limits(values: pd.Series) -> tuple[float, float, str]:
    """Ends of an axis for all values of a term, and its scale: logarithmic where they are positive and differ by more
    than a factor of ten."""
    low, high = float(values.min()), float(values.max())
    if low > 0 and high > 10 * low:
        return low / 1.2, high * 1.2, "log"
    pad = 0.05 * (high - low) or 0.05 * abs(high) or 1.0
    return low - pad, high + pad, "linear"


def _warmup_psnr(material: Material) -> float:
    counts = material.table("counts")
    if counts.empty:
        return float("nan")
    return float(counts.loc[counts["loss"] == WARMUP, "validation_psnr"].mean())


def _format_steps(axis: Axes) -> None:
    axis.xaxis.set_major_locator(MaxNLocator(3, integer=True))
    axis.xaxis.set_major_formatter(FuncFormatter(lambda step, _: f"{step / 1000:g}k" if step >= 1000 else f"{step:g}"))
