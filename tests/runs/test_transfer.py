"""Training across events: three towns whose buildings carry the same names."""

import json
import shutil
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from damage_ssl import workflow
from damage_ssl.damage_scale import LabelValue
from damage_ssl.errors import DamageSSLError, InputError, LabelsError, SettingsError, WorkspaceError
from damage_ssl.evaluation.calibration import Calibration
from damage_ssl.events.event import Event
from damage_ssl.files import read_json
from damage_ssl.learning import training
from damage_ssl.learning.checkpoints import load_model
from damage_ssl.learning.settings import TrainSettings
from damage_ssl.learning.trainer import view_sources
from damage_ssl.patches.store import PatchStore
from damage_ssl.runs.predictions import read_predictions
from damage_ssl.runs.run import Run
from damage_ssl.runs.transfer import joint_patches
from damage_ssl.settings import PatchSettings, SourceSettings, SplitSettings
from tests.conftest import Town, square, texture, write_polygons, write_tiff
from tests.runs.test_zero_label import CENTRES, DESTROYED, with_houses
from tests.runs.updates import write_index

SPLIT = SplitSettings(block_m=24.0, min_validation_per_class=1, min_train_per_class=1)
TRAIN = TrainSettings(
    algorithm="adamatch",
    network="small-cnn",
    steps=4,
    batch_labelled=4,
    unlabelled_ratio=2,
    input_px=32,
    prediction_rotations=1,
    device="cpu",
)
PATCHES = PatchSettings(size_px=32, align="off", max_cloud=1.0, max_shadow=1.0, max_saturated=1.0, max_blur_m=1000.0)
EVERY = range(len(CENTRES))


def make_event(folder: Path, name: str, seed: int) -> Event:
    """25 houses, of which those of `DESTROYED` were speckled; the same ids in every event, other ground."""
    pre = with_houses(texture(seed))
    post = np.clip(pre * 0.85 + 10, 0, 255).astype(np.uint8)
    for number in DESTROYED:
        column, row = CENTRES[number]
        speckle = np.random.default_rng(100 + seed + number).integers(30, 230, (1, 24, 24)).astype(np.uint8)
        post[:, row - 12 : row + 12, column - 12 : column + 12] = speckle
    town = Town(
        pre=write_tiff(folder / name / "pre.tif", pre),
        post=write_tiff(folder / name / "post.tif", post),
        footprints=write_polygons(
            folder / name / "footprints.geojson",
            [square(*centre) for centre in CENTRES],
            building_id=[f"b{number:02d}" for number in EVERY],
        ),
        workspace=folder / "workspace",
    )
    made = town.create(name)
    workflow.cut_patches(made, PATCHES)
    return made


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace of three events without labels."""
    folder = tmp_path_factory.mktemp("drawn")
    for seed, name in enumerate(["town", "north", "south"], start=1):
        make_event(folder, name, seed)
    return folder / "workspace"


def copied(drawn: Path, tmp_path: Path, name: str) -> Event:
    shutil.copytree(drawn / name, tmp_path / "workspace" / name)
    return Event.open(tmp_path / "workspace", name)


@pytest.fixture
def town(drawn: Path, tmp_path: Path) -> Event:
    """The event that is trained for, without labels."""
    return copied(drawn, tmp_path, "town")


@pytest.fixture
def north(drawn: Path, tmp_path: Path) -> Event:
    return labelled(copied(drawn, tmp_path, "north"))


@pytest.fixture
def south(drawn: Path, tmp_path: Path) -> Event:
    return labelled(copied(drawn, tmp_path, "south"))


def labelled(event: Event, numbers: Iterable[int] = EVERY) -> Event:
    store = workflow.open_labels(event)
    for number in numbers:
        value = LabelValue.DESTROYED if number in DESTROYED else LabelValue.NO_DAMAGE
        store.add(f"b{number:02d}", value, labeller="a", drawn="map", inclusion_probability=None)
    return event


def start(event: Event, *sources: str, run_id: str | None = None, most: int = 2000, **changes: Any) -> Run:
    train = TRAIN.replace(**changes)
    settings = SourceSettings(max_labelled=most)
    return workflow.start_run(event, train, SPLIT, run_id=run_id, sources=sources, source_settings=settings).run


def finish(event: Event, run: Run) -> Run:
    workflow.train_run(event, run)
    workflow.predict_event(event, run)
    return run


def weights(run: Run) -> dict[str, NDArray[Any]]:
    return {name: tensor.numpy() for name, tensor in load_model(run)[0].state_dict().items()}


def assert_same_weights(one: Run, other: Run) -> None:
    first, second = weights(one), weights(other)
    assert first.keys() == second.keys()
    for name, value in first.items():
        np.testing.assert_array_equal(value, second[name], err_msg=name)


@pytest.fixture
def pairs_taken(monkeypatch: pytest.MonkeyPatch) -> list[set[str]]:
    """The buildings of each draw of a training: labelled and unlabelled ones by turns."""
    taken: list[set[str]] = []
    plain = view_sources.PixelViews.take

    def take(self: view_sources.PixelViews, rows: torch.Tensor) -> torch.Tensor:
        taken.append(set(self._task.building_id[rows.numpy()].tolist()))
        return plain(self, rows)

    monkeypatch.setattr(view_sources.PixelViews, "take", take)
    return taken


@pytest.mark.parametrize("rows", ["all", "unlabelled"])
@pytest.mark.parametrize("own", [(), (1, 3), tuple(EVERY)[:20]])
def test_unlabelled_pairs_come_from_the_event_only(
    town: Event, north: Event, rows: str, own: tuple[int, ...], pairs_taken: list[set[str]]
) -> None:
    labelled(town, own)
    run = start(town, "north", options={"unlabelled_rows": rows})
    workflow.train_run(town, run)
    labelled_pairs, unlabelled_pairs = set.union(*pairs_taken[::2]), set.union(*pairs_taken[1::2])
    assert len(pairs_taken) == 2 * TRAIN.steps
    assert any(name.startswith("north/") for name in labelled_pairs)
    assert unlabelled_pairs and not any("/" in name for name in unlabelled_pairs)
    if rows == "unlabelled":
        assert not unlabelled_pairs & {f"b{number:02d}" for number in own}
    plan = workflow.plan_of(run)
    trained = {*plan.train_id, *plan.sources[0].joint_train_id}
    assert labelled_pairs <= trained


def test_an_event_without_labels_is_judged_on_buildings_of_the_sources(town: Event, north: Event, south: Event) -> None:
    run = finish(town, start(town, "north", "south"))
    plan = workflow.plan_of(run)
    assert plan.train_id == plan.validation_id == ()
    assert [source.event for source in plan.sources] == ["north", "south"]
    for source in plan.sources:
        assert not set(source.train_id) & set(source.validation_id)
        assert set(source.train_id) | set(source.validation_id) == {f"b{number:02d}" for number in EVERY}
    summary, calibration = workflow.run_summary(run), Calibration.read(run.calibration_path)
    assert summary.validated_on == calibration.n_validation == len(plan.held_out) > 0
    assert summary.trained_on + summary.validated_on == 2 * len(CENTRES)
    assert summary.statement is not None and "north, south" in summary.statement
    assert calibration.method.endswith("; all of other events: north, south")
    assert sorted(read_predictions(run)["building_id"]) == [f"b{number:02d}" for number in EVERY]
    card = workflow.export_event(town, run.path / "map.geojson")
    assert card.statement == summary.statement
    text = (run.path / "card.md").read_text()
    assert summary.statement in text and "of event north: " in text and "no validation metrics" in text
    assert json.loads((run.path / "map.geojson").read_text())["damage_ssl"]["statement"] == summary.statement
    truth = run.path / "truth.csv"
    truth.write_text(
        "building_id,grade\n"
        + "".join(f"b{number:02d},{'destroyed' if number in DESTROYED else 'no-damage'}\n" for number in EVERY)
    )
    report = workflow.evaluate_event(town, truth, run)
    assert report.seen == 0 and report.evaluation.n == len(CENTRES)  # the sources' buildings have the same names
    assert summary.statement in list(report.lines()) and report.to_json()["statement"] == summary.statement


def test_own_labels_that_suffice_are_held_out_and_all_of_the_sources_are_learned_from(
    town: Event, north: Event
) -> None:
    labelled(town)
    run = finish(town, start(town, "north"))
    plan, alone = workflow.plan_of(run), workflow.plan_of(start(town))
    assert (plan.train_id, plan.validation_id) == (alone.train_id, alone.validation_id)
    assert plan.validation_id and plan.sources[0].validation_id == ()
    assert len(plan.sources[0].train_id) == len(CENTRES)
    summary = workflow.run_summary(run)
    assert summary.statement is None and summary.trained_on_sources == {"north": len(CENTRES)}
    assert summary.validated_on == len(plan.validation_id)
    assert "other events" not in Calibration.read(run.calibration_path).method


def test_own_labels_that_do_not_suffice_are_all_learned_from(town: Event, north: Event) -> None:
    labelled(town, [3, 7])  # one class only
    plan = workflow.plan_of(start(town, "north"))
    assert sorted(plan.train_id) == ["b03", "b07"] and plan.validation_id == ()
    assert plan.sources[0].validation_id and plan.statement is not None


@pytest.mark.parametrize(
    "changes",
    [
        {"algorithm": "frozen-random-post"},
        {"algorithm": "noisy-student", "options": {"unlabelled_rows": "unlabelled", "threshold": 0.5}},
        {"network": "cached:small-cnn", "options": {"cached_weak": 0, "cached_strong": 1}},
        {"algorithm": "supervised-strong"},
    ],
)
def test_other_ways_of_training_learn_from_sources_too(town: Event, north: Event, changes: dict[str, Any]) -> None:
    run = finish(town, start(town, "north", **changes))
    assert run.finished and len(read_predictions(run)) == len(CENTRES)


def test_a_stopped_run_goes_on_to_the_same_bits(town: Event, north: Event, south: Event) -> None:
    labelled(town, [3, 5])
    whole = finish(town, start(town, "north", "south", run_id="whole"))
    run, asked = start(town, "north", "south", run_id="parts"), iter(range(100))
    workflow.train_run(town, run, should_stop=lambda: next(asked) >= 2)
    assert run.status().state == "cancelled" and run.resume_path.exists()
    labelled(north, [0])  # what is labelled meanwhile does not matter
    workflow.open_labels(south).add("b03", LabelValue.NO_DAMAGE, labeller="b", drawn="map", inclusion_probability=None)
    assert not workflow.resumed_run(town, "parts").done
    finish(town, run)
    assert_same_weights(run, whole)
    assert run.predictions_path.read_bytes() == whole.predictions_path.read_bytes()


def test_a_plan_changes_with_the_sources_labels_and_pixels_and_old_plans_load(town: Event, north: Event) -> None:
    labelled(town)
    run, alone = start(town, "north"), start(town)
    plan = workflow.plan_of(run)
    assert start(town, "north") == run
    assert alone != run and "sources" not in read_json(alone.settings_path)  # as it was written before
    assert workflow.plan_of(alone).sources == ()
    assert workflow.RunPlan.from_json(json.loads(json.dumps(plan.to_json())), "here") == plan
    moved = replace(plan, sources=(replace(plan.sources[0], patches_fingerprint="other"),))
    assert moved.fingerprint != plan.fingerprint
    workflow.open_labels(north).add("b03", LabelValue.NO_DAMAGE, labeller="b", drawn="map", inclusion_probability=None)
    assert start(town, "north").run_id != run.run_id


def test_a_source_that_was_cut_again_or_removed_stops_a_run(town: Event, north: Event) -> None:
    run = start(town, "north")
    store = PatchStore.open(town.patches_path)
    workflow.cut_patches(north, PATCHES.replace(stretch_low_percent=2.0))
    for act in (
        lambda: workflow.resumed_run(town, run.run_id),
        lambda: workflow.train_run(town, run),
        lambda: joint_patches(town, store, workflow.plan_of(run).sources),
    ):
        with pytest.raises(WorkspaceError, match="source 'north': its patches were cut again since the run was"):
            act()
    north.path.rename(north.path.with_name("elsewhere"))
    with pytest.raises(WorkspaceError, match=r"source 'north': the run learns from it, and it cannot be opened"):
        workflow.resumed_run(town, run.run_id)


def no_labels(drawn: Path, tmp_path: Path) -> None:
    copied(drawn, tmp_path, "south")


def only_verdicts(drawn: Path, tmp_path: Path) -> None:
    store = workflow.open_labels(copied(drawn, tmp_path, "south"))
    for number, value in enumerate([LabelValue.INTACT, LabelValue.DAMAGED, LabelValue.UNCLEAR]):
        store.add(f"b{number:02d}", value, labeller="a", drawn="map", inclusion_probability=None)


def other_patches(drawn: Path, tmp_path: Path) -> None:
    workflow.cut_patches(labelled(copied(drawn, tmp_path, "south")), PatchSettings(size_px=48, gsd_m=1.0))


def uncut(drawn: Path, tmp_path: Path) -> None:
    labelled(copied(drawn, tmp_path, "south")).patches_path.rename(tmp_path / "away")


def one_kind(drawn: Path, tmp_path: Path) -> None:
    labelled(copied(drawn, tmp_path, "south"), [3, 7, 11])


def gone(drawn: Path, tmp_path: Path) -> None:
    pass


@pytest.mark.parametrize(
    ("prepare", "names", "changes", "kind", "message"),
    [
        (no_labels, ["south"], {}, LabelsError, r"source 'south': has no labels; label some"),
        (
            only_verdicts,
            ["south"],
            {"scheme": "grades"},
            LabelsError,
            r"source 'south': the scheme 'grades' .* has no class for any of its labels \(.*1 damaged.*\); train with "
            "--scheme binary-major or binary-minor",
        ),
        (
            other_patches,
            ["south"],
            {},
            InputError,
            r"source 'south': its patches are 48 px at 1 m .*, those of 'town' 32 px at 0.5 m .*patches south "
            "--size-px 32 --gsd-m 0.5",
        ),
        (uncut, ["south"], {}, WorkspaceError, r"source 'south': .*no patches yet.*damage-ssl patches south"),
        (one_kind, ["south"], {}, LabelsError, r"event 'town': has too few labels of its own.*1 class \(class damaged"),
        (gone, ["nroth"], {}, WorkspaceError, r"source 'nroth': no such event in .*: there is no other event"),
        (gone, ["town"], {}, InputError, r"source 'town': is the event that is trained for"),
        (no_labels, ["soth"], {}, WorkspaceError, r"source 'soth': no such event .*did you mean 'south'"),
        (no_labels, ["south", "south"], {}, InputError, r"source 'south': is named twice"),
    ],
)
def test_a_source_that_cannot_be_used_is_refused_before_a_run_begins(
    town: Event,
    drawn: Path,
    tmp_path: Path,
    prepare: Callable[[Path, Path], None],
    names: list[str],
    changes: dict[str, Any],
    kind: type[DamageSSLError],
    message: str,
) -> None:
    prepare(drawn, tmp_path)
    with pytest.raises(kind, match=message):
        start(town, *names, **changes)
    assert not town.runs_path.exists() or not list(town.runs_path.iterdir())


def test_labels_on_buildings_that_are_not_assessed_are_no_use(town: Event, north: Event) -> None:
    write_index(north, PatchStore.open(north.patches_path).index().assign(assessed=False))
    with pytest.raises(LabelsError, match=r"source 'north': none of its labelled buildings .* is assessed"):
        start(town, "north")


def test_a_building_that_is_named_as_a_source_s_would_be_is_an_error(town: Event, north: Event) -> None:
    index = PatchStore.open(town.patches_path).index()
    index.loc[0, "building_id"] = "north/b04"
    write_index(town, index)
    with pytest.raises(InputError, match="building 'north/b04' of event 'town'"):
        start(town, "north")


def test_a_bound_draws_the_classes_and_the_sources_alike(town: Event, north: Event, south: Event) -> None:
    plan = workflow.plan_of(start(town, "north", "south", most=12, seed=5))
    classes = [index for source in plan.sources for index in (*source.train_class, *source.validation_class)]
    assert np.bincount(classes).tolist() == [6, 6]
    for source in plan.sources:
        assert np.bincount((*source.train_class, *source.validation_class)).tolist() == [3, 3]
    assert workflow.plan_of(start(town, "north", "south", most=12, seed=5)) == plan
    assert workflow.plan_of(start(town, "north", "south", most=12, seed=6)).sources != plan.sources
    rare = workflow.plan_of(start(town, "north", "south", most=40)).sources  # there are but 14 destroyed
    assert sum(sum(source.train_class) + sum(source.validation_class) for source in rare) == 14
    assert sum(len(source.train_id) + len(source.validation_id) for source in rare) == 40
    with pytest.raises(SettingsError, match="max_labelled is 1"):
        SourceSettings(max_labelled=1)


def test_memory_holds_the_plan_s_labelled_and_max_unlabelled_of_the_event(
    town: Event, north: Event, monkeypatch: pytest.MonkeyPatch
) -> None:

    held: list[list[str]] = []
    plain = training.make_task

    def make_task(pairs: Any, *args: Any, **kwargs: Any) -> Any:
        held.append(pairs.building_id.tolist())
        return plain(pairs, *args, **kwargs)

    monkeypatch.setattr(training, "make_task", make_task)
    workflow.train_run(town, start(town, "north", most=10, max_unlabelled=7))
    assert sum("/" not in name for name in held[0]) == 7 and sum("/" in name for name in held[0]) == 10
    with pytest.raises(SettingsError, match=r"all 10 pairs are of other events; set max_unlabelled \(0\) above 0"):
        workflow.train_run(town, start(town, "north", most=10, max_unlabelled=0))


def test_joint_patches_give_each_building_its_own_pixels_in_the_order_asked_for(town: Event, north: Event) -> None:
    plan = workflow.plan_of(start(town, "north"))
    own, theirs = (PatchStore.open(event.patches_path) for event in (town, north))
    joint = joint_patches(town, own, plan.sources).load(np.array(["north/b03", "b04", "north/b01", "b03"]))
    assert joint.building_id.tolist() == ["north/b03", "b04", "north/b01", "b03"]
    np.testing.assert_array_equal(joint.close.post[[0, 2]], theirs.load(["b03", "b01"]).close.post)
    np.testing.assert_array_equal(joint.close.post[[1, 3]], own.load(["b04", "b03"]).close.post)
