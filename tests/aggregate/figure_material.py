"""Material for figures of any size, tables with the columns of the real ones and the evidence that figures read, and
what stands in a figure."""

import numpy as np
import pandas as pd
from matplotlib.text import Text

from orchestrator.aggregate import figures
from orchestrator.aggregate.figures.material import Material
from orchestrator.aggregate.figures.theme import LIGHT, applied
from tests.aggregate.conftest import cell, evidence_of, predicted

NAMES = """
vgg16-r vgg16 resnet50 convnext clip-vit swin-t vgg19 resnet18 resnext50 regnety densenet121 inception-v3 efficientnet
efficientnet-v2 mobilenet-v3 mobilevit hrnet convnext-v2 poolformer pvt-v2 maxvit deit3 dinov2 clip-resnet
"""
LOSSES = tuple(NAMES.split())
DISCRIMINATORS = (
    "none",
    *(f"{head}-{backbone}-released" for head in ("vanilla", "patch") for backbone in ("vgg16", "resnet50", "dinov2")),
    *(f"patch-{backbone}-random" for backbone in ("vgg16", "resnet50", "dinov2")),
)
SETS = ("set5", "urban100")
CLAIMS = (
    ("F1", "Rank as a metric and rank as a training loss do not agree, beyond what noise explains.", "higher"),
    ("F2", "A discriminator widens the asymmetry.", "lower"),
    ("F4-a", "As a start of IQA models, released weights beat a backbone that a discriminator trained.", "higher"),
    ("F4-b", "A backbone that a discriminator trained is hardly better than random weights, averaged over losses and "
     "heads within task, backbone, start and seed.", "negligible"),
    ("F7-artifacts-a-long-name", "Discriminators suppress artifacts.", "higher"),
)  # fmt: skip


def with_bounds(rows, column, values, half):
    """`rows` with a column, and bounds `half` below and above it."""
    return rows | {column: values, f"{column}_low": values - half, f"{column}_high": values + half}


def ranks(losses, discriminators, generator):
    """The ranks table: random permutations, intervals of one rank to each side within 1 to n."""
    frames, n = [], len(losses)
    for name in discriminators:
        iqa, own = np.arange(1.0, n + 1), generator.permutation(n) + 1.0
        rows = with_bounds({"loss": losses, "discriminator": name}, "iqa_rank", iqa, 1 + 0.15 * n * generator.random(n))
        rows = with_bounds(rows, "optimization_rank", own, 1 + 0.2 * n * generator.random(n))
        rows = with_bounds(rows, "shift", own - iqa, 2.0)
        frames.append(pd.DataFrame(rows).assign(diverged=0))
    table = pd.concat(frames, ignore_index=True)
    bounds = [c for c in table if c.endswith(("_low", "_high")) and "shift" not in c]
    table[bounds] = table[bounds].clip(1, n)
    return table


def asymmetry(losses, discriminators, generator):
    """The columns of the asymmetry table that figures read."""
    rows = [
        {"discriminator": name, "losses": len(losses), "spearman": rho, "spearman_low": rho - 0.5,
         "spearman_high": rho + 0.3, "spearman_p": (1 - rho) / 2, "perfect": 0.93}
        for name, rho in zip(discriminators, generator.uniform(-0.6, 0.7, len(discriminators)), strict=True)
    ]  # fmt: skip
    return pd.DataFrame(rows)


def claims():
    """Every verdict, an effect of each direction, intervals of very different width."""
    verdicts = ("supported", "undetermined", "contradicted", "supported", "undetermined")
    numbers = ((0.6, 0.3, 0.9), (-0.1, -0.5, 0.3), (-0.05, -0.07, -0.03), (0.002, -0.004, 0.008), (0.4, -2.2, 3.0))
    rows = [
        {"claim": name, "says": says, "direction": direction, "effect": effect, "effect_low": low, "effect_high": high,
         "matters": 0.2 if name in ("F1", "F2", "F7-artifacts-a-long-name") else 0.01, "p": 0.01, "p_holm": 0.04,
         "p_against_holm": 0.03, "verdict": verdict, "units": 30, "note": ""}
        for (name, says, direction), verdict, (effect, low, high) in zip(CLAIMS, verdicts, numbers, strict=True)
    ]  # fmt: skip
    return pd.DataFrame(rows)


def sensitivity(discriminators, generator):
    """Eleven views."""
    families = ("transformer", "resnet", "clip", "a-fine")
    views = ["all judges", "without circular judges", *(f"without family {name}" for name in families)]
    views += [*(f"without test set {name}" for name in SETS), "z-scores", "Bradley-Terry", "diverged left out"]
    rows = [
        with_bounds({"view": view, "discriminator": name}, "spearman", rho, 0.4)
        for name in discriminators
        for view, rho in zip(views, generator.uniform(-0.2, 0.5, len(views)), strict=True)
    ]
    return pd.DataFrame(rows)


def stability(losses, discriminators, generator):
    """One run in five or so diverged under the last discriminator."""
    rows = [
        {"loss": loss, "discriminator": name, "baseline": loss == "pixel", "validation_psnr": 24.0,
         "validation_psnr_sd": 0.03 * 3 ** generator.normal(), "validation_psnr_spread": 0.1 * 3 ** generator.normal(),
         "diverged": int(name == discriminators[-1] and generator.random() < 0.2), "seeds_planned": 5}
        for name in discriminators for loss in (*losses, "pixel")
    ]  # fmt: skip
    return pd.DataFrame(rows)


def judged(losses, discriminators, generator):
    """optimization_by_judge with the artifacts judge, and warm-up and bicubic."""
    rows = [("bicubic", "", 0.11), ("warm-up", "none", 0.05)]
    rows += [(loss, name, 0.06 + 0.03 * generator.random()) for name in discriminators for loss in (*losses, "pixel")]
    return pd.DataFrame(
        {"loss": loss, "discriminator": name, "data_set": data_set, "judge": judge, "family": "",
         "baseline": loss not in losses, "mean": mean, "mean_sd": 0.003 if name else np.nan}
        for loss, name, mean in rows for data_set in SETS for judge in ("psnr", "artifacts")
    )  # fmt: skip


def adversarial_weight(losses, backbones=("resnet50", "dinov2")):
    """Six weights; the later backbone falls the faster."""
    rows = [
        with_bounds({"head": "patch", "backbone": backbone, "start": "released", "weight": weight, "loss": loss},
                    "quality", -0.1 * i * j, 0.05 + 0.02 * j)
        for loss in losses for i, backbone in enumerate(backbones)
        for j, weight in enumerate((0.003, 0.01, 0.03, 0.1, 0.3, 1.0))
    ]  # fmt: skip
    return pd.DataFrame(rows)


def curves(losses, discriminators, seeds, generator):
    """Curves of 2,000 steps, with a discriminator 200 more before them."""
    frames = []
    for name in discriminators:
        for i, loss in enumerate((*losses, "pixel")):
            for seed in seeds:
                start = 0 if name == "none" else 200
                step = np.arange(start, start + 2001, 50)
                own = {"key": f"{loss}-{name}-{seed}", "loss": loss, "discriminator": name, "seed": seed}
                own |= {"baseline": loss == "pixel"}
                noise = 0.05 * generator.normal(size=len(step))
                psnr = 24 - (0.5 + 0.05 * i) * (1 - np.exp(-(step - start) / 500)) + noise
                terms = {"validation_psnr": psnr, "pixel": 0.05 + 0.001 * i + 0.0002 * noise}
                if loss != "pixel":
                    terms["fidelity"] = 0.3 * np.exp(-step / 4000) + 0.02 * i + 0.1 * noise**2
                if start:
                    before = np.arange(0, 200, 50)
                    frames.append(pd.DataFrame({**own, "name": "discriminator_loss", "step": before, "value": 1.3}))
                    terms |= {"adversarial": 0.7 + noise, "discriminator_loss": 1.2 + noise}
                for term, value in terms.items():
                    frames.append(pd.DataFrame({**own, "name": term, "step": step, "value": value}))
    return pd.concat(frames, ignore_index=True)


def transfer(seeds, generator, backbones=("vgg16", "resnet50", "dinov2"), tasks=("fr", "nr")):
    """(iqa_transfer, cells, scores) of models that are the better the less noise their predictions hold."""
    noise = {("random", ""): 1.2, ("released", ""): 0.4, ("gan", "released"): 0.6, ("gan", "random"): 1.1}
    label, cells, scores = np.linspace(0, 1, 60), [], {}
    for task in tasks:
        for backbone in backbones:
            for (initialization, start), spread in noise.items():
                for seed in seeds:
                    for data_set in ("live", "csiq"):
                        key = f"{task}-{backbone}-{initialization}-{start}-{seed}-{data_set}"
                        levels = {"task": task, "backbone": backbone, "initialization": initialization, "start": start}
                        cells.append(cell("iqa_benchmark", key, data_set=data_set, seed=seed, **levels))
                        scores[key] = predicted(label + spread * generator.normal(size=60) / 2, label)
    table = pd.DataFrame(cells)[["task", "backbone", "initialization", "start", "data_set"]].drop_duplicates()
    return table, cells, scores


def material(losses=6, discriminators=10, seeds=(0, 1, 2), suffix=""):
    """Everything, for the first so many losses and discriminators."""
    generator = np.random.default_rng(0)
    names, levels = LOSSES[:losses], DISCRIMINATORS[:discriminators]
    table, cells, scores = transfer(seeds, generator)
    tables = {
        "ranks": ranks(names, levels, generator),
        "asymmetry": asymmetry(names, levels, generator),
        "claims": claims(),
        "sensitivity": sensitivity(levels, generator),
        "stability": stability(names, levels, generator),
        "optimization_by_judge": judged(names, levels, generator),
        "adversarial_weight": adversarial_weight(names[:3]),
        "iqa_transfer": table,
        "counts": pd.DataFrame([{"loss": "warm-up", "discriminator": "none", "validation_psnr": 24.1}]),
    }
    lines = curves(names, levels, seeds, generator)
    evidence = evidence_of(cells, scores, names, levels, seeds, curves=lines)
    return Material({name + suffix: frame for name, frame in tables.items()}, evidence, suffix)


def chart(name, drawn_from, theme=LIGHT):
    """The figure of that name, laid out."""
    with applied(theme):
        figure = figures.CHARTS[name][2](drawn_from, theme)
        figure.draw_without_rendering()
    return figure


def texts(figure):
    """Every text that is seen: its words and its box in points."""
    renderer, scale = figure.canvas.get_renderer(), 72 / figure.dpi
    ticks = [
        (tick, axis) for axes in figure.axes for axis in (axes.xaxis, axes.yaxis) for tick in axis.get_major_ticks()
    ]
    beyond = {
        tick.label1
        for tick, axis in ticks
        if not min(axis.get_view_interval()) <= tick.get_loc() <= max(axis.get_view_interval())
    }
    shown = [
        text for text in figure.findobj(Text) if text.get_visible() and text.get_text().strip() and text not in beyond
    ]
    boxes = [(text.get_text(), np.array(text.get_window_extent(renderer).extents) * scale) for text in shown]
    return [(words, box) for words, box in boxes if np.ptp(box[::2]) > 0]


def shared(one, other):
    """The smaller side of what two boxes share; 0 or less where they share nothing."""
    return (np.minimum(one[2:], other[2:]) - np.maximum(one[:2], other[:2])).min()


def offsets(axis):
    """(x, y) of the points of an axis that are drawn with a marker and without a line."""
    lines = [
        line for line in axis.lines if line.get_marker() not in ("None", "none", "") and len(line.get_xdata()) == 1
    ]
    return [(float(line.get_xdata()[0]), float(line.get_ydata()[0])) for line in lines]
