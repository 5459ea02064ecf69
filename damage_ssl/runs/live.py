"""The live model of an event: a linear probe on frozen features, fitted again after each label.

`make_features` needs torch and takes minutes on a large event, once; all else here needs no torch and takes
milliseconds.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from damage_ssl.damage_scale import ClassScheme, LabelValue
from damage_ssl.errors import LabelsError, SettingsError, WorkspaceError
from damage_ssl.evaluation.audit import drawn_at_random
from damage_ssl.evaluation.calibration import (
    Calibration,
    calibrate,
    damaged_log_odds,
    damaged_probability,
    normalised_entropy,
    with_log_odds,
)
from damage_ssl.evaluation.label_issues import labelled_blocks, probes_without
from damage_ssl.evaluation.learning_curve import LearningCurve, outlook
from damage_ssl.evaluation.spatial_blocks import block_folds
from damage_ssl.evaluation.stacking.stack import StackFacts
from damage_ssl.events.definition import damage_scheme
from damage_ssl.events.event import Event, open_labels
from damage_ssl.files import locked, read_json
from damage_ssl.learning.features.linear_probe import (
    FORMAT_VERSION,
    NOTES,
    EventFeatures,
    FeatureInitialisation,
    fit_linear_probe,
)
from damage_ssl.patches.store import PatchStore
from damage_ssl.progress import ProgressCallback
from damage_ssl.runs.cross_fitting import CrossFitted
from damage_ssl.runs.model import RunKind
from damage_ssl.runs.predictions import Prediction
from damage_ssl.runs.prior import kept_columns
from damage_ssl.runs.run import Run
from damage_ssl.runs.spatial_stack import joined_statements, stack_statement, stacked_live
from damage_ssl.settings import SplitSettings


class LiveKind(RunKind):
    """The live model: it has no run on disk."""

    name = "live"
    title = "Live model"
    statement = (
        "NOT VALIDATED: the numbers come from a quick model fitted while labelling, checked on its own labels only; "
        "use it to see where to look, and train a run before anybody decides by it."
    )
    exportable = False
    instead = "is fitted in the app while somebody labels, once it has features: damage-ssl features {event}"
    no_member = "is not a run"


LIVE = LiveKind()


def features_path(event: Event) -> Path:
    """The folder of an event's features."""
    return event.path / "features"


PACKAGED = "packaged"
"""In place of a file of weights: those that come with EfficientNet-Lite0."""


def make_features(
    event: Event, progress: ProgressCallback | None = None, *, weights: str | None = None, network: str | None = None
) -> int:
    """Compute the features of every assessed building, unless they are there from the same patches and weights.

    An interrupted computation is gone on with.

    Args:
        event: the event.
        progress: told the buildings done and all buildings.
        weights: a file that the frozen network starts from, `PACKAGED`, or None: as the last time.
        network: the encoder that the file's weights are of, where the file does not say.

    Returns:
        How many buildings have features.

    Raises:
        InputError: there is no such file of weights. SettingsError: it is of another network.
        WorkspaceError: the patches are not cut, hold no assessed building, or another process is at it.
        StorageError: the disk is full or read-only.
    """
    from damage_ssl.learning.features.event_features import write_features

    if network is not None and weights in (None, PACKAGED):
        raise SettingsError(f"features: network '{network}' is for a file of weights; give one with --weights FILE")
    if weights is None:
        start = features_start(event)
    else:
        start = None if weights == PACKAGED else FeatureInitialisation(Path(weights).resolve(), network)
    store = PatchStore.open(event.patches_path)
    index = store.index()
    building_id = index.loc[index["assessed"].to_numpy(bool), "building_id"].to_numpy(str)
    if not len(building_id):
        raise WorkspaceError(f"event '{event.name}': no building can be assessed, so there is nothing to describe")
    busy = f"event '{event.name}': another process is making its features; wait for it to end"
    with locked(event.path / ".features.lock", busy):
        write_features(store, building_id, features_path(event), weights=start, progress=progress)
    return len(building_id)


def features_ready(event: Event, patches: str | None = None) -> bool:
    """True where the features are there, of the patches as they are now and as this version writes them.

    `patches` is the fingerprint of the patches, for whoever has read it.
    """
    try:
        notes = read_json(features_path(event) / NOTES)
        current = (FORMAT_VERSION, patches or PatchStore.open(event.patches_path).fingerprint)
        return bool((notes["format"], notes["patches"]) == current)
    except (OSError, ValueError, KeyError, WorkspaceError):
        return False


def features_version(event: Event) -> str:
    """Changes when the features change."""
    return format((features_path(event) / NOTES).stat().st_mtime_ns, "x")


def features_start(event: Event) -> FeatureInitialisation | None:
    """The weights that the event's features were made with last; None where they were the packaged ones.

    A file that moved with the event's folder is found there.

    Raises:
        WorkspaceError: the file is gone, or was replaced by another.
    """
    try:
        notes = read_json(features_path(event) / NOTES).get("weights")
    except (OSError, ValueError):
        return None
    if notes is None:
        return None
    path = Path(notes["path"])
    for place in (path, event.path / "pretrained" / path.name):
        start = FeatureInitialisation(place, notes["network"])
        if place.is_file() and start.digest == notes["digest"]:
            return start
    raise WorkspaceError(
        f"event '{event.name}': its features were made with the weights {path}, which are gone or were changed; say "
        f"which to use: `damage-ssl features {event.name} --weights FILE`, or `--weights {PACKAGED}`"
    )


def read_features(event: Event, patches: str | None = None) -> EventFeatures:
    """The event's features, read once; `patches` as for `features_ready`.

    Raises:
        WorkspaceError: they are missing, or the patches were cut again since.
    """
    folder, command = features_path(event), f"`damage-ssl features {event.name}`"
    if not (folder / NOTES).exists():
        raise WorkspaceError(f"event '{event.name}': has no features for the live model yet; make them with {command}")
    if not features_ready(event, patches):
        raise WorkspaceError(
            f"event '{event.name}': its patches were cut again since the features were made, or an older version made "
            f"them; make them again with {command}"
        )
    return _read(folder, (folder / NOTES).stat().st_mtime_ns)


@lru_cache(maxsize=2)
def _read(folder: Path, modified_ns: int) -> EventFeatures:
    return EventFeatures.read(folder)


@dataclass(frozen=True, kw_only=True)
class LiveLabels:
    """The labels that a live model can learn from.

    `rows` [n] of the features and `classes` [n] of the scheme; labels of buildings that are not assessed, and answers
    that are no class (unclear, offset …), are left out.
    """

    rows: NDArray[np.intp]
    classes: NDArray[np.int64]

    def counts(self, scheme: ClassScheme) -> dict[str, int]:
        """Labels per class, classes without any included."""
        found = np.bincount(self.classes, minlength=len(scheme))
        return {name: int(count) for name, count in zip(scheme.class_names, found, strict=True)}


@dataclass(frozen=True, kw_only=True, eq=False)
class LivePrediction(Prediction):
    """What a live model says, calibrated by its labels as it sees them without having learned from them."""

    learned_from: Mapping[str, int]
    """Its labels per class."""
    unseen: CrossFitted | None = None
    """Its labels, each from the labels of other spatial blocks; None where their places are not known."""
    stack: StackFacts | None = None
    """What the spatial stack was found to be."""

    @cached_property
    def calibration(self) -> Calibration:
        """The map and the threshold; as they are and 0.5 without cross-fitted labels."""
        nothing = np.zeros((0, len(self.scheme)))
        return self.unseen.calibration if self.unseen else calibrate(nothing, np.zeros(0, dtype=np.int64), self.scheme)


def usable_labels(features: EventFeatures, current: pd.DataFrame, scheme: ClassScheme) -> LiveLabels:
    """The current labels (`LabelStore.current`) that the scheme has a class for, on buildings with features."""
    values = current["value"].tolist()
    class_of = {value: scheme.index_of(LabelValue(value)) for value in set(values)}
    found = [
        (features.row_of[building], class_index)
        for building, value in zip(current["building_id"].tolist(), values, strict=True)
        if (class_index := class_of[value]) is not None and building in features.row_of
    ]
    rows, classes = zip(*found, strict=True) if found else ((), ())
    return LiveLabels(rows=np.array(rows, dtype=np.intp), classes=np.array(classes, dtype=np.int64))


def fit_live(
    features: EventFeatures,
    current: pd.DataFrame,
    scheme: ClassScheme,
    *,
    place: pd.DataFrame | None = None,
    random: Collection[str] = (),
    others: Mapping[str, NDArray[np.float64]] | None = None,
) -> LivePrediction:
    """Fit on the current labels, cross-fit, stack (`others`: see `fit_stack`), calibrate, and predict every building.

    Args:
        features: of the event.
        current: the labels (`LabelStore.current`).
        scheme: the classes.
        place: `x_m`, `y_m` of each assessed building, by id; None: nothing is cross-fitted or calibrated.
        random: the labelled buildings that were drawn at random (`audit.drawn_at_random`).

    Raises:
        LabelsError: fewer than two classes of the scheme are labelled.
    """
    labels = usable_labels(features, current, scheme)
    counts = labels.counts(scheme)
    if len(np.unique(labels.classes)) < 2:
        have = ", ".join(f"{count} {name}" for name, count in counts.items())
        lacking = " or ".join(name for name, count in counts.items() if not count)
        raise LabelsError(f"live model: needs labels of two classes and has {have}; label a building that is {lacking}")
    fitted = fit_linear_probe(features.values, labels.rows, labels.classes)
    probabilities = np.zeros((len(fitted), len(scheme)))
    probabilities[:, : fitted.shape[1]] = fitted  # it knows no classes above the highest labelled one
    if place is None:
        return _prediction(features, scheme, probabilities, counts)
    at = place.loc[features.building_id.tolist(), ["x_m", "y_m"]].to_numpy(float)
    unseen, without = _cross_fitted(features, labels, scheme, at, random)
    image = damaged_probability(unseen.calibration.apply(probabilities, scheme), scheme)
    own = damaged_log_odds(probabilities, scheme)
    stacked, log_odds, facts = stacked_live(at, own, labels.rows, unseen, without, others)
    probabilities = stacked.calibration.apply(with_log_odds(probabilities, log_odds, scheme), scheme)
    return replace(
        _prediction(features, scheme, probabilities, counts), unseen=stacked, p_damaged_image=image, stack=facts
    )


def _prediction(
    features: EventFeatures, scheme: ClassScheme, probabilities: NDArray[np.float64], counts: Mapping[str, int]
) -> LivePrediction:
    return LivePrediction(
        scheme=scheme,
        building_id=features.building_id,
        probabilities=probabilities,
        p_damaged=damaged_probability(probabilities, scheme),
        uncertainty=normalised_entropy(probabilities),
        learned_from=counts,
    )


def _cross_fitted(
    features: EventFeatures, labels: LiveLabels, scheme: ClassScheme, at: NDArray[np.float64], random: Collection[str]
) -> tuple[CrossFitted, dict[int, NDArray[np.float64]]]:
    """The labels as a probe without their fold sees them, and by fold its log-odds of damaged of all buildings."""
    building_id, place = features.building_id[labels.rows], at[labels.rows]
    fold = block_folds(labelled_blocks(place[:, 0], place[:, 1], SplitSettings().block_m), labels.classes)
    judged = np.full((len(fold), len(scheme)), np.nan)
    without = {}
    for each, said in probes_without(features.values, labels.rows, labels.classes, fold, n_classes=len(scheme)):
        judged[fold == each] = said[labels.rows[fold == each]]
        without[each] = damaged_log_odds(said, scheme)
    drawn = np.isin(building_id, list(random))
    cross_fitted = CrossFitted(
        scheme=scheme,
        building_id=building_id,
        classes=labels.classes,
        fold=fold,
        random=drawn,
        probabilities=judged,
    )
    return cross_fitted, without


@dataclass(frozen=True)
class LiveModel:
    """The frozen features of an event with a classifier on its labels of one revision.

    `features` changes when the features change; `prediction` is what it says, fitted by whoever made it.
    """

    event: Event
    features: str
    revision: int
    prediction: LivePrediction = field(compare=False, repr=False)

    @property
    def model_id(self) -> str:
        return self.kind.name

    @property
    def stamp(self) -> str:
        return f"{self.features}-{self.revision}-{self.scheme.name}"

    @property
    def kind(self) -> RunKind:
        return LIVE

    @property
    def algorithm(self) -> str:
        return self.kind.name

    @property
    def scheme(self) -> ClassScheme:
        return self.prediction.scheme

    @property
    def threshold(self) -> float:
        return self.prediction.calibration.threshold

    @property
    def statement(self) -> str | None:
        return joined_statements(self.kind.statement, stack_statement(self.stack))

    @property
    def stack(self) -> StackFacts | None:
        return self.prediction.stack

    @property
    def validated(self) -> bool:
        return False

    @property
    def unseen(self) -> CrossFitted | None:
        return self.prediction.unseen

    @property
    def run(self) -> Run | None:
        return None

    @property
    def method(self) -> str | None:
        return self.kind.method

    @property
    def predictions(self) -> pd.DataFrame:
        return self.prediction.table()


def live_model_of(event: Event) -> LiveModel:
    """The live model on the labels of this moment.

    Raises:
        WorkspaceError: there are no features of the patches as they are now. LabelsError: fewer than two classes.
    """
    features, labels = read_features(event), open_labels(event)
    revision = labels.revision()
    place = PatchStore.open(event.patches_path).index().set_index("building_id")
    drawn, others = drawn_at_random(labels.log()), kept_columns(event, features.building_id)
    prediction = fit_live(features, labels.current(), damage_scheme(event), place=place, random=drawn, others=others)
    return LiveModel(event, features_version(event), revision, prediction)


def learning_curve_of(event: Event, *, seed: int = 0) -> LearningCurve:
    """What more labels would bring the live model, extrapolated from how it has learned so far.

    Raises:
        WorkspaceError: there are no features of the patches as they are now.
    """
    features = read_features(event)
    labels = usable_labels(features, open_labels(event).current(), damage_scheme(event))
    index = PatchStore.open(event.patches_path).index().set_index("building_id")
    at = index.loc[features.building_id[labels.rows].tolist(), ["x_m", "y_m"]].to_numpy(float)
    rng = np.random.default_rng(seed)
    return outlook(features.values[labels.rows], labels.classes, at[:, 0], at[:, 1], rng)
