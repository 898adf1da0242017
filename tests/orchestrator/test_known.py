"""Names read from sources are those that the packages, and our own workers, themselves list."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from orchestrator import known

LISTED = """
import importlib.util, json, runpy, warnings
warnings.simplefilter("ignore")
import open_clip, timm
from workers.judging import OWN, VERSIONS
from workers.models.discriminators import HEADS
judges = runpy.run_path(importlib.util.find_spec("pyiqa").submodule_search_locations[0] + "/default_model_configs.py")
print(json.dumps([sorted(timm.list_models()), sorted(open_clip.list_models()), sorted(judges["DEFAULT_CONFIGS"]),
                  VERSIONS, list(OWN), list(HEADS)]))
"""


@pytest.fixture
def _nothing_remembered() -> None:
    for names in (known.judges, known.timm_models, known.open_clip_models):
        names.cache_clear()


def test_names_are_those_of_the_packages() -> None:
    ended = subprocess.run([sys.executable, "-c", LISTED], capture_output=True, text=True, check=True)
    timm, open_clip, judges, versions, own, heads = json.loads(ended.stdout.splitlines()[-1])
    assert sorted(set(known.timm_models())) == timm
    assert sorted(known.open_clip_models()) == open_clip
    assert sorted(known.judges()) == sorted([*known.own_judges(), *judges])
    assert not {*known.own_judges()} & {*judges}
    assert known.own_judges() == versions
    assert list(versions) == own
    assert list(known.heads()) == heads


def test_names_of_the_study_are_among_them() -> None:
    assert {"vgg16", "resnet50", "vit_small_patch14_dinov2", "test_resnet"} <= set(known.timm_models())
    assert {"ViT-B-16-quickgelu", "RN50-quickgelu"} <= set(known.open_clip_models())
    assert {"musiq", "maniqa", "topiq_nr", "clipiqa+", "liqe", "afine_all", "piqe"} <= set(known.judges())


@pytest.mark.usefixtures("_nothing_remembered")
def test_a_package_that_is_missing_is_told_with_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(known.NotInstalled, match="timm is not installed; run: make setup"):
        known.timm_models()


@pytest.mark.usefixtures("_nothing_remembered")
def test_a_pyiqa_without_its_table_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "default_model_configs.py").write_text("OTHER = {}\n")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: SimpleNamespace(origin=str(tmp_path / "__init__.py")))
    with pytest.raises(known.NotInstalled, match="pyiqa has no table DEFAULT_CONFIGS"):
        known.judges()
