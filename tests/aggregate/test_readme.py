import re
from pathlib import Path

import numpy as np
import pytest

from orchestrator import grid as grids
from orchestrator.aggregate import scores, tables
from orchestrator.aggregate.writing import write

README = Path(__file__).parents[2] / "README.md"


@pytest.fixture(scope="module")
def snippet():
    """The Python of the section 'From the tables to the number'."""
    section = README.read_text().split("## From the tables to the number")[1].split("\n## ")[0]
    (code,) = re.findall(r"```python\n(.*?)```", section, re.DOTALL)
    return code


def test_the_snippet_is_short_and_needs_pandas_alone(snippet):
    assert len(snippet.splitlines()) <= 15
    assert re.findall(r"^(?:import|from) (\S+)", snippet, re.MULTILINE) == ["pandas"]


def test_the_snippet_computes_the_asymmetry_table_again(snippet, filled, tmp_path, monkeypatch):
    evidence = scores.read(grids.load(filled[0]))
    built = tables.build(evidence)
    write(built, tmp_path / "results/demo/tables", evidence.label_kind)
    monkeypatch.chdir(tmp_path)
    found = {}
    exec(snippet, found)
    ours = next(table.frame for table in built if table.name == "asymmetry").set_index("discriminator")
    assert found["table"].index.tolist() == ours.index.tolist()
    assert np.isfinite(ours["spearman"]).all()
    assert found["table"]["spearman"].tolist() == pytest.approx(ours["spearman"].tolist())
    assert found["table"].loc["patch-vgg-pretext", "change_against_none"] == pytest.approx(
        ours.loc["patch-vgg-pretext", "change_against_none"]
    )
