"""What a worker does before and after a trial; the trials themselves are in tests/workers."""

import re

import pytest

from orchestrator.runner import run_trial
from orchestrator.store import Store


def test_a_node_that_does_not_see_the_store_says_so(tmp_path):
    config = {"store": str(tmp_path / "store"), "cache": "", "kind": "pretext", "key": "0" * 16, "stop": "sweep"}
    told = f"does not see runtime.storage, {tmp_path / 'store'}: allowed is a folder on storage that every node has"
    with pytest.raises(OSError, match=re.escape(told)):
        run_trial(config)
    assert not Store(tmp_path / "store").index()
    assert not (tmp_path / "store").exists()
