import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from damage_ssl.errors import WorkspaceError
from damage_ssl.patches.pairs import PairSet, PairViews
from damage_ssl.patches.store import CHUNK_BUILDINGS, INDEX_COLUMNS, PatchStore, RowWriter, make_pairs, write_index
from damage_ssl.settings import PatchSettings

SIZE = 8


def pairs(count: int, first: int = 0) -> PairSet:
    rng = np.random.default_rng(first)

    def view(gsd_m: float) -> PairViews:
        return PairViews(
            pre=rng.integers(0, 256, (count, 3, SIZE, SIZE), dtype=np.uint8),
            post=rng.integers(0, 256, (count, 3, SIZE, SIZE), dtype=np.uint8),
            footprint=rng.integers(0, 2, (count, SIZE, SIZE), dtype=np.uint8),
            valid=rng.integers(0, 2, (count, SIZE, SIZE), dtype=np.uint8),
            gsd_m=gsd_m,
        )

    return PairSet(building_id=np.array([f"b{first + n}" for n in range(count)]), close=view(0.5), context=view(2.0))


def index_of(ids: list[str], rows: np.ndarray) -> pd.DataFrame:
    values = {name: np.full(len(ids), None, dtype=object) for name in INDEX_COLUMNS}
    return pd.DataFrame(values | {"building_id": ids, "row": rows, "assessed": True})


def written(path: Path, parts: list[PairSet]) -> PatchStore:
    """Each part by its own writer, as tasks do it, the last one first."""
    first_rows = np.cumsum([0] + [-(-len(part) // CHUNK_BUILDINGS) * CHUNK_BUILDINGS for part in parts])
    path.mkdir()
    make_pairs(path, ["close", "context"], SIZE, int(first_rows[-1]))
    for first_row, part in reversed(list(zip(first_rows[:-1].tolist(), parts, strict=True))):
        writer = RowWriter(path, ["close", "context"], first_row)
        for places in np.array_split(np.arange(len(part)), 3):
            assert part.context is not None
            writer.write(places, [part.close.take(places), part.context.take(places)])
        writer.close()
    ids = [name for part in parts for name in part.building_id.tolist()]
    rows = [first + np.arange(len(part)) for first, part in zip(first_rows[:-1], parts, strict=True)]
    settings = PatchSettings(size_px=SIZE, context_gsd_m=2.0)
    index = index_of(ids, np.concatenate([np.zeros(0, int), *rows]))
    write_index(path, index, "f" * 8, settings, {"close": 0.5, "context": 2.0})
    return PatchStore.open(path)


def test_pairs_come_back_in_the_stores_order_or_in_the_one_asked_for(tmp_path: Path) -> None:
    parts = [pairs(CHUNK_BUILDINGS - 3), pairs(7, 1000), pairs(2 * CHUNK_BUILDINGS, 2000)]
    store = written(tmp_path / "patches", parts)
    assert len(store) == 3 * CHUNK_BUILDINGS + 4
    everything = store.load()
    assert everything.context is not None
    start = 0
    for part in parts:
        rows = np.arange(start, start + len(part))
        start += len(part)
        back = everything.take(rows)
        assert back.building_id.tolist() == part.building_id.tolist()
        for view in ("close", "context"):
            for plane in ("pre", "post", "footprint", "valid"):
                np.testing.assert_array_equal(getattr(getattr(back, view), plane), getattr(getattr(part, view), plane))
    wanted = ["b2100", "b3", "b1001", "b3"]
    some = store.load(wanted)
    assert some.building_id.tolist() == wanted
    expected = everything.take(everything.rows_of(np.array(wanted)))
    np.testing.assert_array_equal(some.close.post, expected.close.post)
    assert some.close.gsd_m == 0.5


def test_empty_store_and_empty_request_give_empty_pairs(tmp_path: Path) -> None:
    store = written(tmp_path / "patches", [])
    assert len(store.load()) == 0
    other = written(tmp_path / "other", [pairs(3)])
    assert other.load([]).close.pre.shape == (0, 3, SIZE, SIZE)


def test_building_without_a_pair_is_named(tmp_path: Path) -> None:
    store = written(tmp_path / "patches", [pairs(3)])
    with pytest.raises(WorkspaceError, match=r"1 of 2 buildings have no pair \(first: b9\)"):
        store.load(["b1", "b9"])


def test_absent_incomplete_and_foreign_stores_are_told_apart(tmp_path: Path) -> None:
    with pytest.raises(WorkspaceError, match=r"no patches yet; cut them with `damage-ssl patches`"):
        PatchStore.open(tmp_path / "none")
    store = written(tmp_path / "patches", [pairs(3)])
    (store.path / "index.parquet").unlink()
    with pytest.raises(WorkspaceError, match="the patch store is not complete; delete it and cut again"):
        PatchStore.open(store.path)
    (store.path / "store.json").write_text('{"fingerprint": "x"}')
    with pytest.raises(WorkspaceError, match="is not a patch store"):
        PatchStore.open(store.path)


def test_store_of_an_older_version_is_to_be_cut_again_and_its_settings_are_known(tmp_path: Path) -> None:
    store = written(tmp_path / "patches", [pairs(3)])
    values = json.loads((store.path / "store.json").read_text())
    del values["format"]
    (store.path / "store.json").write_text(json.dumps(values))
    with pytest.raises(WorkspaceError, match=r"are of format 1, this version needs 2; cut them again"):
        PatchStore.open(store.path)
    assert PatchStore.kept_settings(store.path) == store.settings
    assert PatchStore.kept_settings(tmp_path / "none") is None


def test_rows_that_nobody_writes_take_no_room(tmp_path: Path) -> None:
    make_pairs(tmp_path, ["close"], SIZE, 8 * CHUNK_BUILDINGS)
    writer = RowWriter(tmp_path, ["close"], 3 * CHUNK_BUILDINGS)
    writer.write(np.array([5]), [pairs(1).close])
    writer.close()
    chunks = [path.name for path in (tmp_path / "pairs.zarr" / "close" / "pre").iterdir() if path.name != "zarr.json"]
    assert chunks == ["c.3.0.0.0"]
    with pytest.raises(ValueError, match="first_row 5 is not the first of a chunk"):
        RowWriter(tmp_path, ["close"], 5)
