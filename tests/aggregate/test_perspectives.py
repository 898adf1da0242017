import numpy as np
import pandas as pd

from orchestrator.aggregate.panel import ImageSet, Panel
from orchestrator.aggregate.perspectives import all_views, independent, seen
from orchestrator.aggregate.ranking import ALL, View
from tests.aggregate.conftest import cell, evidence_of

CIRCULAR = pd.DataFrame([("kin", "a", "VGG-16 both")], columns=["judge", "loss", "why"])


def small(**frames):
    """Two judges on two test sets, two benchmarks of the metric and of an IQA model, and a training."""
    cells = [
        cell("judging", f"{judge}-{name}", loss="a", judge=judge, family=judge, data_set=name, discriminator="none")
        for judge in ("kin", "stranger")
        for name in ("natural", "texture")
    ]
    cells += [cell("metric_benchmark", f"metric-{name}", loss="a", data_set=name) for name in ("live", "csiq")]
    cells += [cell("iqa_benchmark", f"iqa-{name}", task="fr", data_set=name) for name in ("live", "csiq")]
    return evidence_of([*cells, cell("optimization", "training", loss="a")], {}, ["a"], **frames)


def panels(sets=("natural", "texture"), families=("kin", "stranger"), benchmarks=("live", "csiq"), diverged=False):
    iqa = Panel(("a", "b"), (0,), tuple(ImageSet(name, np.zeros((1, 1, 1, 2, 1)), np.zeros(1)) for name in benchmarks))
    shape = (1, len(families), 1, 2, 1)
    tests = tuple(ImageSet(name, np.zeros(shape), np.zeros(1)) for name in sets)
    judges, lost = tuple(f"judge{i}" for i in range(len(families))), np.full((1, 1, 2), diverged)
    return iqa, Panel(("a", "b"), (0,), tests, ("none",), judges, tuple(families), lost)


def gone(view):
    """Keys of the trials that are not in the view."""
    evidence = small()
    return set(evidence.cells["key"]) - set(seen(evidence, view).cells["key"])


def test_nothing_is_gone_from_the_plain_view():
    assert gone(ALL) == set()


def test_a_judge_is_left_out_for_the_whole_comparison_and_nothing_else_is():
    assert gone(View("v", without_judges=frozenset(["kin"]))) == {"kin-natural", "kin-texture"}


def test_a_test_set_is_left_out_of_the_judgings():
    assert gone(View("v", without_sets=frozenset(["texture"]))) == {"kin-texture", "stranger-texture"}


def test_a_benchmark_is_left_out_of_metrics_and_of_iqa_models():
    assert gone(View("v", without_benchmarks=frozenset(["csiq"]))) == {"metric-csiq", "iqa-csiq"}


def test_a_benchmark_is_no_test_set_of_the_same_name():
    assert gone(View("v", without_sets=frozenset(["live"]))) == set()
    assert gone(View("v", without_benchmarks=frozenset(["natural"]))) == set()


def test_the_evidence_itself_is_left_as_it_was():
    evidence = small()
    seen(evidence, View("v", without_judges=frozenset(["kin"])))
    assert len(evidence.cells) == 9


def test_the_independent_view_is_there_where_a_judge_shares_a_network():
    assert independent(small()) is None
    view = independent(small(circular=CIRCULAR))
    assert (view.name, view.without_judges) == ("without circular judges", {"kin"})


def test_every_view_of_a_study():
    views = all_views(small(circular=CIRCULAR), *panels(families=("nr", "nr", "fr"), diverged=True))
    assert [view.name for view in views] == [
        "all judges",
        "without circular judges",
        "without family nr",
        "without family fr",
        "without test set natural",
        "without test set texture",
        "without benchmark live",
        "without benchmark csiq",
        "z-scores",
        "diverged left out",
    ]
    by_name = {view.name: view for view in views}
    assert by_name["without family nr"].without_judges == {"judge0", "judge1"}
    assert by_name["without family fr"].without_judges == {"judge2"}
    assert by_name["without test set texture"].without_sets == {"texture"}
    assert by_name["without benchmark live"].without_benchmarks == {"live"}
    assert by_name["z-scores"].z_scores
    assert not by_name["diverged left out"].diverged_last
    assert all(view.diverged_last for view in views[:-1])


def test_no_view_leaves_nothing_to_compare():
    views = all_views(small(), *panels(sets=("natural",), families=("nr",), benchmarks=("live",)))
    assert [view.name for view in views] == ["all judges", "z-scores"]
