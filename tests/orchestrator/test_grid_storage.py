"""Where the store is, a folder or an object store: what a grid may say, and that no trial's key depends on it."""

import pytest

from orchestrator.grid import load
from orchestrator.identity import key
from tests.orchestrator.conftest import Edit, Expand, Refused

SCHEMES = "s3://, gs://, gcs://, abfs://, abfss://"


@pytest.mark.parametrize(
    ("storage", "said"),
    [
        ("s4a://b/p", f"found 's4a://b/p'; allowed: a folder, or an address with {SCHEMES}"),
        ("abf://b/p", f"found 'abf://b/p'; allowed: a folder, or an address with {SCHEMES}; did you mean 'abfs'?"),
        ("https://b.s3.org/p", f"found 'https://b.s3.org/p'; allowed: a folder, or an address with {SCHEMES}"),
        ("file:///tmp/p", f"found 'file:///tmp/p'; allowed: a folder, or an address with {SCHEMES}"),
        ("s3:///p", "found 's3:///p' without a bucket; allowed: s3://bucket/prefix"),
        ("gs://?x=1", "found 'gs://?x=1' without a bucket; allowed: gs://bucket/prefix"),
        (
            "s3://id:secret@b/p",
            "found credentials in it; allowed: s3://bucket/prefix; variables, a profile or a role give them",
        ),
    ],
)
def test_a_storage_that_no_store_can_be_in_is_refused_in_one_line(storage: str, said: str, refused: Refused) -> None:
    change = ("runtime: {", f"runtime: {{storage: '{storage}', ")
    refused(change, [("runtime: {", f"runtime.storage: {said}")])


@pytest.mark.parametrize(
    "storage",
    ["some/folder", "/a@b/c", "s3://b/p?endpoint_override=h:1&scheme=http", "abfs://c@a.dfs.core.windows.net/p"],
)
def test_no_key_depends_on_where_the_store_is(storage: str, edited: Edit, expand: Expand) -> None:
    here = [key(label.spec) for label in expand(edited()).labels]
    file = edited("runtime: {", f"runtime: {{storage: '{storage}', ")
    assert load(file).runtime.storage == storage
    assert [key(label.spec) for label in expand(file).labels] == here
