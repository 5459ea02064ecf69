"""Which trainings are planned, what is tuned, who is drawn."""

from pathlib import Path

import numpy as np
import pytest

from damage_ssl.benchmarking.division import divide, draw
from damage_ssl.benchmarking.random_search import search_space, settings_of, trial_values
from damage_ssl.benchmarking.settings import BenchmarkSettings
from damage_ssl.cli.benchmark import plan_lines
from damage_ssl.errors import LabelsError, SettingsError
from damage_ssl.files import write_json
from damage_ssl.learning.settings import TrainSettings
from damage_ssl.learning.training import algorithm_names, check_settings
from tests.benchmarking.bench_division import FakeTrainer, bench_of, grid_material


def test_plan_counts_every_cell_once(tmp_path: Path) -> None:
    plan = bench_of(tmp_path, FakeTrainer()).plan
    # 2 methods x 3 seeds = 6 a value. labels: 2 values; unlabelled: 0 and 0.25 are new, 1.0 is "5 labels"; mismatch: 40
    # windows are 0.9 of 44 pairs, so 3 new values; imbalance: 0.25 and 0.1 are new; validation: nothing new.
    assert len(plan.trials) == 2 * 3
    assert len(plan.fits) == 6 * (2 + 2 + 3 + 2)
    assert len(set(plan.cells)) == len(plan.cells)
    assert {cell.unlabelled_count for cell in plan.fits} == {None, 44}
    assert sorted({cell.foreign_count for cell in plan.fits if cell.foreign_count is not None}) == [0, 22, 40]


def test_every_method_gets_the_same_number_of_trials_and_the_first_is_its_defaults(tmp_path: Path) -> None:
    plan = bench_of(tmp_path, FakeTrainer(), methods=algorithm_names(), trials=5).plan
    for method in algorithm_names():
        cells = [cell for cell in plan.trials if cell.method == method]
        values = [trial_values(method, "small-cnn", cell.trial or 0) for cell in cells]
        assert len(values) == 5
        assert values[0] == {}
        assert len({str(each) for each in values}) == 5


@pytest.mark.parametrize("network", ["small-cnn", "efficientnet-lite0", "cached-lite0"])
def test_every_setting_that_a_search_draws_is_one_that_the_method_knows(network: str) -> None:
    for method in algorithm_names():
        for trial in range(4):
            values = trial_values(method, network, trial)
            assert not values or set(values) == set(search_space(method, network))
            settings = settings_of(TrainSettings(network=network), method, 1, values)
            check_settings(settings, "test")
            known = dict(settings.given)
            assert all(known.get(name, getattr(settings, name, None)) == value for name, value in values.items())


def test_a_head_on_cached_features_is_tuned_by_what_it_is_trained_with() -> None:
    space = search_space("fixmatch", "cached-lite0")
    assert {"learning_rate_head", "start_weight", "probe_c", "threshold"} <= set(space)
    assert not {"learning_rate_encoder", "sgd_learning_rate"} & set(space)


def test_options_of_one_algorithm_stay_with_it() -> None:
    base = TrainSettings(algorithm="fixmatch", options={"threshold": 0.8, "probe_c": 0.1})
    assert settings_of(base, "mixmatch", 0, {}).given == {"probe_c": 0.1}
    assert settings_of(base, "fixmatch", 0, {}).given == {"threshold": 0.8, "probe_c": 0.1}


def test_fewer_than_three_seeds_are_refused() -> None:
    with pytest.raises(SettingsError, match="2 seeds; it needs 3"):
        BenchmarkSettings(methods=("fixmatch",), seeds=(0, 1))


def test_unknown_experiment_names_the_nearest() -> None:
    with pytest.raises(SettingsError, match="did you mean 'mismatch'"):
        BenchmarkSettings(methods=("fixmatch",), experiments=("mismatsch",))


def test_parts_of_the_event_share_no_pixel_and_each_has_both_kinds() -> None:
    material = grid_material(reach_m=30.0)
    division = divide(
        material, block_m=60, test_share=0.2, validation_share=0.1, least_pool=5, rng=np.random.default_rng(1)
    )
    parts = [division.test, division.validation, division.pool]
    for n, one in enumerate(parts):
        for other in parts[n + 1 :]:
            apart = np.abs(material.where[one][:, None] - material.where[other][None]).max(axis=2)
            assert apart.min() >= 30.0
    for part in parts[:2]:
        assert (material.class_index[part] >= 0).all()
        assert 0 < material.damaged[part].sum() < len(part)
    damaged = material.damaged.sum()
    assert material.damaged[division.test].sum() >= 0.2 * damaged


def test_too_few_grades_are_refused_with_what_would_do() -> None:
    with pytest.raises(LabelsError, match="ask for fewer --labels"):
        divide(
            grid_material(side=6),
            block_m=60,
            test_share=0.3,
            validation_share=0.2,
            least_pool=50,
            rng=np.random.default_rng(0),
        )


def test_fewer_labels_are_among_the_more_and_shares_keep_the_number(tmp_path: Path) -> None:
    bench = bench_of(tmp_path, FakeTrainer())
    material, division = bench.material, bench.division
    two, five = (draw(material, division, labels=k, seed=7) for k in (2, 5))
    assert set(two.labelled) < set(five.labelled)
    assert np.bincount(material.class_index[five.labelled]).tolist() == [5, 5]
    assert not set(five.labelled) & set(five.unlabelled)
    assert set(five.labelled) | set(five.unlabelled) == set(division.pool)
    quarter = draw(material, division, labels=5, seed=7, unlabelled_share=0.25)
    assert len(quarter.unlabelled) == round(0.25 * len(five.unlabelled))
    few = draw(material, division, labels=5, seed=7, damaged_share=0.1)
    assert np.bincount(material.class_index[few.labelled]).tolist() == [9, 1]


def test_the_plan_in_words_counts_trainings_and_estimates_the_rest_from_those_done(tmp_path: Path) -> None:
    bench = bench_of(tmp_path, FakeTrainer(), experiments=("labels",))
    lines = plan_lines(bench)
    assert (
        lines[0] == "2 methods, 6 trials to tune them with (3 each), 12 trainings to measure: 18 in all, 0 done before"
    )
    assert lines[-1] == "time: not known before the first trainings"
    write_json(bench.path_of(bench.plan.trials[0]), {"state": "done", "seconds": 2.0, "values": {}})
    assert bench.seconds_for(bench.missing()) == pytest.approx(17 * 2.0)
    assert plan_lines(bench)[-1] == "time: about 34 s"
