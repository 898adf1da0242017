"""A finished sweep that tests look at, and copy where they change something."""

import pytest

from tests.integration.sweeping import ROOT, Folder


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Folder:
    """A sweep that nobody disturbed."""
    folder = Folder(tmp_path_factory.mktemp("undisturbed"), (ROOT / "tests/micro.yaml").read_text())
    code, output = folder.run()
    assert code == 0, output
    return folder
