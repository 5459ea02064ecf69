import numpy as np
import pytest

from damage_ssl.errors import LabelsError
from damage_ssl.evaluation.spatial_blocks import FOLDS, block_of, spatial_folds, split_by_position, split_labelled
from damage_ssl.settings import SplitSettings

SETTINGS = SplitSettings(block_m=150, validation_share=0.25, min_train_per_class=3, min_validation_per_class=2)


def labelled(count: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    ids = np.array([f"b{n}" for n in range(count)])
    return ids, rng.uniform(0, 1500, count), rng.uniform(0, 1500, count), np.arange(count) % 2


def test_blocks_are_squares_named_by_column_and_row() -> None:
    x, y = np.array([0.0, 149.9, 150.0, -0.1]), np.array([0.0, 0.0, 301.0, -150.1])
    assert block_of(x, y, 150.0).tolist() == ["0_0", "0_0", "1_2", "-1_-2"]


@pytest.mark.parametrize("seed", range(5))
def test_split_divides_whole_blocks_near_the_wanted_share_of_each_class(seed: int) -> None:
    ids, x, y, classes = labelled(80, seed)
    block = block_of(x, y, 150.0)
    split = split_labelled(ids, block, classes, SETTINGS, np.random.default_rng(seed))
    assert sorted([*split.train, *split.validation]) == sorted(ids)
    held = np.isin(ids, split.validation)
    assert not set(block[held]) & set(block[~held])
    for label in (0, 1):
        assert held[classes == label].mean() == pytest.approx(0.25, abs=0.06)


def test_split_repeats_with_the_same_seed() -> None:
    ids, x, y, classes = labelled(60)
    block = block_of(x, y, 150.0)
    one, two = (split_labelled(ids, block, classes, SETTINGS, np.random.default_rng(3)) for _ in range(2))
    assert one.validation.tolist() == two.validation.tolist()


def test_block_size_is_halved_until_a_division_works() -> None:
    # All in one block of 150 m and of 75 m... but in two columns 40 m apart: 37.5 m divides them.
    ids = np.array([f"b{n}" for n in range(20)])
    x = np.where(np.arange(20) < 10, 5.0, 60.0)
    y = np.full(20, 5.0)
    classes = np.arange(20) % 2
    with pytest.raises(LabelsError, match=r"1 blocks of 150 m"):
        split_labelled(ids, block_of(x, y, 150.0), classes, SETTINGS, np.random.default_rng(0))
    split = split_by_position(ids, x, y, classes, SETTINGS, np.random.default_rng(0))
    assert split.block_m == 37.5
    assert set(split.validation.tolist()) in ({f"b{n}" for n in range(10)}, {f"b{n}" for n in range(10, 20)})


def test_labels_in_one_spot_cannot_be_divided() -> None:
    ids = np.array([f"b{n}" for n in range(20)])
    with pytest.raises(LabelsError, match="label buildings in other parts of the event"):
        split_by_position(ids, np.zeros(20), np.zeros(20), np.arange(20) % 2, SETTINGS, np.random.default_rng(0))


def test_one_class_only_is_named() -> None:
    ids, x, y, _ = labelled(20)
    with pytest.raises(LabelsError, match=r"of 1 class \(class 0: 20\).*label buildings of another class"):
        split_labelled(ids, block_of(x, y, 150.0), np.zeros(20, dtype=int), SETTINGS, np.random.default_rng(0))


def test_too_few_of_a_class_are_counted() -> None:
    ids, x, y, _ = labelled(20)
    classes = (np.arange(20) < 4).astype(int)
    with pytest.raises(LabelsError, match=r"class 0: 16, class 1: 4\); 5 of each class are needed"):
        split_labelled(ids, block_of(x, y, 150.0), classes, SETTINGS, np.random.default_rng(0))


def test_no_labels_at_all_is_an_error() -> None:
    none = np.array([], dtype=str)
    with pytest.raises(LabelsError, match="0 labelled buildings"):
        split_labelled(none, none, np.array([], dtype=int), SETTINGS, np.random.default_rng(0))


def test_smallest_permitted_numbers_are_reached() -> None:
    ids = np.array([f"b{n}" for n in range(10)])
    block = np.array([f"{n // 2}_0" for n in range(10)])
    split = split_labelled(ids, block, np.arange(10) % 2, SETTINGS, np.random.default_rng(0))
    assert (len(split.train), len(split.validation)) == (6, 4)


def test_folds_are_whole_blocks_and_each_gets_its_share_of_both_classes() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.uniform(0, 1000, (2, 200))
    classes = (x > 700).astype(np.int64)  # the damaged ones lie together
    found = spatial_folds(x, y, classes, SplitSettings(block_m=100.0))
    assert found is not None
    fold, block_m = found
    block = block_of(x, y, block_m)
    assert all(len(set(fold[block == each])) == 1 for each in set(block))
    assert len(set(fold)) == FOLDS
    for each in range(FOLDS):
        share = [(fold[classes == c] == each).mean() for c in (0, 1)]
        assert share == pytest.approx([0.2, 0.2], abs=0.12)


def test_blocks_of_folds_are_halved_until_enough_is_left_and_none_is_said_where_that_fails() -> None:
    x, classes = np.array([5.0, 15.0, 25.0, 35.0, 45.0, 55.0]), np.array([0, 1, 0, 1, 0, 1])
    found = spatial_folds(x, np.zeros(6), classes, SplitSettings(block_m=80.0, min_train_per_class=2))
    assert found is not None and found[1] < 80.0
    assert spatial_folds(x, np.zeros(6), classes, SplitSettings(block_m=80.0, min_train_per_class=3)) is None
