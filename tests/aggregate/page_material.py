"""A whole page of the filled store, with claims of every verdict and names that try to run, and how to read a page."""

from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pandas as pd

from orchestrator.aggregate import report, scores
from orchestrator.aggregate.figures import Chart, Drawn
from orchestrator.aggregate.scores import Evidence
from orchestrator.aggregate.writing import Table
from orchestrator.grid import load

HOSTILE = "</script><img src=x onerror=\"window.hacked='yes'\">&\"'"
SVG = '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 4 3"><rect width="4" height="3" fill="{}"/></svg>'
VOID = {"meta", "img", "input", "source", "rect", "line", "br"}


class Page(HTMLParser):
    """Elements of a page: (tag, attributes, texts of it and of what it holds), in order."""

    def __init__(self, text):
        super().__init__()
        self.elements, self.open = [], []
        self.feed(text)
        assert self.open == [], "elements that were not closed"

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs), []))
        if tag not in VOID:
            self.open.append(self.elements[-1])

    def handle_endtag(self, tag):
        if tag not in VOID:
            assert self.open.pop()[0] == tag

    def handle_data(self, data):
        for _, _, texts in self.open:
            texts.append(data)

    def all(self, tag, **attributes):
        """(attributes, text) of the elements of a tag with these attributes."""
        return [
            (found, " ".join("".join(texts).split()))
            for name, found, texts in self.elements
            if name == tag and all(found.get(key.replace("_", "-")) == value for key, value in attributes.items())
        ]

    def within(self, id):
        """The text of the element with this id."""
        return next(" ".join("".join(texts).split()) for _, found, texts in self.elements if found.get("id") == id)


def evidence(grid) -> Evidence:
    """What the filled store holds, its trials with runs in MLflow."""
    found = scores.read(load(grid))
    kinds = found.trials["kind"]
    runs = [f"#/experiments/1/runs/{i}" if kind == "super_resolution" else "" for i, kind in enumerate(kinds)]
    faults = pd.DataFrame([("judging", "0123", "store/judging/0123: scores.parquet cannot be read")])
    kin = pd.DataFrame([("piqe", "vgg", "architecture: kin")], columns=["judge", "loss", "why"])
    named = faults.set_axis(["kind", "key", "what"], axis=1)
    return replace(found, trials=found.trials.assign(mlflow=runs), faults=named, circular=kin)


def tables(found: Evidence) -> list[Table]:
    """Small tables of the contract's columns, each row resting on three judgings of its discriminator."""
    judged = found.cells[(found.cells["role"] == "judging") & (found.cells["status"] == "done")]
    behind = {name: " ".join(judged.loc[judged["discriminator"] == name, "key"][:3]) for name in found.discriminators}
    counts = {"seeds": 1, "seeds_planned": 2, "trials": 3, "trials_planned": 3}
    rho = [0.5, -0.25, 0.125][: len(behind)]
    asymmetry = pd.DataFrame({"discriminator": list(behind), "losses": 3, "spearman": rho[: len(behind)]})
    asymmetry = asymmetry.assign(spearman_low=-0.9, spearman_high=0.9, power_70=0.0, **counts, keys=behind.values())
    pairs = [(loss, name) for loss in found.losses for name in behind]
    ranks = pd.DataFrame(pairs, columns=["loss", "discriminator"])
    for i, name in enumerate(("iqa_rank", "optimization_rank", "shift")):
        ranks[name], ranks[f"{name}_low"], ranks[f"{name}_high"] = 1.0 + i, 1.0, 3.0
    ranks = ranks.assign(diverged=0, **counts, keys=[behind[name] for name in ranks["discriminator"]])
    stability = ranks[["loss", "discriminator"]].assign(
        baseline=False, validation_psnr=np.arange(len(ranks)) % 3 + 20.5, validation_psnr_sd=0.1,
        validation_psnr_spread=0.2, diverged=0, **counts, keys=ranks["keys"]
    )  # fmt: skip
    return [
        Table("asymmetry", "Asymmetry", "A note.", asymmetry, "A method."),
        Table("asymmetry-independent", "Asymmetry", "A note.", asymmetry.assign(spearman=0.75)),
        Table("ranks", "Ranks of the losses", "", ranks),
        Table("ranks-independent", "Ranks of the losses", "", ranks),
        Table("stability", "Stability", "", stability),
        Table("claims", "Claims", "", claims(behind[found.discriminators[0]])),
        Table("unheard-of", "A table of a later version", "", pd.DataFrame({"a": [1]})),
        Table("missing", "Missing trials", "", pd.DataFrame({"kind": [], "keys": []})),
    ]


def claims(keys: str) -> pd.DataFrame:
    """One claim of each verdict, and one whose words try to run."""
    rows = [
        ("F1", "agreement", "", "Losses rank differently.", "undetermined", 24),
        ("F4-a", "difference", "srcc", "Released beats gan.", "supported", None),
        ("F5.c", "difference", "quality", HOSTILE, "contradicted", None),
    ]
    frame = pd.DataFrame(rows, columns=["claim", "contrast", "measure", "says", "verdict", "needed"])
    numbers = {"effect": 0.5, "effect_low": 0.25, "effect_high": 0.75, "matters": 0.125, "units": 3, "unit": "loss"}
    frame = frame.assign(**numbers, direction="higher", of="", over="", p_holm=0.01, note="", keys=keys)
    return frame.astype({"needed": "Int64"})


def charts(folder) -> dict[str, Chart]:
    """Two charts, white on a light page and black on a dark one."""
    files = {name: folder / f"{name}.svg" for name in ("light", "dark")}
    for file, colour in zip(files.values(), ("white", "black"), strict=True):
        file.write_text(SVG.format(colour))
    chart = Chart("Ranks", f"Rank against rank. {HOSTILE}", files["light"], files["dark"], folder / "light.png")
    return {"ranks": chart, "unheard-of": chart}


def write(found: Evidence, out, built=None) -> str:
    """The page of `found` and, unless `built` are given, of its small tables, written to `out`; returns its text."""
    drawn = {suffix: Drawn(charts(out), {}) for suffix, _ in found.groups()}
    return report.write(found, tables(found) if built is None else built, drawn, out / "report.html").read_text()
