"""The linear probe and the features that it stands on."""

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from damage_ssl.errors import LabelsError, WorkspaceError
from damage_ssl.learning.features.event_features import DIMENSIONS, write_features
from damage_ssl.learning.features.linear_probe import EventFeatures, fit_linear_probe
from damage_ssl.patches.pairs import PairSet
from tests.learning.trainer.drawn_pairs import draw_pairs


@dataclass
class Store:
    """Pairs in memory that count how often they are asked for."""

    pairs: PairSet
    fingerprint: str = "first"
    loads: int = 0

    def load(self, building_ids: NDArray[np.str_] | None = None) -> PairSet:
        self.loads += 1
        rows = {building: row for row, building in enumerate(self.pairs.building_id)}
        return self.pairs.take(np.array([rows[each] for each in building_ids], dtype=np.intp))


@pytest.fixture(scope="module")
def town() -> tuple[PairSet, NDArray[np.int64]]:
    return draw_pairs(60, seed=3)


def test_model_on_the_features_tells_unseen_damage_from_ten_labels(
    town: tuple[PairSet, NDArray[np.int64]], tmp_path: Path
) -> None:
    pairs, classes = town
    write_features(Store(pairs), pairs.building_id, tmp_path / "features")
    features = EventFeatures.read(tmp_path / "features")
    assert features.building_id.tolist() == pairs.building_id.tolist()
    assert features.values.shape == (60, min(DIMENSIONS, 60))
    assert 2 <= len(np.unique(features.cluster)) <= 20
    rows = np.concatenate([np.flatnonzero(classes == each)[:5] for each in (0, 1)])
    p = fit_linear_probe(features.values, rows, classes[rows])
    unseen = np.setdiff1d(np.arange(60), rows)
    np.testing.assert_allclose(p.sum(axis=1), 1.0)
    assert ((p[unseen, 1] > 0.5) == (classes[unseen] == 1)).mean() > 0.9


def test_features_are_made_once_and_again_when_the_patches_change(
    town: tuple[PairSet, NDArray[np.int64]], tmp_path: Path
) -> None:
    store = Store(town[0])
    done: list[tuple[int, int]] = []
    write_features(store, town[0].building_id, tmp_path / "f", progress=lambda *at: done.append(at))
    assert done[-1] == (60, 60)
    before = store.loads
    write_features(store, town[0].building_id, tmp_path / "f")
    assert store.loads == before
    store.fingerprint = "second"
    write_features(store, town[0].building_id, tmp_path / "f")
    assert store.loads > before


def test_fit_agrees_with_scikit_learn_on_two_and_three_classes() -> None:
    from sklearn.linear_model import LogisticRegression

    rng = np.random.default_rng(0)
    features = rng.normal(size=(200, 8)).astype(np.float32)
    rows = np.arange(60)
    for count in (2, 3):
        classes = rng.integers(0, count, 60)
        classes[:count] = np.arange(count)
        expected = LogisticRegression(C=10.0, class_weight="balanced", max_iter=500).fit(
            features[rows].astype(np.float64), classes
        )
        np.testing.assert_allclose(
            fit_linear_probe(features, rows, classes), expected.predict_proba(features.astype(np.float64)), atol=1e-5
        )


def test_class_without_labels_has_no_probability() -> None:
    features = np.random.default_rng(1).normal(size=(20, 4)).astype(np.float32)
    p = fit_linear_probe(features, np.arange(6), np.array([0, 3, 0, 3, 0, 3]))
    assert p.shape == (20, 4)
    assert (p[:, 1:3] == 0).all()


def test_one_class_only_is_refused_with_what_to_do() -> None:
    with pytest.raises(LabelsError, match="label at least one building of another"):
        fit_linear_probe(np.zeros((5, 2), dtype=np.float32), np.arange(3), np.zeros(3, dtype=np.int64))


def test_missing_and_broken_features_say_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(WorkspaceError, match="write_features"):
        EventFeatures.read(tmp_path / "none")
    whole = EventFeatures(np.array(["a", "b"]), np.eye(2, dtype=np.float32), np.zeros(2, dtype=np.int64), "x")
    whole.write(tmp_path, fingerprint="y")
    read = EventFeatures.read(tmp_path)
    assert (read.values == whole.values).all() and read.row_of == {"a": 0, "b": 1} and read.patches == "x"
    for name, content in (
        ("features.json", b'{"format": 1, "patches": "x"}'),
        ("features.json", b'{"fingerprint": "x"}'),
        ("buildings.npz", b"PK broken"),
        ("values.npy", (tmp_path / "values.npy").read_bytes()[:-4]),
        ("values.npy", b""),
    ):
        kept = (tmp_path / name).read_bytes()
        (tmp_path / name).write_bytes(content)
        with pytest.raises(WorkspaceError, match=r"is damaged|cannot be read"):
            EventFeatures.read(tmp_path)
        (tmp_path / name).write_bytes(kept)
    np.save(tmp_path / "values.npy", np.eye(3, dtype=np.float32))
    with pytest.raises(WorkspaceError, match="of different lengths"):
        EventFeatures.read(tmp_path)


def test_instant_model_needs_no_torch() -> None:
    code = "import sys, damage_ssl.learning.features.linear_probe; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
