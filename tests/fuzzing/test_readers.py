"""Whatever people hand over, damaged: it is read, or refused with a sentence that names it; nothing else, and soon."""

from pathlib import Path

import pytest

pytest.importorskip("resource", reason="memory is measured by the resource module, which Windows lacks")

from tests.campaigns import campaign
from tests.fuzzing.attack import Fault, attack, slug, verdict
from tests.fuzzing.readers import READERS

# rasterio cannot log what GDAL says of a name that is no UTF-8, and says so on its own
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")

CORPUS = Path(__file__).parent / "corpus"
KEPT = [(name, path) for name in READERS for path in sorted((CORPUS / slug(name)).glob("*"))]


@pytest.mark.parametrize(("name", "kept"), KEPT, ids=[f"{slug(name)}-{path.name}" for name, path in KEPT])
def test_input_that_was_once_taken_wrongly_is_read_or_refused(name: str, kept: Path, tmp_path: Path) -> None:
    path = READERS[name].write(tmp_path)
    path.write_bytes(kept.read_bytes())
    assert not isinstance(found := verdict(READERS[name], path), Fault), found


def test_every_kept_input_belongs_to_a_reader() -> None:
    assert {path.name for path in CORPUS.iterdir() if path.is_dir()} <= {slug(name) for name in READERS}


@campaign(24, 2400, minutes=30)  # times 43 readers: a thousand, and 100,000
@pytest.mark.parametrize("name", READERS)
def test_damaged_file_is_read_or_refused(name: str, rounds: int, tmp_path: Path) -> None:
    told = [found for _, found in attack(READERS[name], rounds, rounds, tmp_path)]
    assert len(told) == rounds
    assert [found for found in told if isinstance(found, Fault)] == []
