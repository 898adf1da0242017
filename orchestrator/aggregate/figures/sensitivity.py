"""Spearman's rho under every view of the scores, a panel a discriminator."""

from matplotlib.figure import Figure

from orchestrator.aggregate.figures.labels import POINTS, widest
from orchestrator.aggregate.figures.material import Material
from orchestrator.aggregate.figures.panels import Page, panels
from orchestrator.aggregate.figures.stability import draw_rows
from orchestrator.aggregate.figures.theme import SMALL, Theme

TITLE = "Sensitivity of the agreement"
CAPTION = (
    "Spearman's ρ between IQA score and optimization score under each view of the scores, with its 95 % interval "
    "(these losses). Filled, and the dotted line: all judges, the view of the asymmetry table."
)
ROW = 0.155
"""Inches from one view to the next."""


def draw(material: Material, theme: Theme) -> Figure | None:
    """None where no view has a rank correlation."""
    table = material.table("sensitivity")
    if table.empty or table["spearman"].isna().all():
        return None
    views, names = (list(dict.fromkeys(table[column])) for column in ("view", "discriminator"))
    page = Page(
        names=names,
        least=1.2,
        widest=2.2,
        high=ROW * len(views),
        beside=widest(views, SMALL) / POINTS + 0.08,
        x="Spearman's ρ (1: the better metric is the better loss)",
    )
    drawn = panels(page)
    for axis, name in zip(drawn.axes, names, strict=True):
        own = table[table["discriminator"] == name].set_index("view").reindex(views)
        draw_rows(axis, views, theme)
        axis.axvline(0, color=theme.line, linewidth=0.8, zorder=1)
        axis.axvline(own["spearman"].iloc[0], color=theme.losses[0], linewidth=0.9, linestyle=":", zorder=1)
        axis.hlines(range(len(views)), own["spearman_low"], own["spearman_high"], color=theme.losses[0], linewidth=1.3,
                    alpha=0.6, zorder=2)  # fmt: skip
        for y, rho in enumerate(own["spearman"]):
            axis.plot(rho, y, "o", color=theme.losses[0], markerfacecolor=theme.losses[0] if y == 0 else theme.paper,
                      markersize=4, zorder=3)  # fmt: skip
        axis.set(xlim=(-1.05, 1.05), xticks=[-1, 0, 1])
    return drawn.figure
