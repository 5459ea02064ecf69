import resource
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from damage_ssl.damage_scale import SCHEMES, scheme_named
from damage_ssl.errors import StorageError, WorkspaceError
from damage_ssl.evaluation.calibration import Calibration
from damage_ssl.patches.pairs import PairSet, PairViews
from damage_ssl.runs.predictions import (
    class_probabilities,
    predicted_buildings,
    prediction_table,
    probability_column,
    read_predictions,
    scheme_of,
)
from damage_ssl.runs.raw_predictions import predict_run
from damage_ssl.runs.run import Run

GRADES = scheme_named("grades")


@dataclass
class FakeStore:
    """Every tenth building is not assessed; a pair's only pixel is its building's number, and the order is its own."""

    count: int
    loaded: list[int] = field(default_factory=list)

    def index(self) -> pd.DataFrame:
        number = np.arange(self.count)
        return pd.DataFrame({"building_id": [f"b{n}" for n in number], "assessed": number % 10 != 9})

    def load(self, building_ids: NDArray[np.str_] | None = None) -> PairSet:
        assert building_ids is not None
        self.loaded.append(len(building_ids))
        ids = np.sort(building_ids)[::-1]
        number = np.array([int(building[1:]) for building in ids], dtype=np.uint8)
        pixels = np.broadcast_to(number[:, None, None, None], (len(ids), 3, 1, 1))
        mask = np.ones((len(ids), 1, 1), dtype=np.uint8)
        return PairSet(building_id=ids, close=PairViews(pre=pixels, post=pixels, footprint=mask, valid=mask, gsd_m=0.5))


@dataclass(frozen=True)
class FakeModel:
    """P(last class) = number / 100, the rest on the first class."""

    class_names: tuple[str, ...] = ("intact", "damaged")

    def predict(self, pairs: PairSet) -> NDArray[np.float64]:
        out = np.zeros((len(pairs), len(self.class_names)))
        out[:, -1] = pairs.close.post[:, 0, 0, 0] / 100
        out[:, 0] = 1 - out[:, -1]
        return out


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return Run(tmp_path / "run")


def test_every_assessed_building_gets_its_own_probability_whatever_order_the_store_reads(run: Run) -> None:
    table = predict_run(run, FakeStore(50), predictor=FakeModel(), chunk=7)
    assert len(table) == 45
    number = table["building_id"].str[1:].astype(int)
    assert table["p_damaged"].to_numpy() == pytest.approx(number.to_numpy() / 100)
    assert (table["p_intact"] + table["p_damaged"]).to_numpy() == pytest.approx(np.ones(45))


def test_no_more_than_a_chunk_is_read_at_a_time_and_progress_is_told(run: Run) -> None:
    store, told = FakeStore(50), []
    predict_run(run, store, predictor=FakeModel(), chunk=20, progress=lambda done, total: told.append((done, total)))
    assert store.loaded == [20, 20, 5]
    assert told == [(20, 45), (40, 45), (45, 45)]


def test_predictions_come_back_from_their_file(run: Run) -> None:
    table = predict_run(run, FakeStore(20), predictor=FakeModel())
    assert read_predictions(run)["building_id"].tolist() == table["building_id"].tolist()
    assert predicted_buildings(run).tolist() == table["building_id"].tolist()
    assert read_predictions(run)["p_damaged"].to_numpy() == pytest.approx(table["p_damaged"].to_numpy())
    assert [path.name for path in run.path.glob("[!.]*")] == ["predictions.parquet"]


def test_full_disk_leaves_no_half_written_predictions(run: Run) -> None:
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        with pytest.raises(StorageError, match="the disk is full"):
            predict_run(run, FakeStore(99), predictor=FakeModel())
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert list(run.path.iterdir()) == []


def test_temperature_of_the_run_is_applied(run: Run) -> None:
    Calibration(threshold=0.5, temperature=2.0, n_validation=0, n_damaged=0, method="").write(run.calibration_path)
    table = predict_run(run, FakeStore(95), predictor=FakeModel()).set_index("building_id")
    # odds 9 : 1 become 3 : 1.
    assert table.loc["b90", "p_damaged"] == pytest.approx(0.75)
    assert table.loc["b50", "uncertainty"] == pytest.approx(1.0)


def test_event_without_an_assessed_building_gives_an_empty_table_with_its_columns(run: Run) -> None:
    table = predict_run(run, FakeStore(0), predictor=FakeModel(GRADES.class_names))
    assert table.empty
    assert list(read_predictions(run).columns) == [
        "building_id",
        "p_no_damage",
        "p_minor_damage",
        "p_major_damage",
        "p_destroyed",
        "p_damaged",
        "uncertainty",
    ]


def test_four_grades_sum_up_to_damaged() -> None:
    probabilities = np.array([[0.1, 0.2, 0.3, 0.4]])
    table = prediction_table(np.array(["a"]), probabilities, GRADES)
    assert table["p_damaged"].item() == pytest.approx(0.7)
    assert class_probabilities(table, GRADES) == pytest.approx(probabilities)


def test_predictions_of_another_scheme_are_refused() -> None:
    table = prediction_table(np.array(["a"]), np.array([[0.5, 0.5]]), scheme_named("binary-major"))
    with pytest.raises(WorkspaceError, match="'p_no_damage' is missing"):
        class_probabilities(table, GRADES)


def test_schemes_with_the_same_class_names_agree_on_which_are_damaged() -> None:
    for scheme in SCHEMES.values():
        assert scheme_of(scheme.class_names).damaged_from == scheme.damaged_from
    with pytest.raises(WorkspaceError, match="belong to no known scheme"):
        scheme_of(("a", "b"))


def test_missing_predictions_are_a_workspace_error(run: Run) -> None:
    with pytest.raises(WorkspaceError, match="no predictions yet"):
        read_predictions(run)
    with pytest.raises(WorkspaceError, match="no predictions yet"):
        predicted_buildings(run)


def test_column_of_a_class_is_a_plain_identifier() -> None:
    assert probability_column("minor-damage") == "p_minor_damage"


def test_chunks_follow_the_rows_of_the_store_and_the_table_the_index(run: Run) -> None:
    class Shuffled(FakeStore):
        def index(self) -> pd.DataFrame:
            return super().index().assign(row=np.arange(self.count)[::-1])

        def load(self, building_ids: NDArray[np.str_] | None = None) -> PairSet:
            asked.append(building_ids)
            return super().load(building_ids)

    asked: list[NDArray[np.str_] | None] = []
    table = predict_run(run, Shuffled(20), predictor=FakeModel(), chunk=5)
    assert asked[0] is not None
    assert asked[0].tolist() == ["b18", "b17", "b16", "b15", "b14"]
    number = table["building_id"].str[1:].astype(int)
    assert number.is_monotonic_increasing
    assert table["p_damaged"].to_numpy() == pytest.approx(number.to_numpy() / 100)
