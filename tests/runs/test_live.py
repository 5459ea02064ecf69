"""The live model: features of an event, refitted on its labels."""

import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression
from typer.testing import CliRunner

from damage_ssl import workflow
from damage_ssl.cli.root import cli
from damage_ssl.damage_scale import scheme_named
from damage_ssl.errors import InputError, LabelsError, SettingsError, StorageError, WorkspaceError
from damage_ssl.events.event import Event
from damage_ssl.files import read_json, write_json
from damage_ssl.learning.features import event_features
from damage_ssl.learning.features.linear_probe import REGULARISATION, EventFeatures
from damage_ssl.patches.store import PatchStore
from damage_ssl.runs.live import (
    PACKAGED,
    features_path,
    features_ready,
    fit_live,
    make_features,
    read_features,
    usable_labels,
)
from tests.conftest import Town

pytestmark = pytest.mark.filterwarnings("ignore:Use `@` matmul:PendingDeprecationWarning")  # within rasterio

BINARY = scheme_named("binary-major")


@pytest.fixture
def event(town: Town) -> Event:
    made = town.create()
    workflow.cut_patches(made)
    return made


def drawn_features(count: int = 40) -> EventFeatures:
    """Two groups of buildings, the second half apart from the first along every axis."""
    rng = np.random.default_rng(0)
    values = rng.normal(0, 0.1, (count, 6)) + np.repeat([-0.3, 0.3], count // 2)[:, None]
    names = np.array([f"b{row}" for row in range(count)])
    return EventFeatures(names, values.astype(np.float32), np.zeros(count, dtype=np.int64), "x")


def said(**values: str) -> pd.DataFrame:
    return pd.DataFrame({"building_id": list(values), "value": list(values.values())})


def test_table_is_that_of_a_run_and_its_numbers_those_of_logistic_regression() -> None:
    features = drawn_features()
    got = fit_live(features, said(b0="no-damage", b1="minor-damage", b30="destroyed", b31="major-damage"), BINARY)
    table = got.table()
    assert list(table.columns) == ["building_id", "p_intact", "p_damaged", "uncertainty"]
    rows = [0, 1, 30, 31]
    oracle = LogisticRegression(C=REGULARISATION, class_weight="balanced").fit(
        features.values[rows].astype(float), [0, 0, 1, 1]
    )
    np.testing.assert_allclose(table["p_damaged"], oracle.predict_proba(features.values.astype(float))[:, 1], atol=1e-4)
    assert got.learned_from == {"intact": 2, "damaged": 2}
    assert (table["p_damaged"][20:] > 0.5).all() and (table["p_damaged"][:20] < 0.5).all()


def test_classes_of_the_grades_without_a_label_get_no_probability() -> None:
    grades = scheme_named("grades")
    got = fit_live(drawn_features(), said(b0="no-damage", b1="no-damage", b30="major-damage"), grades)
    assert got.learned_from == {"no-damage": 2, "minor-damage": 0, "major-damage": 1, "destroyed": 0}
    assert got.probabilities.shape == (40, 4)
    assert (got.probabilities[:, [1, 3]] == 0).all()
    np.testing.assert_allclose(got.p_damaged, got.probabilities[:, 2])


def test_answers_that_are_no_class_and_buildings_without_features_are_left_out() -> None:
    labels = usable_labels(
        drawn_features(), said(b3="unclear", b4="intact", elsewhere="destroyed", b5="offset"), BINARY
    )
    assert labels.rows.tolist() == [4]
    assert labels.counts(BINARY) == {"intact": 1, "damaged": 0}


def test_one_class_only_is_refused_with_the_class_that_lacks() -> None:
    with pytest.raises(LabelsError, match=r"has 1 intact, 0 damaged; label a building that is damaged"):
        fit_live(drawn_features(), said(b3="intact", b4="unclear"), BINARY)


def test_features_of_an_event_are_made_once_and_refused_when_the_pairs_are_cut_again(event: Event) -> None:
    with pytest.raises(WorkspaceError, match="damage-ssl features town"):
        read_features(event)
    told: list[tuple[int, int]] = []
    count = make_features(event, lambda *at: told.append(at))
    index = PatchStore.open(event.patches_path).index()
    assert count == index["assessed"].sum() and told[-1] == (count, count)
    assert features_ready(event)
    assert read_features(event).building_id.tolist() == index.loc[index["assessed"], "building_id"].tolist()
    assert read_features(event) is read_features(event)
    notes = read_json(features_path(event) / "features.json")
    for change in ({"patches": "older"}, {"format": 1}):
        write_json(features_path(event) / "features.json", {**notes, **change})
        assert not features_ready(event)
        with pytest.raises(WorkspaceError, match=r"cut again.*older version.*damage-ssl features town"):
            read_features(event)


def test_interrupted_features_go_on_where_they_stopped_and_come_out_the_same(
    event: Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_features, "BUILDINGS_AT_ONCE", 4)
    count = make_features(event)
    whole = EventFeatures.read(features_path(event)).values
    assert count > 8
    (features_path(event) / "features.json").unlink()

    def stop(done: int, total: int) -> None:
        if done == 8:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        make_features(event, stop)
    assert not features_ready(event)
    told: list[int] = []
    make_features(event, lambda done, total: told.append(done))
    assert told[0] == 12
    np.testing.assert_array_equal(EventFeatures.read(features_path(event)).values, whole)
    assert not list(event.path.glob(".features.begun*"))


def drawn_weights(path: Path, seed: int = 0) -> Path:
    """A file as `damage-ssl pretrain` leaves it, of a small network."""
    import torch

    from damage_ssl.learning.networks.encoders import encoder_named, seeded
    from damage_ssl.learning.tensor_files import write_tensors

    encoder = seeded(lambda: encoder_named("small-cnn", 3), torch.Generator().manual_seed(seed))
    path.parent.mkdir(parents=True, exist_ok=True)
    write_tensors(path, encoder.state_dict(), {"kind": "encoder", "network": "small-cnn", "norm": "group"})
    return path


def test_a_full_disk_is_an_error_of_the_features_that_leaves_none(
    event: Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_room(*_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "posix_fallocate", no_room)
    with pytest.raises(StorageError, match="the disk is full"):
        make_features(event)
    assert not features_ready(event) and not list(event.path.glob(".features.begun.*"))


@pytest.mark.long
def test_features_of_given_weights_are_other_features_and_are_not_mixed_up(event: Event, tmp_path: Path) -> None:
    make_features(event)
    packaged = read_features(event).values
    one, other = drawn_weights(tmp_path / "one.safetensors"), drawn_weights(tmp_path / "other.safetensors", seed=1)
    made = {}
    for path in (one, other):
        make_features(event, weights=str(path))
        notes = read_json(features_path(event) / "features.json")
        assert notes["weights"]["path"] == str(path) and features_ready(event)
        made[path] = read_features(event).values
    assert packaged.shape == made[one].shape
    assert not np.array_equal(made[one], made[other]) and not np.array_equal(made[one], packaged)
    told: list[int] = []
    make_features(event, lambda done, _: told.append(done))  # as the last time: nothing to do
    assert not told and np.array_equal(read_features(event).values, made[other])
    make_features(event, weights=PACKAGED)
    assert np.array_equal(read_features(event).values, packaged)
    assert "weights" not in read_json(features_path(event) / "features.json")


@pytest.mark.long
def test_features_begun_with_other_weights_are_not_gone_on_with(
    event: Event, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_features, "BUILDINGS_AT_ONCE", 4)

    def stop(done: int, _: int) -> None:
        if done == 8:
            raise KeyboardInterrupt

    one, other = drawn_weights(tmp_path / "one.safetensors"), drawn_weights(tmp_path / "other.safetensors", seed=1)
    for path, first in ((one, 4), (other, 4), (other, 12)):
        told: list[int] = []

        def count(done: int, total: int, told: list[int] = told) -> None:
            told.append(done)
            stop(done, total)

        if first == 4:
            with pytest.raises(KeyboardInterrupt):
                make_features(event, count, weights=str(path))
        else:
            make_features(event, count, weights=str(path))
        assert told[0] == first


def test_weights_that_are_gone_changed_or_of_another_network_are_errors(event: Event, tmp_path: Path) -> None:
    path = drawn_weights(tmp_path / "w.safetensors")
    with pytest.raises(InputError, match="there is no such file"):
        make_features(event, weights=str(tmp_path / "nowhere.safetensors"))
    with pytest.raises(SettingsError, match="are of the network 'small-cnn', not of 'timm:resnet10t'"):
        make_features(event, weights=str(path), network="timm:resnet10t")
    with pytest.raises(SettingsError, match="give one with --weights FILE"):
        make_features(event, network="small-cnn")
    assert not features_path(event).exists()
    make_features(event, weights=str(path))
    drawn_weights(path, seed=1)
    with pytest.raises(WorkspaceError, match=r"gone or were changed; say which to use: `damage-ssl features town"):
        make_features(event)
    kept = drawn_weights(event.path / "pretrained" / path.name)  # the event's folder was moved, its weights with it
    told: list[int] = []
    make_features(event, lambda done, _: told.append(done))
    assert not told
    kept.unlink()
    path.unlink()
    with pytest.raises(WorkspaceError, match="or `--weights packaged`"):
        make_features(event)
    assert features_ready(event)


@pytest.mark.long
def test_the_command_says_which_weights_features_are_of(event: Event, tmp_path: Path) -> None:
    path = drawn_weights(tmp_path / "w.safetensors")
    at = ["--workspace", str(event.path.parent), "--json"]
    first = json.loads(CliRunner().invoke(cli, ["features", "town", "--weights", str(path), *at]).stdout)
    assert first["made"] and first["weights"] == str(path)
    again = json.loads(CliRunner().invoke(cli, ["features", "town", *at]).stdout)
    assert again == {**first, "made": False}
    packaged = json.loads(CliRunner().invoke(cli, ["features", "town", "--weights", PACKAGED, *at]).stdout)
    assert packaged["made"] and packaged["weights"] is None
    refused = CliRunner().invoke(cli, ["features", "town", "--weights", str(tmp_path / "no"), *at])
    assert refused.exit_code == 2


def test_second_process_does_not_make_the_same_features(event: Event) -> None:
    with pytest.raises(WorkspaceError, match="another process"):
        make_features(event, lambda *_: make_features(event))


def test_reading_and_fitting_need_no_torch() -> None:
    code = "import sys, damage_ssl.runs.live; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False, cwd=Path(__file__).parents[2]).returncode == 0


def test_next_to_label_takes_turns_between_kinds_of_buildings(event: Event, monkeypatch: pytest.MonkeyPatch) -> None:
    given: dict[str, object] = {}

    def draw(*arguments: object, **settings: object) -> pd.DataFrame:
        given.update(settings)
        return pd.DataFrame()

    monkeypatch.setattr("damage_ssl.labels.sampling.next_buildings", draw)
    workflow.next_to_label(event, 3, np.random.default_rng(0))
    assert given["cluster"] is None
    make_features(event)
    workflow.next_to_label(event, 3, np.random.default_rng(0))
    known = read_features(event)
    assert dict(given["cluster"]) == dict(zip(known.building_id, known.cluster, strict=True))  # type: ignore[call-overload]
