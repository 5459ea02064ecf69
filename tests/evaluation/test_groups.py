"""Groups: where a map is worse, and how seldom that is said where it is not."""

import numpy as np
from numpy.typing import NDArray

from damage_ssl.damage_scale import scheme_named
from damage_ssl.evaluation.groups import GroupReport, evaluate_groups

BINARY = scheme_named("binary-major")


def measured(said: NDArray[np.bool_], damaged: NDArray[np.bool_], **groups: NDArray[np.str_]) -> GroupReport:
    p = np.where(said, 0.9, 0.1)
    block = (np.arange(len(p)) // 4).astype(str)
    return evaluate_groups(
        np.stack([1 - p, p], axis=1), damaged.astype(np.int64), damaged, block, groups, scheme=BINARY, threshold=0.5
    )


def test_group_whose_damage_is_missed_is_named() -> None:
    damaged = np.tile([True, False], 150)
    small = np.repeat([True, False], 150)
    said = damaged.copy()
    said[np.flatnonzero(damaged & small)[::2]] = False  # of 75 small damaged ones 38 are missed
    found = measured(said, damaged, size=np.where(small, "under 50 m²", "50 to 100 m²"))
    assert [each.name for each in found.groups] == ["under 50 m²", "50 to 100 m²"]
    assert found.groups[0].evaluation.recall.value == 37 / 75
    assert len(found.warnings) == 1
    assert found.warnings[0].startswith(
        "worse for size under 50 m²: 49% of its damaged buildings are found, elsewhere 100%"
    )
    assert found.note.startswith("4 comparisons: of such tables without any true difference, uncorrected tests would")
    assert found.to_json()["warnings"] == found.warnings


def test_more_damage_in_a_group_is_no_worse_map() -> None:
    rng = np.random.default_rng(0)
    there = np.repeat([True, False], 200)
    damaged = rng.random(400) < np.where(there, 0.7, 0.2)
    said = damaged ^ (rng.random(400) < 0.15)
    found = measured(said, damaged, scene=np.where(there, "a", "b"))
    assert found.warnings == []
    precision = [each.evaluation.precision.value for each in found.groups]
    assert precision[0] is not None and precision[1] is not None and precision[0] - precision[1] > 0.2


def test_alike_groups_are_seldom_called_worse() -> None:
    named = 0
    for seed in range(60):
        rng = np.random.default_rng(seed)
        damaged = rng.random(240) < 0.4
        said = damaged ^ (rng.random(240) < 0.2)
        named += bool(measured(said, damaged, unit=rng.integers(0, 6, 240).astype(str)).warnings)
    assert named <= 7  # 12 comparisons each, of which one or more would be named in every other table uncorrected


def test_small_groups_are_measured_but_not_compared() -> None:
    damaged = np.tile([True, False], 20)
    names = np.array(["few"] * 6 + ["many"] * 33 + [""])
    found = measured(damaged, damaged, source=names)
    assert [(each.name, each.evaluation.n) for each in found.groups] == [("few", 6), ("many", 33)]
    assert found.comparisons == () and found.note == "No group has enough buildings to be compared with the others."
    assert "too few to say" in str(found.groups[0].evaluation.recall)
    assert "no group is shown to be worse than the others" in found.lines()
