"""Readable names: the grid's words, one for each trial."""

from orchestrator import naming, plan
from orchestrator.matrix import Label, Study


def names(study: Study) -> dict[str, str]:
    nodes = plan.build((label.spec for label in study.labels), {}, lambda _: 1.0).nodes
    return naming.names(study.labels, (node.spec for node in nodes.values()))


def test_every_trial_of_the_demo_has_a_name_of_its_own(demo: Study) -> None:
    found = names(demo)
    assert len(found) == len(set(found.values()))
    unnamed = {name for name in found if name in found[name]}
    assert not unnamed, "a key is no name"


def test_names_are_the_grids_words(demo: Study) -> None:
    found = set(names(demo).values())
    assert found >= {
        "pretext small/vgg",
        "metric vgg-r, seed 1",
        "optimize warm-up",
        "optimize vit, seed 0",
        "optimize pixel under patch-vgg-random, seed 1",
        "restore natural by bicubic",
        "judge vsi: restore texture by optimize vit under patch-vgg-pretext, seed 1",
        "IQA model nr vit from random, seed 0",
        "IQA model fr vgg from gan (swin under vanilla-vgg-pretext), seed 1",
        "benchmark ladder: metric resnet, seed 0",
    }


def test_levels_of_a_label(demo: Study) -> None:
    spec = demo.labels[0].spec
    assert naming.levels(Label(role="metric", spec=spec, loss="vit", seed=0)) == "vit, seed 0"
    assert naming.levels(Label(role="optimization", spec=spec, loss="vit", discriminator="none")) == "vit"
