"""Prior models made: those that are packaged, of simulated towns, and a user's own, of events that were labelled."""

from collections.abc import Callable, Sequence
from pathlib import Path

from damage_ssl import __version__
from damage_ssl.damage_scale import DEFAULT_SCHEME, scheme_named
from damage_ssl.errors import LabelsError
from damage_ssl.events.definition import damage_scheme
from damage_ssl.events.event import Event
from damage_ssl.learning.features.pair_features import FORMAT_VERSION, make_pair_features
from damage_ssl.learning.prior.fitting import FittedPrior, Source, fit_prior, labelled_source
from damage_ssl.learning.prior.hazards import ALL, MODELS
from damage_ssl.learning.prior.model import SUFFIX, ModelCard, PriorModel
from damage_ssl.patches.store import PatchStore
from damage_ssl.progress import ProgressCallback
from damage_ssl.runs.prior_towns import TOWNS, town_sources
from damage_ssl.runs.transfer import labelled_buildings

PACKAGED_LICENCE = "Apache-2.0 (as damage_ssl); learned from simulated towns only (CC0-1.0)"


def build_packaged(
    work: Path, out: Path, *, towns: int = TOWNS, progress: Callable[[int, int], None] | None = None
) -> list[Path]:
    """Make the packaged models: one for each hazard of the simulation, and one of all towns.

    Args:
        work: keeps the towns' features, so that what was stopped is gone on with.
        out: the folder that the models are written to.
        towns: of each hazard.
        progress: told the towns done and all towns.

    Raises:
        StorageError: the disk is full or read-only.
    """
    by_hazard = town_sources(work, towns=towns, progress=progress)
    out.mkdir(parents=True, exist_ok=True)
    written = []
    for name in MODELS:
        sources = [source for each in by_hazard.values() for source in each] if name == ALL else by_hazard[name]
        title = f"{len(sources)} simulated towns, {'all hazards' if name == ALL else name}"
        model = _model(
            name,
            title,
            sources,
            damaged_means=scheme_named(DEFAULT_SCHEME).statement,
            licence=PACKAGED_LICENCE,
            synthetic=True,
        )
        written.append(out / f"{name}{SUFFIX}")
        model.write(written[-1])
    return written


def build_from_events(
    name: str, events: Sequence[Event], *, licence: str, progress: ProgressCallback | None = None
) -> PriorModel:
    """A prior model of the labelled buildings of events; what counts as damaged is said by each event's definition.

    Raises:
        LabelsError: an event has too few labels of one class, or two events call different things damaged.
        WorkspaceError: an event's patches are not cut.
    """
    means = {damage_scheme(event).binary.statement for event in events}
    if len(means) != 1:
        raise LabelsError(
            f"model '{name}': the events call different things damaged ({'; '.join(sorted(means))}); set one "
            "definition with `damage-ssl define`"
        )
    sources = []
    for event in events:
        scheme = damage_scheme(event).binary
        labelled = labelled_buildings(event, PatchStore.open(event.patches_path), scheme)
        features = make_pair_features(event, progress)
        ids, damaged = labelled["building_id"].to_numpy(str), labelled["class_index"].to_numpy() > 0
        sources.append(labelled_source(event.name, features, ids, damaged))
    title = ", ".join(event.name for event in events)
    return _model(name, title, sources, damaged_means=means.pop(), licence=licence, synthetic=False)


def _model(
    name: str, title: str, sources: Sequence[Source], *, damaged_means: str, licence: str, synthetic: bool
) -> PriorModel:
    fitted: FittedPrior = fit_prior(sources)
    card = ModelCard(
        name=name,
        title=title,
        learned_from=tuple(source.name for source in sources),
        buildings=sum(len(source.damaged) for source in sources),
        damaged=sum(int(source.damaged.sum()) for source in sources),
        damaged_means=damaged_means,
        licence=licence,
        synthetic=synthetic,
        auroc=fitted.auroc,
        made_with=f"damage_ssl {__version__}",
        features=FORMAT_VERSION,
    )
    return PriorModel(weights=fitted.weights, intercept=fitted.intercept, temperature=fitted.temperature, card=card)
