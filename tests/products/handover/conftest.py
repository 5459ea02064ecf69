"""One pack of everything, for tests that only look at it."""

import pytest

from damage_ssl.products.handover.pack_files import Pack
from tests.products.handover.made_pack import write


@pytest.fixture(scope="session")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Pack:
    return write(tmp_path_factory.mktemp("packs") / "run-7" / "map-1")
