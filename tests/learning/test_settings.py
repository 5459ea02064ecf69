"""Settings of a training: flat on disk, typed in memory."""

import json
import subprocess
import sys
from collections import Counter
from typing import Any

import pytest

from damage_ssl.errors import SettingsError
from damage_ssl.learning.algorithms import algorithm_names, settings_of_algorithm
from damage_ssl.learning.algorithms.fixmatch import FixMatchSettings
from damage_ssl.learning.algorithms.remedies import ImbalanceOptions
from damage_ssl.learning.algorithms.remedies.consistency import ConsistencyOptions
from damage_ssl.learning.augmentation.views import ViewSettings
from damage_ssl.learning.settings import CacheOptions, FitOptions, NetworkOptions, TrainSettings
from damage_ssl.runs.plan import RunPlan
from damage_ssl.settings import from_mapping

SHARED = (FitOptions, CacheOptions, NetworkOptions, ViewSettings, ImbalanceOptions, ConsistencyOptions)

PLAN_OF_AN_OLDER_VERSION: dict[str, Any] = {
    "train": {
        "algorithm": "fixmatch", "scheme": "binary-major", "network": "small-cnn", "fusion": "change", "seed": 0,
        "steps": 6, "minutes": None, "batch_labelled": 4, "unlabelled_ratio": 1, "max_unlabelled": 20000,
        "learning_rate_encoder": 0.0002, "learning_rate_head": 0.001, "weight_decay": 0.0005, "ema_decay": 0.97,
        "input_px": 32, "prediction_rotations": 4, "device": "cpu",
        "options": {"threshold": 1, "weak_pass": "fused", "imbalance": "abc", "abc_weight": 1, "train_norm": False},
    },
    "split": {
        "block_m": 150.0, "validation_share": 0.25, "min_train_per_class": 3, "min_validation_per_class": 2,
    },
    "train_id": ["a"], "train_class": [1], "validation_id": [], "validation_class": [], "block_m": 150.0,
    "patches_fingerprint": "p", "version": "0.1.0",
}  # fmt: skip
ITS_FINGERPRINT = "b8414f4995587676e4389c46f4ab00332e2045eb91ee1dd066a701341eb672c8"
"""As commit eaa4bdf computed it."""


def test_unknown_setting_names_the_nearest() -> None:
    with pytest.raises(SettingsError, match=r"\[train\]: setting 'algoritm' is unknown: did you mean 'algorithm'"):
        from_mapping(TrainSettings, {"algoritm": "fixmatch"}, "[train]")


@pytest.mark.parametrize("values", [{"steps": "many"}, {"steps": True}, {"fusion": "sum"}, {"seed": 1.5}])
def test_setting_of_the_wrong_type_is_an_error(values: dict[str, object]) -> None:
    with pytest.raises(SettingsError, match=next(iter(values))):
        from_mapping(TrainSettings, values, "[train]")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"strong_polciy": "random"}, "mixmatch: setting 'strong_polciy' is unknown: did you mean 'strong_policy'?"),
        ({"beta_alfa": 1.0}, "mixmatch: setting 'beta_alfa' is unknown: did you mean 'beta_alpha'?"),
        ({"temperature": 0}, "mixmatch: temperature is 0; it must be above 0"),
        ({"cutout": "half"}, "cutout is 'half', which is not of type float"),
        ({"operations": "blurr"}, "operations: operation 'blurr' is unknown: did you mean 'blur'?"),
    ],
)
def test_an_impossible_option_is_found_when_the_settings_are_made(options: dict[str, object], said: str) -> None:
    with pytest.raises(SettingsError) as of_file:
        from_mapping(TrainSettings, {"options": options}, "s.toml, [train]")
    assert str(of_file.value) == f"s.toml, [train.options]: {said}"
    with pytest.raises(SettingsError) as of_python:
        TrainSettings(options=options)
    assert str(of_python.value) == f"train.options: {said}"


def test_settings_survive_a_round_trip_with_options_as_they_were_given() -> None:
    settings = TrainSettings(algorithm="fixmatch", steps=7, minutes=2, options={"threshold": 1, "probe_c": 0.5})
    written = settings.model_dump()
    assert written["options"] == {"threshold": 1, "probe_c": 0.5} and isinstance(written["options"]["threshold"], int)
    assert from_mapping(TrainSettings, written, "x") == settings
    assert settings.options.algorithm == FixMatchSettings(threshold=1.0)


def test_other_settings_sort_the_options_anew() -> None:
    settings = TrainSettings(algorithm="fixmatch", options={"threshold": 0.9})
    assert settings.replace(algorithm="flexmatch").options.algorithm.model_dump()["threshold"] == 0.9
    with pytest.raises(SettingsError, match="mixmatch: setting 'threshold' is unknown"):
        settings.replace(algorithm="mixmatch")


@pytest.mark.parametrize("algorithm", algorithm_names())
def test_no_two_classes_of_options_share_a_name(algorithm: str) -> None:
    names = Counter(name for cls in (*SHARED, settings_of_algorithm(algorithm)) for name in cls.model_fields)
    assert max(names.values()) == 1 and not set(names) & set(TrainSettings.model_fields)


def test_a_plan_of_an_older_version_keeps_its_fingerprint() -> None:
    plan = RunPlan.from_json(PLAN_OF_AN_OLDER_VERSION, "settings.json")
    assert plan.fingerprint == ITS_FINGERPRINT
    assert plan.train.options.algorithm == FixMatchSettings(threshold=1.0, weak_pass="fused")
    fresh = from_mapping(TrainSettings, PLAN_OF_AN_OLDER_VERSION["train"], "s.toml, [train]")
    assert fresh == plan.train


def test_a_run_with_options_that_are_known_no_more_is_still_read() -> None:
    train = {**PLAN_OF_AN_OLDER_VERSION["train"], "options": {"threshold": 0.9, "gone": 1}}
    plan = RunPlan.from_json({**PLAN_OF_AN_OLDER_VERSION, "train": train}, "settings.json")
    assert plan.train.scheme == "binary-major" and plan.to_json()["train"]["options"] == train["options"]
    with pytest.raises(SettingsError, match=r"train\.options: fixmatch: setting 'gone' is unknown"):
        _ = plan.train.options


def test_a_run_is_read_without_torch() -> None:
    code = (
        "import json, sys\n"
        "from damage_ssl.learning.settings import TrainSettings\n"
        "read = TrainSettings.as_recorded(json.loads(sys.argv[1]), 'settings.json')\n"
        "assert read.given and 'torch' not in sys.modules"
    )
    given = json.dumps(PLAN_OF_AN_OLDER_VERSION["train"])
    done = subprocess.run([sys.executable, "-c", code, given], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
