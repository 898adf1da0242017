"""Studies of other shapes than the small grid's: twins, optimization alone, one loss, official data, rehearsals."""

import io
import re
from dataclasses import replace

import pandas as pd
import pytest
from rich.console import Console

from orchestrator import grid as grids
from orchestrator import matrix
from orchestrator.aggregate import scored, scores, tables
from orchestrator.aggregate.__main__ import aggregate
from orchestrator.identity import key
from tests.aggregate.conftest import GRID, fill, small_grid, tree
from tests.aggregate.page_material import Page

TWINS = GRID.replace("vgg-r: {", "vit-r: {model: small/vit, weights: random}\n  vgg-r: {")
TWINS = TWINS.replace("loss: [vgg-r, vgg, vit]", "loss: [vgg, vit]\n  twins: [vgg-r, vit-r]")
WITHOUT_TWINS = TWINS.replace("  twins: [vgg-r, vit-r]\n", "")
CHART = re.compile('<div class="chart"')
WEIGHTS = "[0.003, 0.01, 0.03, 0.1, 0.3, 1.0]"
BACKBONES = """
name: official
seeds: [0, 1]
numerics: fast
backbones:
  vgg16: {model: timm/vgg16.tv_in1k, weights: released}
  resnet50: {model: timm/resnet50.tv2_in1k, weights: released}
  dinov2: {model: timm/vit_small_patch14_dinov2.lvd142m, weights: released}
"""
DATA = """
data:
  root: nowhere
  sets:
    kadid10k: {layout: kadid10k, folder: kadid10k}
    tid2013: {layout: tid2013, folder: tid2013}
    koniq10k: {layout: koniq10k, folder: koniq10k}
    div2k: {layout: images, folder: DIV2K}
    set5: {layout: images, folder: Set5}
    urban100: {layout: images, folder: Urban100}
iqa_sets:
  fr: {train: kadid10k, split: {seed: 0, train: 0.6, validation: 0.2}, crop: 224, benchmarks: [tid2013]}
  nr: {train: koniq10k, split: official, crop: 224, benchmarks: [koniq10k]}
fr_iqa: {iterations: 1, learning_rate: 0.05}
super_resolution:
  generator: swinir-light
  scale: 4
  train: div2k
  hold_out: 1
  warmup: {steps: 1, batch: 1, patch: 64, learning_rate: 0.002, decay: true, ema: 0.99, seed: 0}
  training: {steps: 1, batch: 1, patch: 64, learning_rate: 0.0001, decay: false, ema: 0.9}
  weights: {pixel: 0.01, fidelity: calibrated, adversarial: 0.1}
  reference_loss: vgg16
  discriminator_warmup: 1
  divergence: 6.0
  crop: 512
  tests: [set5, urban100]
judges: {score: {no-reference: [piqe], structural: [vsi, gmsd]}, beside: [psnr]}
"""
CLAIMS = """
claims:
  F1: {says: "Losses rank differently as metrics and as training losses.", contrast: agreement, matters: 0.2}
  F5: {says: "Convolutional discriminators give better images.",
       contrast: difference, measure: quality, direction: higher, matters: 0.1,
       of: {backbone: vgg16}, over: {backbone: dinov2}, pairs: [loss, start, seed]}
"""
KIN = DATA.replace("score: {", "score: {resnet: [topiq_nr], ")  # TOPIQ-NR looks through a ResNet-50
OFFICIAL = f"""{BACKBONES}
matrix:
  loss: [vgg16, resnet50, dinov2]
  discriminator:
    - none
    - {{head: patch, backbone: [vgg16, dinov2], start: [released, random]}}
  initialization: [random, released, gan]
  task: [fr, nr]
{KIN}
iqa_transfer:
  fr: &training {{steps: 1, batch: 2, learning_rate: 0.001, backbone_factor: 0.3, evaluate_every: 1}}
  nr: *training
{CLAIMS}"""
ALL_KIN = (
    OFFICIAL.replace("no-reference: [piqe], structural: [vsi, gmsd]", "clip: [liqe]")
    .replace(
        "resnet50: {model: timm/resnet50.tv2_in1k, weights: released}\n",
        "resnet50: {model: timm/resnet50.tv2_in1k, weights: released}\n"
        "  clip: {model: open_clip/ViT-B-16-quickgelu, weights: openai}\n",
    )
    .replace("loss: [vgg16, resnet50, dinov2]", "loss: [vgg16, resnet50, dinov2, clip]")
)
OPTIMIZATION_ALONE = f"""{BACKBONES}
matrix:
  loss: [vgg16]
  discriminator:
    - none
    - {{head: patch, backbone: [resnet50, dinov2], start: released, weight: {WEIGHTS}}}
baselines: [pixel]
{DATA}
"""


def read(path, label_kind=None):
    """The evidence of a grid file, with other labels than its own if said."""
    evidence = scores.read(grids.load(path))
    return replace(evidence, label_kind=label_kind) if label_kind else evidence


def built(path):
    claims = grids.load(path).claims
    return {table.name: table for table in tables.build(read(path), claims)}


def written(path, out):
    """(summary, what was printed, the page) of an aggregation."""
    console = Console(record=True, width=200, file=io.StringIO())
    summary = aggregate(path, out, console)
    return summary, console.export_text(), summary.report.read_text()


def facts(page):
    """(number, what of) of the row of facts below the answers of a page."""
    return [(number, what) for what, number in re.findall(r"<div><dt>(.*?)</dt><dd>(.*?)</dd></div>", page)]


def parts(page):
    """The HTML of each section of a page by its id."""
    return dict(re.findall(r'<section id="(.*?)">(.*?)</section>', page, re.DOTALL))


@pytest.fixture(scope="module", autouse=True)
def few_resamples():
    """Shapes do not depend on how many resamples there are."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scored, "RESAMPLES", 200)
        yield


@pytest.fixture(scope="module")
def twins(tmp_path_factory):
    """(path of a grid with random twins, path of the same grid without them), over one store with all trials."""
    folder = tmp_path_factory.mktemp("pairs")
    path, study, store = small_grid(folder, TWINS)
    fill(store, study)
    without = folder / "without.yaml"
    without.write_text(f"{WITHOUT_TWINS}runtime: {{storage: {folder / 'store'}}}\n")
    return path, without


@pytest.fixture(scope="module")
def official(tmp_path_factory):
    """A grid on official data sets with all trials done."""
    path, study, store = small_grid(tmp_path_factory.mktemp("official"), OFFICIAL)
    fill(store, study)
    return path


@pytest.fixture(scope="module")
def official_tables(official):
    return built(official)


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """A grid of optimization alone, with a single ranked loss under weights as a factor, with all trials done."""
    path, study, store = small_grid(tmp_path_factory.mktemp("alone"), OPTIMIZATION_ALONE)
    fill(store, study)
    return path


def test_twins_change_nothing_in_the_main_tables(twins):
    with_twins, without = (built(path) for path in twins)
    assert [name for name in with_twins if not name.endswith("-twins")] == list(without)
    for name in without:
        if name == "missing":
            continue
        assert with_twins[name].frame.equals(without[name].frame), name
        assert with_twins[name].title == without[name].title


def test_twins_have_the_main_tables_among_themselves(twins):
    found = built(twins[0])
    apart = {name: table for name, table in found.items() if name.endswith("-twins")}
    main = {name for name in found if name not in apart} - {"missing", "claims", "claims_by_view"}
    assert {f"{name}-twins" for name in main} == set(apart)
    for name, table in apart.items():
        assert table.title.endswith(": random twins, apart"), name
        if "loss" in table.frame:
            assert set(table.frame["loss"]) == {"vgg-r", "vit-r"}, name
    assert sorted(apart["ranks-twins"].frame.query("discriminator == 'none'")["iqa_rank"]) == [1.0, 2.0]
    trained = apart["iqa_transfer-twins"].frame
    assert set(trained["initialization"]) == {"random", "pretext", "gan"}
    main = found["iqa_transfer"].frame.merge(trained, on=tables.TRANSFER)
    shared = main["keys_x"] == main["keys_y"]
    assert shared.equals(main["initialization"] != "gan")


def test_missing_counts_twins_too(tmp_path):
    path, study, _ = small_grid(tmp_path, TWINS)
    found = built(path)["missing"].frame
    assert found["labels"].sum() == len(study.labels)
    assert {"vgg-r", "vit-r"} <= set(found["loss"])


def test_report_figures_and_terminal_show_twins_apart(twins, tmp_path):
    summary, printed, page = written(twins[0], tmp_path)
    files = set(tree(tmp_path))
    both = {
        f"figures/{name}{end}" for name in ("ranks", "strip-chelsea", "strip-brick") for end in (".png", "-twins.png")
    }
    assert both | {"figures/ranks-twins-dark.svg", "tables/asymmetry-twins.csv", "tables/ranks-twins.md"} <= files
    assert "Asymmetry (demonstration" in printed
    assert "Asymmetry: random twins, apart (demonstration" in printed
    assert [table.name for table in summary.asymmetry] == ["asymmetry", "asymmetry-twins"]
    read = Page(page)
    sections = [found["id"] for found, _ in read.all("section")]
    both = [name for name in sections if f"{name}-twins" in sections]
    assert both == [
        "asymmetry", "ranks", "sensitivity", "metrics", "optimization", "initialization", "stability", "learning",
        "crops", "outcomes",
    ]  # fmt: skip
    charts = {name: len(CHART.findall(part)) for name, part in parts(page).items()}
    assert charts["ranks"] == charts["ranks-twins"] == 2  # the scatter and the slopes
    assert charts["sensitivity"] == charts["sensitivity-twins"] == 1
    assert ("2", "random twins") in facts(page)
    assert "vgg-r, vit-r: ranked and correlated among themselves only." in page
    titles = {name: read.within(name) for name in sections}
    assert "Missing trials" in titles["outcomes"]  # twins are counted there too
    assert "Missing trials" not in titles["outcomes-twins"]
    assert sections.index("outcomes-twins") > sections.index("outcomes")


def test_a_page_without_twins_does_not_mention_them(twins, tmp_path):
    assert "twin" not in written(twins[1], tmp_path)[2]


def test_baselines_are_ranked_in_no_group_and_seen_beside_both(twins):
    (_, main), (suffix, apart) = read(twins[0]).groups()
    assert suffix == "-twins"
    assert apart.losses == ("vgg-r", "vit-r")
    assert not apart.cells["baseline"].any()
    assert {"bicubic", "warm-up", "pixel"} <= set(apart.restorations["loss"]) & set(main.restorations["loss"])
    assert not set(main.restorations["loss"]) & set(apart.losses)


def test_optimization_alone_has_no_tables_of_iqa_models(alone):
    found = built(alone)
    assert list(found) == [
        "asymmetry",
        "ranks",
        "optimization_score",
        "sensitivity",
        "reliability",
        "fr_iqa_by_loss",
        "optimization_by_judge",
        "adversarial_weight",
        "stability",
        "counts",
        "missing",
    ]
    assert len(found["counts"].frame) == 13 * 2 + 1  # vgg16 and pixel under each discriminator, and the warm-up
    assert found["missing"].frame.empty


def test_a_single_ranked_loss_has_a_note_and_no_numbers(alone, tmp_path):
    summary, printed, page = written(alone, tmp_path)
    note = "the grid ranks a single loss; at least 3 are needed for a rank correlation"
    frame = summary.asymmetry[0].frame
    assert frame["discriminator"].tolist()[:2] == ["none", "patch-resnet50-released-w0.003"]
    assert set(frame["note"]) == {note}
    assert printed.count(note) == 1
    assert f"every discriminator: {note}" in printed
    assert {("1", "loss"), ("13", "discriminators")} <= set(facts(page))
    assert "Losses: vgg16." in page
    pages = [printed, re.sub(r'src(set)?="[^"]*"', "", page)]
    pages += [file.read_text() for file in sorted((tmp_path / "tables").glob("*.md"))]
    assert not [words for words in pages if re.search(r"\bnan\b", words, re.IGNORECASE)]
    assert "figures/ranks.png" not in tree(tmp_path)
    assert "figures/strip-set5-img_001.png" in tree(tmp_path)  # both sets have an img_001


@pytest.mark.parametrize(
    ("changed", "into", "gone"),
    [
        ("seeds: [0, 1]", "seeds: [0]", "seeds"),
        ("score: {no-reference: [piqe], structural: [vsi, gmsd]}", "score: {no-reference: [piqe]}", "judges"),
    ],
    ids=["one seed", "one judge"],
)
def test_a_study_of_one_seed_or_one_judge_has_its_numbers_and_says_what_cannot_be_split(changed, into, gone, tmp_path):
    path, study, store = small_grid(tmp_path, GRID.replace(changed, into))
    fill(store, study, side=16)
    found = built(path)
    assert found["asymmetry"].frame["losses"].tolist() == [3, 3]
    assert found["asymmetry"].frame["spearman_p"].notna().all()
    views = found["sensitivity"].frame
    assert (views["losses"] == 3).all()
    main = views.query("view == 'all judges'")
    assert main["spearman"].tolist() == found["asymmetry"].frame["spearman"].tolist()
    assert views["view"].str.contains("family").any() == (gone == "seeds")  # of one family none can be left out
    reliability = found["reliability"].frame.set_index("over")
    if gone == "judges":
        assert "judges" not in reliability.index
    else:
        assert set(reliability.loc["seeds", "note"]) == {"a single one of seeds has no halves"}
        assert reliability.loc["seeds", "reliability"].isna().all()


def test_a_matrix_without_losses_is_refused_in_one_line(tmp_path):
    """So that no aggregation meets a study of nothing."""
    with pytest.raises(grids.GridError) as found:
        small_grid(tmp_path, GRID.replace("loss: [vgg-r, vgg, vit]", "loss: []"))
    assert str(found.value).endswith("tiny.yaml:10: matrix.loss: found no level; allowed: at least one")


def test_official_data_are_no_demonstration(official, tmp_path):
    _, printed, page = written(official, tmp_path)
    assert "Asymmetry (labels of human opinion)" in printed
    for words in (printed, page, *(file.read_text() for file in (tmp_path / "tables").glob("*.md"))):
        assert "labels of human opinion" in words
        assert "demonstration" not in words.lower()


def test_the_released_start_stands_in_the_tables(official_tables):
    found = official_tables
    gan = found["iqa_transfer"].frame.query("initialization == 'gan'")
    assert set(gan["start"]) == {"released", "random"}
    assert set(found["iqa_transfer"].frame["initialization"]) == {"random", "released", "gan"}
    assert found["asymmetry"].frame["losses"].tolist() == [3] * 5


def test_tables_without_circular_judges_stand_beside_the_others(official, official_tables):
    """Each table that judges enter exists twice; the one without them is that of a grid that never had them."""
    found = official_tables
    own = [name.removesuffix("-independent") for name in found if name.endswith("-independent")]
    assert own == ["asymmetry", "ranks", "claims", "optimization_score"]
    for name in own:
        assert found[f"{name}-independent"].title == f"{found[name].title}, without circular judges"
        assert (
            "share a network with a ranked loss (topiq_nr), for the whole comparison"
            in found[f"{name}-independent"].note
        )
    without = official.with_name("without.yaml")
    without.write_text(official.read_text().replace("resnet: [topiq_nr], ", ""))
    fewer = built(without)
    assert not [name for name in fewer if name.endswith("-independent")]
    for name in own:
        pd.testing.assert_frame_equal(found[f"{name}-independent"].frame, fewer[name].frame)
    assert set(found["claims"].frame["claim"]) == {"F1", "F5"}
    judged = read(official).cells.query("judge == 'topiq_nr'")["key"]
    for name, table in found.items():
        if name.endswith("-independent"):
            assert not set(judged) & set(" ".join(table.frame["keys"]).split()), name


def test_where_all_judges_are_circular_nothing_is_left_and_the_tables_say_so(tmp_path):
    path, study, store = small_grid(tmp_path, ALL_KIN)
    fill(store, study, side=16)
    found = built(path)
    assert found["asymmetry"].frame["losses"].tolist() == [4] * 5
    alone = found["asymmetry-independent"].frame
    assert alone["note"].tolist() == ["0 losses have both scores; at least 3 are needed for a rank correlation"] * 5
    assert found["optimization_score-independent"].frame["optimization_score"].isna().all()
    claims = found["claims-independent"].frame.set_index("claim")
    assert claims.loc["F1", ["verdict", "note"]].tolist() == ["undetermined", "fewer than 3 losses have both scores"]
    assert claims.loc["F5", ["verdict", "units"]].tolist() == ["undetermined", 0]
    assert claims.loc["F5", "note"].startswith("no pair has both sides")


@pytest.mark.parametrize(
    "text", [GRID, TWINS, OFFICIAL, OPTIMIZATION_ALONE], ids=["small", "twins", "official", "alone"]
)
def test_a_rehearsal_of_one_trial_of_each_shape_gives_every_output(text, tmp_path):
    """The first trial of each role, judge and set, as if of seed 0 alone; all else was never planned to run."""
    path, study, store = small_grid(tmp_path, text.replace("seeds: [0, 1]", "seeds: [0]"))
    seen = set()

    def status(label):
        shape = (label.role, label.judge, label.data_set, label.task, label.initialization)
        return None if shape in seen or seen.add(shape) else "done"

    fill(store, study, status)
    summary, printed, _ = written(path, tmp_path / "out")
    assert 0 < summary.done < summary.planned
    assert f"{summary.done} of {summary.planned} trials are there" in printed


@pytest.mark.parametrize("role", ["metric_benchmark", "judging", "iqa_benchmark", "optimization"])
@pytest.mark.parametrize("state", ["done", "diverged", "failed"])
def test_a_store_with_one_role_alone_gives_every_table(role, state, tiny):
    path, study, store = tiny
    fill(store, study, lambda label: state if label.role == role and label.seed != 1 else None)
    found = built(path)
    reached = {label.spec.KIND + key(label.spec) for label in study.labels if label.role == role and label.seed != 1}
    done = len(reached) if state == "done" else 0
    assert len(found["missing"].frame) == len({label.spec.KIND + key(label.spec) for label in study.labels}) - done


@pytest.mark.parametrize(
    ("label_kind", "warned"),
    [
        (matrix.OPINION, False),
        (matrix.SEVERITY, True),
        (f"{matrix.OPINION}, and {matrix.SEVERITY}", True),
        ("labels of generated stand-ins, not human opinion", True),
    ],
)
def test_only_human_opinion_goes_without_the_caution(label_kind, warned, tiny, tmp_path, monkeypatch):
    evidence = read(tiny[0], label_kind)
    monkeypatch.setattr(scores, "read", lambda grid: evidence)
    _, printed, page = written(tiny[0], tmp_path / "out")
    for words in (printed, page, (tmp_path / "out/tables/ranks.md").read_text()):
        assert label_kind in " ".join(words.split())
        assert ("demonstration, not evidence" in words.lower()) == warned
