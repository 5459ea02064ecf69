"""The hand-over pack of an event's map: what goes in, gathered from the event and the model behind the map.

`pack_files` writes it. `hand_over` keeps packs under the event's products, where the app finds them again;
`write_event_pack` writes one wherever it is asked to.
"""

import hashlib
import json
import re
from collections import Counter
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from damage_ssl import __version__
from damage_ssl.errors import InputError
from damage_ssl.events.definition import damage_scheme
from damage_ssl.events.event import Event, open_labels
from damage_ssl.events.licence import recorded_licence
from damage_ssl.imagery.scene import Role
from damage_ssl.products.handover.card import CardFacts
from damage_ssl.products.handover.facts import HandoverFacts
from damage_ssl.products.handover.map_export import card_facts, export_table
from damage_ssl.products.handover.pack_files import Pack, open_pack, refuse_foreign, write_pack
from damage_ssl.products.handover.pages import check_pages
from damage_ssl.products.handover.receiver_note import PackFacts
from damage_ssl.products.selection import Selection
from damage_ssl.products.totals import event_totals
from damage_ssl.progress import ProgressCallback
from damage_ssl.runs.finished_run import FinishedRun
from damage_ssl.runs.model import MapModel
from damage_ssl.runs.plan import RunPlan

if TYPE_CHECKING:
    import geopandas as gpd

LABELS_ONLY = "labels-only"
"""The folder of packs of a map without any model."""

_ROLES: tuple[Role, Role] = ("pre", "post")


@dataclass(frozen=True, kw_only=True)
class PackOptions:
    """What a receiver is given beside the map: `licence` says what may be done with it and whom to name (None: what the
    event's catalogue says), `language` is that of report and offline map, `template` a folder with an organisation's
    logo and wording, `units` areas to give totals by (`unit_id`, `name`, geometry), `shapefile` whether one goes along,
    `imagery` whether pictures of the images go out with the offline map (None: where an open licence lets them).
    """

    licence: str | None = None
    language: str = "en"
    template: Path | None = None
    units: "gpd.GeoDataFrame | None" = None
    shapefile: bool = False
    imagery: bool | None = None

    def check(self) -> None:
        """Raises InputError where the language is not known or the template cannot be used."""
        check_pages(self.language, self.template)


def pack_folder(event: Event, model: MapModel | None, selection: Selection, options: PackOptions | None = None) -> Path:
    """Where the pack of this map lies in the event: other predictions, labels, filters or options have another folder.

    Raises:
        InputError: units and templates, which are files of their own, go with `write_event_pack` only.
    """
    options = options or PackOptions()
    if options.units is not None or options.template is not None:
        raise InputError("pack: units and a template go with --pack DIR")
    changed = [event.footprints_path, event.patches_path / "index.parquet"]
    key = [
        event.name,
        damage_scheme(event).name if model is None else model.stamp,
        open_labels(event).revision(),
        [path.stat().st_mtime_ns if path.exists() else 0 for path in changed],
        selection.to_json(),
        options.licence,
        __version__,
        options.language,
        options.shapefile,
        options.imagery,
    ]
    digest = hashlib.sha256(json.dumps(key).encode()).hexdigest()[:12]
    part = "map" if selection.is_open else "selection"
    return event.products_path / (LABELS_ONLY if model is None else model.model_id) / f"{part}-{digest}"


def hand_over(
    event: Event,
    model: MapModel | None,
    *,
    selection: Selection | None = None,
    options: PackOptions | None = None,
    table: "gpd.GeoDataFrame | None" = None,
    progress: ProgressCallback | None = None,
) -> Pack:
    """Write the pack of a map under the event's products, with its ZIP, or find the one that is there already.

    Arguments and errors are those of `write_event_pack`.
    """
    selection = selection or Selection()
    folder = pack_folder(event, model, selection, options)
    if (found := open_pack(folder)) is not None:
        return found
    return write_event_pack(
        folder, event, model, selection=selection, options=options, table=table, with_zip=True, progress=progress
    )


def write_event_pack(
    folder: Path,
    event: Event,
    model: MapModel | None,
    *,
    selection: Selection | None = None,
    options: PackOptions | None = None,
    table: "gpd.GeoDataFrame | None" = None,
    with_zip: bool = False,
    progress: ProgressCallback | None = None,
) -> Pack:
    """Write the pack of a map as a folder, in place of an older pack.

    Args:
        folder: a new or empty folder, or one that holds a pack and nothing else.
        event: the event.
        model: whose numbers; None: coverage and the analysts' answers only.
        selection: which buildings; None: all.
        options: licence, language, template, units and what goes along.
        table: the whole map, if it was made before.
        with_zip: whether a ZIP of it goes beside it.
        progress: told the files written, and all files.

    Raises:
        InputError: the folder holds other files, no building is left, the selection names a class that there is none
            of, or an option cannot be used. StorageError: the disk is full.
        WorkspaceError: the patches are not cut, or the run has not predicted.
    """
    selection, options = selection or Selection(), options or PackOptions()
    selection.check((damage_scheme(event) if model is None else model.scheme).class_names)
    options.check()
    folder = folder.resolve()
    refuse_foreign(folder)
    finished = model if isinstance(model, FinishedRun) else None
    table = export_table(event, model) if table is None else table
    card, facts = _card_facts(event, model), _facts(event, model, options.licence)
    handing = _handing(event, model, table, selection, options, card, facts)
    return write_pack(
        folder,
        handing,
        open_labels(event).current(),
        selection,
        card=replace(card, totals=handing.totals),
        facts=facts,
        settings={} if finished is None else _settings(finished.plan),
        with_zip=with_zip,
        shapefile=options.shapefile,
        progress=progress,
    )


def _handing(
    event: Event,
    model: MapModel | None,
    table: "gpd.GeoDataFrame",
    selection: Selection,
    options: PackOptions,
    card: CardFacts,
    facts: PackFacts,
) -> HandoverFacts:
    pre, post = event.pre_and_post()
    return HandoverFacts(
        event_name=event.name,
        hazard=event.hazard,
        table=table,
        rows=np.flatnonzero(selection.mask(table)),
        selection_words=selection.words,
        totals=event_totals(event, model, table, units=options.units),
        units=options.units,
        scheme=facts.scheme,
        statement=_validation_in_words(model, card),
        licence=facts.licence,
        imagery=facts.imagery,
        shows_imagery=is_open(facts.licence) if options.imagery is None else options.imagery,
        pre_scenes=pre,
        post_scenes=post,
        aoi=event.aoi(),
        created=facts.created,
        version=facts.version,
        run_id=facts.run_id,
        method="answers of analysts only, no model" if model is None else model.method or model.algorithm,
        language=options.language,
        template=options.template,
    )


def _validation_in_words(model: MapModel | None, card: CardFacts) -> str | None:
    """How far the model was checked; None where there is none."""
    if model is None:
        return None
    said = [model.statement] if model.statement else []
    found = card.validation
    if found is None or not model.validated:
        return " ".join([*said, "Not validated: nothing was held out to check it."])
    return " ".join(
        [*said, f"Checked on {found.n:,} buildings that it had not learned from: AUROC {found.auroc}, F1 {found.f1}."]
    )


_OPEN = re.compile(r"\b(cc0|cc[ -]by|public domain|pddl|odc-by|odbl|open government licen[cs]e)\b", re.IGNORECASE)
_CLOSED = re.compile(r"\b(nd|no[ -]?deriv\w*)\b", re.IGNORECASE)


def is_open(licence: str | None) -> bool:
    """Whether a licence is one of the open ones that let pictures of the images be passed on; never a guess."""
    return licence is not None and bool(_OPEN.search(licence)) and not _CLOSED.search(licence)


def _card_facts(event: Event, model: MapModel | None) -> CardFacts:
    if model is None:
        return CardFacts(event=event.name, hazard=event.hazard, scheme=damage_scheme(event))
    if isinstance(model, FinishedRun):
        return card_facts(event, model)
    return CardFacts(
        event=event.name,
        hazard=event.hazard,
        kind=model.kind,
        algorithm=model.algorithm,
        scheme=model.scheme,
        label_counts=Counter({value.value: count for value, count in open_labels(event).counts().items()}),
        statement=model.statement,
    )


def _facts(event: Event, model: MapModel | None, licence: str | None) -> PackFacts:
    return PackFacts(
        event=event.name,
        hazard=event.hazard,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        version=__version__,
        run_id=None if model is None else model.model_id,
        algorithm=None if model is None else model.algorithm,
        scheme=damage_scheme(event) if model is None else model.scheme,
        threshold=None if model is None else model.threshold,
        statement=None if model is None else model.statement,
        validated=model is not None and model.validated,
        imagery=[line for role in _ROLES for line in _scene_lines(event, role)],
        sources=_source_lines(event),
        licence=licence or recorded_licence(event),
    )


def _settings(plan: RunPlan) -> dict[str, Any]:
    """Settings without the lists of buildings, which labels.csv and the run itself hold."""
    values = plan.to_json()
    kept = {key: values[key] for key in ("train", "split", "block_m", "patches_fingerprint", "version")}
    if plan.sources:
        kept["sources"] = [
            {
                "event": source.event,
                "trained_on": len(source.train_id),
                "validated_on": len(source.validation_id),
                "patches_fingerprint": source.patches_fingerprint,
            }
            for source in plan.sources
        ]
    return kept


def _scene_lines(event: Event, role: Role) -> list[str]:
    return [
        f"{role}: {scene.scene_id}, {'date unknown' if scene.datetime is None else f'{scene.datetime:%Y-%m-%d}'}"
        f", {scene.gsd_m:.2f} m a pixel{f', {scene.sensor}' if scene.sensor else ''}"
        for scene in event.scenes(role)
    ]


def _source_lines(event: Event) -> list[str]:
    return [
        f"{report.source}: {report.kept:,} outlines{f', from {Path(report.path).name}' if report.path else ''}"
        for report in event.footprint_sources()
    ]
