"""Change score: a first map before any label, from how much each building changed; a run like any other.

Which change is damage is said as a number from 0 to 1. It is no probability. `learning.features.perceptual_distance`
measures the changes; a prior model, which has seen damage elsewhere, and the neighbours decide with it in which order
buildings stand (`evaluation.first_map`), not how many are called damaged.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from damage_ssl.checksums import checked_path
from damage_ssl.errors import DamageSSLError
from damage_ssl.evaluation.audit import drawn_at_random
from damage_ssl.evaluation.calibration import DEFAULT_THRESHOLD, Calibration, calibrate
from damage_ssl.evaluation.first_map import combined_score
from damage_ssl.evaluation.stacking.neighbourhood import neighbourhood
from damage_ssl.events.definition import damage_scheme
from damage_ssl.events.event import Event, open_labels
from damage_ssl.files import write_json
from damage_ssl.learning.settings import TrainSettings
from damage_ssl.patches.store import PatchStore
from damage_ssl.progress import ProgressCallback
from damage_ssl.runs.model import RunKind
from damage_ssl.runs.plan import PlannedRun, RunPlan, plan_of, planned_run
from damage_ssl.runs.predictions import CHUNK_BUILDINGS, prediction_table
from damage_ssl.runs.prior import choose_prior, chosen_before, event_prior
from damage_ssl.runs.run import Run
from damage_ssl.runs.transfer import labelled_buildings
from damage_ssl.settings import Resources, SplitSettings

if TYPE_CHECKING:
    from distributed import Client

USUAL_QUANTILE = 0.1
_NORMAL_QUANTILE = 1.2816  # of 0.9: a normal distribution's mean lies so many deviations above its lowest tenth
_SCORE_AT_UNRELATED = 0.95


@dataclass(frozen=True, kw_only=True)
class ChangeScale:
    """Where an event's changes lie; all in the unit of `perceptual_distance`, where unrelated buildings differ by 1.

    `usual` is the change of a building to which nothing happened (light, season, haze, lean); from `threshold` on a
    building is called damaged; `unrelated` is the change between pictures of two different buildings.
    """

    usual: float
    threshold: float
    unrelated: float

    def score(self, change: NDArray[np.float64]) -> NDArray[np.float64]:
        """Change → score in 0..1, monotone: 0.5 at the threshold, 0.95 at `unrelated`, 0.05 at `usual`."""
        odds = np.log(_SCORE_AT_UNRELATED / (1 - _SCORE_AT_UNRELATED))
        steps = (np.asarray(change, dtype=np.float64) - self.threshold) / (self.unrelated - self.threshold)
        return np.asarray(1 / (1 + np.exp(-np.clip(steps * odds, -30, 30))), dtype=np.float64)

    def calibration(self) -> Calibration:
        """The verdict without labels."""
        return Calibration(
            threshold=DEFAULT_THRESHOLD,
            temperature=1.0,
            n_validation=0,
            n_damaged=0,
            method=(
                f"no labels: half of the way from the event's usual change ({self.usual:.2f}, from its least changed "
                "buildings) to pictures of unrelated buildings (1); the score is not calibrated"
            ),
        )


def change_scale(change: NDArray[np.float64], unrelated: NDArray[np.float64]) -> ChangeScale:
    """Find the usual change of an event, and put the threshold half of the way from there to unrelated buildings.

    The usual change is taken from the least changed tenth, which also an event with most of its buildings destroyed
    has: their upper end plus what lies between there and the mean of a normal distribution that spreads like the
    unrelated pairs do. Tried beside it: Otsu's cut halves an event without damage (51 % of one with 0.7 % damaged); two
    normal distributions, one of them at the unrelated pairs, called next to nobody damaged where grades lie between.

    Args:
        change: of every building, [N], N ≥ 1.
        unrelated: of pairs of unrelated buildings, [n], n ≥ 2.
    """
    spread = float(np.std(unrelated))
    far = float(np.median(unrelated))
    usual = min(float(np.quantile(change, USUAL_QUANTILE)) + _NORMAL_QUANTILE * spread, far - max(spread, 0.05))
    return ChangeScale(usual=usual, threshold=(usual + far) / 2, unrelated=far)


class ChangeScoreKind(RunKind):
    """How much each building changed; taught by no label."""

    name = "perceptual-change"
    title = heading = "First map without labels"
    statement = (
        "This map is a change score, not a probability of damage: it compares pre and post and was taught by no "
        "label. New roofs, cars, building sites and water change a picture too; damage that leaves the roof as it was "
        "does not."
    )
    method = "change score, not a probability"
    measure = "change score"
    unit = "building"
    is_probability = False
    learns = False
    instead = "needs no labels and no training: damage-ssl zero-label {event}"
    no_member = "compared without labels"

    def predict(
        self,
        event: Event,
        run: Run,
        progress: ProgressCallback | None = None,
        *,
        resources: Resources | None = None,
        client: "Client | None" = None,
    ) -> pd.DataFrame:
        """Compare pre and post of every assessable building and finish the run; the table has a column `change` too.

        A chunk of buildings is in memory at a time.

        Raises:
            WorkspaceError: too few buildings to compare. StorageError: the disk is full.
        """
        store = PatchStore.open(event.patches_path)
        index = store.index()
        building_id = index.loc[index["assessed"].to_numpy(bool), "building_id"].to_numpy(str)
        total = len(building_id)
        run.set_status("running", step=0, steps=total)
        try:
            table = _scored(event, store, run, building_id, progress)
        except KeyboardInterrupt:
            run.set_status("cancelled", step=0, steps=total, message="interrupted; compare again to go on")
            raise
        except DamageSSLError as error:
            run.set_status("failed", step=0, steps=total, message=str(error))
            raise
        run.set_status("finished", step=total, steps=total)
        return table


CHANGE_SCORE = ChangeScoreKind()


def start_zero_label(
    event: Event, *, seed: int = 0, run_id: str | None = None, prior_model: str | None = None
) -> PlannedRun:
    """Find the run that compared these pixels before, or begin a new one.

    Labels are not needed. Where there are enough of both kinds already (as many as training asks for), they choose the
    threshold; the score of a building never depends on them. `prior_model` is the one that the ranking is made with
    (`prior.choose_prior`); None: by the event's hazard.

    Raises:
        InputError: there is no such prior model.
        WorkspaceError: the patches are not cut, or the named run is of another plan.
    """
    store, split = PatchStore.open(event.patches_path), SplitSettings()
    scheme = damage_scheme(event).binary  # pictures that changed do not say which grade
    train = TrainSettings(algorithm=CHANGE_SCORE.name, scheme=scheme.name, seed=seed)
    labelled = labelled_buildings(event, store, scheme)
    counts = labelled["class_index"].value_counts()
    least = split.min_train_per_class + split.min_validation_per_class
    if len(counts) < 2 or counts.min() < least:
        labelled = labelled.iloc[:0]
    prior = choose_prior(event, prior_model)
    plan = RunPlan(
        train=train,
        split=split,
        train_id=(),
        train_class=(),
        validation_id=tuple(labelled["building_id"].astype(str)),
        validation_class=tuple(int(index) for index in labelled["class_index"]),
        block_m=split.block_m,
        patches_fingerprint=store.fingerprint,
        random_id=tuple(sorted(drawn_at_random(open_labels(event).log()) & set(labelled["building_id"]))),
        prior=() if prior is None else prior.references,
    )
    return planned_run(event, plan, run_id=run_id)


def _scored(
    event: Event, store: PatchStore, run: Run, building_id: NDArray[np.str_], progress: ProgressCallback | None
) -> pd.DataFrame:
    from damage_ssl.learning.features.perceptual_distance import measure_unit, pair_distances

    plan, total = plan_of(run), len(building_id)
    unit = measure_unit(store, building_id, np.random.default_rng(plan.train.seed))
    change = np.empty(total, dtype=np.float64)
    for start in range(0, total, CHUNK_BUILDINGS):
        rows = slice(start, start + CHUNK_BUILDINGS)
        change[rows] = unit.change(pair_distances(store.load(building_id[rows])))
        done = min(start + CHUNK_BUILDINGS, total)
        run.set_status("running", step=done, steps=total)
        if progress is not None:
            progress(done, total)
    scale = change_scale(change, unit.unrelated)
    score = _ranked(event, store, plan, building_id, scale.score(change), progress)
    probabilities = np.column_stack([1 - score, score])
    calibration = scale.calibration()
    if plan.validation_id:
        row_of = {building: row for row, building in enumerate(building_id.tolist())}
        rows_seen = np.array([row_of[building] for building in plan.validation_id], dtype=np.intp)
        drawn = np.isin(plan.validation_id, plan.random_id)
        calibration = calibrate(probabilities[rows_seen], np.array(plan.validation_class), plan.scheme, random=drawn)
    table = prediction_table(building_id, calibration.apply(probabilities, plan.scheme), plan.scheme)
    write_json(run.path / "change.json", {**vars(scale), "level": unit.level.tolist()})
    calibration.write(run.calibration_path)
    with checked_path(run.predictions_path) as temporary:
        table.assign(change=change).to_parquet(temporary, index=False)
    return table


def _ranked(
    event: Event,
    store: PatchStore,
    plan: RunPlan,
    building_id: NDArray[np.str_],
    score: NDArray[np.float64],
    progress: ProgressCallback | None,
) -> NDArray[np.float64]:
    """The scores in the order that the plan's prior model and the neighbours give them; as they are without one."""
    prior = chosen_before(plan.prior)
    if prior is None:
        return score
    log_odds = event_prior(event, prior, progress).reindex(building_id).fillna(0.0).to_numpy(np.float64)
    index = store.index().set_index("building_id").loc[building_id.tolist()]
    return combined_score(score, log_odds, neighbourhood(index[["x_m", "y_m"]].to_numpy(np.float64)))
