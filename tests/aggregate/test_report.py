import base64
import json
import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from orchestrator.aggregate import flipping
from orchestrator.aggregate.crops import BESIDE
from orchestrator.aggregate.provenance import MLFLOW
from orchestrator.aggregate.writing import Table
from tests.aggregate import page_material
from tests.aggregate.page_material import HOSTILE, Page

LOADS = ("src", "srcset", "data", "action", "poster", "background")


@pytest.fixture(scope="module")
def evidence(filled):
    return page_material.evidence(filled[0])


@pytest.fixture(scope="module")
def text(evidence, tmp_path_factory):
    return page_material.write(evidence, tmp_path_factory.mktemp("page"))


@pytest.fixture(scope="module")
def page(text):
    return Page(text)


# ------------------------------------------------------------------------------------------------ sound as HTML


def test_ids_are_unique_and_links_within_the_page_lead_somewhere(page):
    ids = [found["id"] for _, found, _ in page.elements if "id" in found]
    assert len(ids) == len(set(ids))
    targets = {found["href"][1:] for found, _ in page.all("a") if found["href"].startswith("#")}
    assert {"claims", "claim-F1", "claim-F5.c", "asymmetry", "methods", "provenance"} <= targets
    assert targets <= set(ids)
    labelled = {found["for"] for found, _ in page.all("label") if "for" in found}
    assert labelled <= set(ids)


def test_the_page_loads_nothing(page):
    for tag, found, _ in page.elements:
        assert tag not in ("link", "iframe", "object", "embed"), tag
        for name in LOADS:
            assert found.get(name, "data:").startswith("data:"), (tag, name)
    style = next(text for _, text in page.all("style"))
    assert "url(" not in style
    assert "@import" not in style
    links = {found["href"] for found, _ in page.all("a")}
    assert not {link for link in links if re.match(r"\w+:", link)}


def test_pictures_have_words_and_regions_names(page):
    assert page.all("img")
    for found, _ in page.all("img"):
        assert found["alt"] or "src" not in found  # the one that the script fills
    for found, _ in [*page.all("div", role="region"), *page.all("svg")]:
        assert found["aria-label"]
    assert all(found["scope"] in ("col", "row") for found, _ in page.all("th"))


def test_each_chart_has_a_light_and_a_dark_picture(page):
    for name, colour in (("light", "white"), ("dark", "black")):
        uri = f"data:image/svg+xml;base64,{base64.b64encode(page_material.SVG.format(colour).encode()).decode()}"
        tag, where = ("img", {"src": uri}) if name == "light" else ("source", {"srcset": uri})
        assert len(page.all(tag, **where)) == 2, name
    assert {found["media"] for found, _ in page.all("source")} == {"(prefers-color-scheme: dark)"}


def test_names_do_not_run(evidence, tmp_path):
    trials = evidence.trials.assign(name=HOSTILE, device=HOSTILE, git_commit=HOSTILE)
    kin = pd.DataFrame({"judge": [HOSTILE], "loss": HOSTILE, "why": HOSTILE})
    faults = pd.DataFrame({"kind": [HOSTILE], "key": HOSTILE, "what": HOSTILE})
    names = {"name": HOSTILE, "label_kind": HOSTILE, "losses": (HOSTILE,), "discriminators": (HOSTILE,)}
    hostile = replace(evidence, trials=trials, circular=kin, faults=faults, **names)
    frame = pd.DataFrame({HOSTILE: [HOSTILE], "keys": [HOSTILE]})
    built = [
        Table("claims", HOSTILE, HOSTILE, page_material.claims(HOSTILE), HOSTILE),
        Table("counts", HOSTILE, HOSTILE, frame),
    ]
    text = page_material.write(hostile, tmp_path, built)
    page = Page(text)
    assert not [found for _, found, _ in page.elements if "onerror" in found or found.get("src") == "x"]
    assert len(page.all("script")) == 2
    trials = json.loads(page.all("script", id="trial-data")[0][1])
    assert trials["trials"][0][1] == HOSTILE
    assert "</script><img" not in text


# ---------------------------------------------------------------------------------------------- what it says


def test_the_answer_stands_first_behind_the_caution(text, page):
    answers = [words for found, words in page.all("ol", **{"class": "answers"})]
    assert text.index("Demonstration, not evidence") < text.index('class="answers"') < text.index('id="claims"')
    assert "severity labels, not human opinion" in text
    assert "Undetermined: 3 losses do not tell agreement from asymmetry (F1: 1 − ρ = +0.50" in answers[0]
    assert "about 24 losses would be needed" in answers[0]
    assert "“Released beats gan” is supported (F4-a, +0.500 SRCC)" in answers[0]


def test_verdicts_are_words(page):
    chips = [words for found, words in page.all("span") if found.get("class", "").startswith("chip")]
    assert set(chips) == {"? undetermined", "✓ supported", "✗ contradicted"}
    assert "effect1 − ρ = +0.50, 95 % +0.25 to +0.75" in page.within("claim-F1")


def test_sections_stand_in_the_order_of_the_argument(page):
    assert [found["id"] for found, _ in page.all("section")] == [
        "claims", "asymmetry", "ranks", "stability", "crops", "outcomes", "more", "methods", "provenance"
    ]  # fmt: skip
    listed = [found["href"][1:] for found, _ in page.all("a") if found["href"][1:] in ("claims", "ranks", "methods")]
    assert listed == ["claims", "ranks", "methods"]


def test_tables_without_circular_judges_stand_beside_unless_they_are_the_same(page):
    ids = {found["id"] for found, _ in page.all("table") if "id" in found}
    assert {"table-asymmetry", "table-asymmetry-independent", "table-ranks"} <= ids
    assert "table-ranks-independent" not in ids
    assert "Without circular judges: the same." in page.within("block-ranks")
    assert tuple(words for found, words in page.all("label") if found.get("for", "").endswith("asymmetry")) == (
        "all judges",
        "without circular judges",
    )


def test_every_row_with_keys_leads_to_its_trials(page, evidence):
    trials = json.loads(page.all("script", id="trial-data")[0][1])
    links = [found for found, _ in page.all("a") if "data-trials" in found]
    assert len(links) == 2 * 2 + 6 + 6 + 3 + 3  # both asymmetry tables, ranks, stability, claims and their cards
    for link in links:
        first = int(re.match(r"\d+", link["data-trials"])[0])
        assert trials["trials"][first][0] in link["title"]
    assert len(trials["trials"]) == len(evidence.trials)
    assert trials["mlflow"] == MLFLOW
    key, _, kind, _, seconds, _, commit, root, _ = trials["trials"][first]
    assert trials["commits"][commit] == "0123456789abcdef"
    assert seconds == 2.5
    assert trials["roots"][root].endswith("store")
    assert evidence.trials.loc[key, "record"].endswith(f"store/{trials['kinds'][kind]}/{key}/record.json")


def test_fewer_seeds_than_planned_are_marked(page):
    assert {words for found, words in page.all("td") if "few" in found.get("class", "")} >= {"1 of 2"}


def test_faults_and_methods_are_told(page):
    assert "store/judging/0123: scores.parquet cannot be read" in page.within("outcomes")
    methods = page.within("methods")
    assert "piqe and vgg: architecture: kin" in methods
    assert "0123456789abcdef on some processor" in methods
    assert "numpy " + np.__version__ in methods


def test_crops_are_there_once_at_their_size(page, evidence):
    crops = [found for found, _ in page.all("img", **{"class": "crop"}) if "src" in found]
    names = {(found["data-image"], found["data-row"], found["data-column"]) for found in crops}
    assert len(names) == len(crops)
    assert ("chelsea", BESIDE, "HR") in names
    assert ("chelsea", "patch-vgg-pretext", "vgg") in names
    assert {(found["width"], found["height"]) for found in crops} == {("64", "64")}
    assert "Shown: 2 of 3 test images, one window of each, and of 2 seeds the first one." in page.within("crops")


def test_no_image_means_no_crops(evidence):
    assert flipping.flips(evidence.restorations.iloc[:0]) is None


def test_tables_of_a_later_version_are_shown_too(page):
    assert "A table of a later version" in page.within("more")


def test_what_is_cut_leads_to_the_file(evidence, tmp_path):
    long = Table("counts", "Outcomes", "", pd.DataFrame({"loss": ["a"] * 1_200}))
    page = Page(page_material.write(evidence, tmp_path, [long]))
    assert "The first 1,000 of 1,200 rows" in page.within("outcomes")
    assert page.all("a", href="tables/counts.csv")


def test_twins_stand_apart(evidence, tmp_path):
    twins = replace(evidence, losses=("vgg", "vit"), twins=("vgg-r",))
    own = [Table(f"asymmetry{end}", "A", "", pd.DataFrame({"discriminator": ["none"]})) for end in ("", "-twins")]
    page = Page(page_material.write(twins, tmp_path, own))
    ids = [found["id"] for found, _ in page.all("section")]
    assert ids.index("asymmetry") < ids.index("outcomes") < ids.index("asymmetry-twins") < ids.index("methods")
    assert page.within("twins") == "Random twins, apart"


def test_without_any_table_the_page_says_what_is_missing(evidence, tmp_path):
    page = Page(page_material.write(evidence, tmp_path, []))
    assert [words.split(":")[0] for _, words in page.all("strong") if words.endswith(":")] == ["Not asked"] * 3


def test_the_same_input_gives_the_same_bytes(evidence, text, tmp_path):
    path = tmp_path / "a" / "b"
    path.mkdir(parents=True)
    assert page_material.write(evidence, tmp_path).replace("..", "") == text.replace("..", "")
