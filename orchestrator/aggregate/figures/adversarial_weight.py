"""Quality against the adversarial weight: a panel a loss, a line a discriminator."""

from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullFormatter

from orchestrator.aggregate.figures.material import Material
from orchestrator.aggregate.figures.panels import Page, panels
from orchestrator.aggregate.figures.theme import Theme, level_marks

TITLE = "Quality over the adversarial weight"
CAPTION = (
    "Quality of the restored images against that under the same backbone's smallest weight (the dotted line), in "
    "standard deviations of each judge over the warm-up's outputs; higher is better. Bars: 95 % intervals."
)


def draw(material: Material, theme: Theme) -> Figure | None:
    """None where the weight is no factor."""
    table = material.table("adversarial_weight")
    if table.empty or table["quality"].isna().all():
        return None
    parts = [name for name in ("head", "backbone", "start") if name == "backbone" or table[name].nunique() > 1]
    table = table.assign(line=table[parts].agg("-".join, axis=1))
    lines, losses = (list(dict.fromkeys(table[column])) for column in ("line", "loss"))
    marks = level_marks(lines, theme)
    page = Page(
        names=losses,
        least=1.7,
        widest=2.9,
        high=1.6,
        most=3,
        beside=0.32,
        x="adversarial weight",
        y="quality (sd of judges)",
        legend=marks,
    )
    drawn = panels(page)
    for axis, loss in zip(drawn.axes, losses, strict=True):
        axis.axhline(0, color=theme.faint, linewidth=0.8, linestyle=":", zorder=0)
        axis.set_xscale("log")
        for place, name in enumerate(lines):
            own = table[(table["loss"] == loss) & (table["line"] == name)].sort_values("weight")
            aside = own["weight"] * 1.05 ** (place - (len(lines) - 1) / 2)  # intervals stand beside each other
            axis.vlines(
                aside, own["quality_low"], own["quality_high"], color=marks[name].color, linewidth=1.1, alpha=0.6
            )
            axis.plot(aside, own["quality"], **marks[name].line(marker=marks[name].marker, markersize=4, linewidth=1.4))
        weights = sorted(table["weight"].unique())
        axis.set_xticks(_apart(weights))
        axis.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axis.xaxis.set_minor_formatter(NullFormatter())
        axis.minorticks_off()
    return drawn.figure


def _apart(weights: list[float]) -> list[float]:
    """The weights that leave room for their numbers on a logarithmic axis."""
    return weights if len(weights) <= 7 else weights[:: -(-len(weights) // 7)]
