"""An event on disk: its scenes, its footprints and where every later stage keeps its files."""

import os
import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from damage_ssl.errors import InputError, WorkspaceError, nearest_name
from damage_ssl.events.rewriting import finish_rewriting, rewritten
from damage_ssl.files import read_json, write_json
from damage_ssl.footprints.footprint_set import FILES as FOOTPRINT_FILES
from damage_ssl.footprints.footprint_set import (
    FOOTPRINTS_FILE,
    FootprintSet,
    SourceReport,
    footprints_in_file,
    read_footprints_file,
    read_left_out,
    read_reports,
    read_settings,
    write_footprints,
)
from damage_ssl.imagery.scene import ROLE_PROPERTY, Role, Scene
from damage_ssl.settings import FootprintSettings

if TYPE_CHECKING:
    import geopandas as gpd
    import pandas as pd
    from shapely.geometry.base import BaseGeometry

    from damage_ssl.labels.label_log import LabelStore

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
AREA_FILE = "aoi.geojson"
WHOLE_FOLDER = "footprints_whole"
"""The footprints as they were before an area of interest was set; see `events.area`."""

_WRITTEN = {"collection.json", "items", *FOOTPRINT_FILES, AREA_FILE, WHOLE_FOLDER}
_IMPORTED = {"images", "truth.csv"}  # by the xBD import only
_MADE_HERE = _WRITTEN | _IMPORTED


@dataclass(frozen=True)
class Event:
    """One disaster in a workspace: `path` is the folder `<workspace>/<name>`.

    Examples:
        >>> event = Event.open("workspace", "town")
        >>> event.scenes("pre")[0].role
        'pre'
        >>> len(event.footprints())
        60
    """

    path: Path
    name: str

    @classmethod
    def create(
        cls,
        workspace: str | Path,
        name: str,
        *,
        pre: Sequence[str | Path],
        post: Sequence[str | Path],
        footprints: str | Path | Sequence[str | Path] | None = None,
        aoi: Path | None = None,
        hazard: str | None = None,
        pre_datetime: str | None = None,
        post_datetime: str | None = None,
        bands: Mapping[Role, tuple[int, ...]] | None = None,
        footprint_settings: FootprintSettings | None = None,
        overwrite: bool = False,
    ) -> "Event":
        """Check all inputs, then write the event's folder in one step.

        A raster path is a file, a folder or a glob. Rasters are referenced where they lie, not copied. Several files of
        footprints are merged, the preferred one first; without any, they come later (`set_footprints`). Which of a
        file's footprints are the event's: see `read_footprints`. With `overwrite`, scenes and footprints are replaced;
        labels, patches, runs and products of the older event stay, and its footprints and AOI too where none are given.

        Raises:
            InputError: an input cannot be used, or imagery and footprints do not overlap.
            WorkspaceError: the event exists already and `overwrite` is False.
            StorageError: the disk is full or read-only.
        """
        from damage_ssl.events.coverage import check_aoi, check_overlap, extent_of
        from damage_ssl.events.inputs import inspect_sides
        from damage_ssl.footprints.reader import read_aoi, read_footprints

        event = cls.vacant(Path(workspace), name, overwrite=overwrite)
        scenes, notes = inspect_sides(pre, post, pre_datetime=pre_datetime, post_datetime=post_datetime, bands=bands)
        area = None if aoi is None else read_aoi(aoi)
        found = None
        if footprints is not None:
            found = read_footprints(footprints, aoi=area, imagery=extent_of(scenes), settings=footprint_settings)
        check_overlap(scenes, found)
        check_aoi(scenes, area, aoi)
        if footprints is None:
            found, old_area = event._footprints_kept(scenes)
            area = area or old_area
        kept = {WHOLE_FOLDER} if footprints is None else set()
        with rewritten(event.path, lambda folder: event.replaced_by(folder) - kept) as folder:
            write_event(folder, event, scenes, found, area, hazard or notes.hazard, notes.source)
        return event

    @classmethod
    def open(cls, workspace: str | Path, name: str) -> "Event":
        """Open an event of a workspace.

        Raises:
            WorkspaceError: there is no such event; the message names those that exist.
        """
        event = cls(Path(workspace).absolute() / name, name)
        if not _NAME.fullmatch(name) or not (event.path / "collection.json").is_file():
            known = list_events(workspace)
            hint = nearest_name(name, known) if known else "there are none yet; create one with `damage-ssl init`"
            raise WorkspaceError(f"{workspace}: no event '{name}': {hint}")
        finish_rewriting(event.path)
        return event

    def scenes(self, role: Role) -> list[Scene]:
        """The scenes of one side, in the order of their ids."""
        from damage_ssl.events.stac import read_scenes

        return [scene for scene in read_scenes(self.path) if scene.role == role]

    def pre_and_post(self) -> tuple[list[Scene], list[Scene]]:
        """The scenes of both dates, read once, each in the order of their ids.

        Raises:
            WorkspaceError: one date has none.
        """
        from damage_ssl.events.stac import read_scenes

        scenes = read_scenes(self.path)
        pre, post = ([scene for scene in scenes if scene.role == role] for role in ("pre", "post"))
        if not pre or not post:
            raise WorkspaceError(f"{self.path}: has no {'post' if pre else 'pre'} scenes; create the event again")
        return pre, post

    def scene_roles(self) -> dict[str, Role]:
        """The side of each scene by its id; what else they are is not read.

        Raises:
            WorkspaceError: an item cannot be read.
        """
        roles: dict[str, Role] = {}
        for path in (self.path / "items").glob("*.json"):
            try:
                roles[path.stem] = read_json(path)["properties"][ROLE_PROPERTY]
            except (OSError, ValueError, KeyError, TypeError) as error:
                raise WorkspaceError(
                    f"{path}: is not a scene of an event ({error!r}); create the event again"
                ) from error
        return roles

    def footprints(self) -> "gpd.GeoDataFrame":
        """All footprints in EPSG:4326: building_id, source, source_id, area_m2, geometry_kind, confidence, geometry.

        Raises:
            WorkspaceError: there are none yet, or the file is broken.
        """
        if not self.has_footprints:
            raise WorkspaceError(
                f"{self.path}: event '{self.name}' has no footprints yet; get some with `damage-ssl footprints fetch "
                f"{self.name}` or `damage-ssl footprints detect {self.name}`, or give a file of your own with "
                f"`damage-ssl init {self.name} --footprints … --overwrite`"
            )
        return read_footprints_file(self.footprints_path)

    @property
    def footprint_count(self) -> int:
        """How many footprints there are, without reading them; 0 where there are none yet.

        Raises:
            WorkspaceError: the file is broken.
        """
        return footprints_in_file(self.footprints_path) if self.has_footprints else 0

    @property
    def has_footprints(self) -> bool:
        """Whether there are footprints; an event may be made without and get them later."""
        return self.footprints_path.is_file()

    def set_footprints(self, found: FootprintSet) -> None:
        """Give the event these footprints, in place of any that it has. Labels, patches and runs stay as they are.

        Raises:
            InputError: none of them lies where there is imagery of both sides; the event is as it was.
            StorageError: the disk is full or read-only.
        """
        from damage_ssl.events.coverage import check_overlap
        from damage_ssl.events.stac import read_scenes

        check_overlap(read_scenes(self.path), found)
        write_footprints(self.path, found)
        shutil.rmtree(self.path / WHOLE_FOLDER, ignore_errors=True)  # of those that were replaced

    def footprint_sources(self) -> tuple[SourceReport, ...]:
        """What became of each file of footprints: how many were in it, kept, repaired and left out."""
        return read_reports(self.path)

    def footprint_settings(self) -> FootprintSettings:
        """How the footprints were read; the defaults where that was not recorded."""
        return read_settings(self.path)

    def footprints_left_out(self) -> "pd.DataFrame":
        """Footprints in the event's area that were left out: source, source_id, reason, duplicate_of, overlap."""
        return read_left_out(self.path)

    def aoi(self) -> "BaseGeometry | None":
        """The area of interest in EPSG:4326, if one was given."""
        from shapely.geometry import shape

        path = self.path / AREA_FILE
        return shape(read_json(path)["features"][0]["geometry"]) if path.exists() else None

    @property
    def hazard(self) -> str | None:
        """The kind of disaster, e.g. `fire`, if it is known."""
        value = self.collection().get("damage_ssl:hazard")
        return None if value is None else str(value)

    @property
    def created(self) -> datetime:
        """When the event was set up."""
        return datetime.fromisoformat(str(self.collection()["damage_ssl:created"]))

    @property
    def footprints_path(self) -> Path:
        """GeoParquet of the footprints."""
        return self.path / FOOTPRINTS_FILE

    @property
    def patches_path(self) -> Path:
        """Folder of the patch store."""
        return self.path / "patches"

    @property
    def labels_path(self) -> Path:
        """The SQLite file of the labels."""
        return self.path / "labels.sqlite"

    @property
    def runs_path(self) -> Path:
        """Folder of the training runs."""
        return self.path / "runs"

    @property
    def products_path(self) -> Path:
        """Folder of what was handed over."""
        return self.path / "products"

    @property
    def truth_path(self) -> Path:
        """`building_id,grade` of a benchmark event, written by the xBD import."""
        return self.path / "truth.csv"

    @classmethod
    def vacant(cls, workspace: Path, name: str, *, overwrite: bool) -> "Event":
        """The place of an event that is about to be written.

        Raises:
            InputError: not a name for an event. WorkspaceError: something lies there that may not be overwritten.
        """
        if not _NAME.fullmatch(name):
            raise InputError(
                f"event name '{name}': use letters, digits, '.', '_' and '-', beginning with a letter or digit"
            )
        event = cls(workspace.absolute() / name, name)
        if not event.path.exists():
            return event
        if not event.path.is_dir():
            raise WorkspaceError(f"{event.path}: is a file; choose another event name or workspace")
        there = {entry.name for entry in event.path.iterdir()}
        if there and not overwrite:
            raise WorkspaceError(f"{event.path}: exists already; choose another name, or ask to overwrite it")
        if "collection.json" not in there and there & _MADE_HERE:
            raise WorkspaceError(
                f"{event.path}: was not made by damage_ssl and holds {', '.join(sorted(there & _MADE_HERE))}, "
                "which would be overwritten; choose another event name or workspace"
            )
        return event

    def replaced_by(self, folder: Path) -> set[str]:
        """What an event made anew in `folder` takes the place of; labels, patches, runs and others' files stay.

        Images and grades that an xBD import wrote go with it.
        """
        return _MADE_HERE if self._has_imported_images() and not _points_into(folder, self.path) else _WRITTEN

    def _has_imported_images(self) -> bool:
        try:
            return _points_into(self.path, self.path)
        except WorkspaceError:  # the older event is broken: nothing of it is thrown away
            return False

    def _footprints_kept(self, scenes: list[Scene]) -> "tuple[FootprintSet | None, BaseGeometry | None]":
        """The footprints and AOI of an older event of this name, which stay where no others are given."""
        if not self.has_footprints:
            return None, None
        kept = FootprintSet(
            self.footprints(),
            None,
            0,
            0,
            self.footprints_left_out(),
            self.footprint_sources(),
            self.footprint_settings(),
        )
        from damage_ssl.events.coverage import check_overlap

        try:
            check_overlap(scenes, kept)
        except InputError as error:
            raise InputError(f"{error}; these are the footprints that '{self.name}' has; give others") from error
        return kept, self.aoi()

    def collection(self) -> dict[str, Any]:
        """The event's STAC collection; raises WorkspaceError where it is damaged."""
        path = self.path / "collection.json"
        try:
            values: dict[str, Any] = read_json(path)
            values["damage_ssl:created"]
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise WorkspaceError(f"{path}: is not an event's collection ({error!r}); create the event again") from error
        return values


def list_events(workspace: str | Path) -> list[str]:
    """Names of the events in a workspace, sorted."""
    found = Path(workspace).glob("*/collection.json")  # of a folder that is not there, nothing
    return sorted(path.parent.name for path in found if _NAME.fullmatch(path.parent.name))


def write_event(
    folder: Path,
    event: Event,
    scenes: list[Scene],
    found: FootprintSet | None,
    aoi: "BaseGeometry | None",
    hazard: str | None,
    source: str | None,
) -> None:
    """Write collection, items, footprints and AOI of an event into `folder`."""
    from damage_ssl.events.stac import write_collection

    created = datetime.now(UTC)
    write_collection(folder, name=event.name, scenes=scenes, hazard=hazard, source=source, created=created)
    if found is not None:
        write_footprints(folder, found)
    if aoi is not None:
        from shapely.geometry import mapping

        feature = {"type": "Feature", "properties": {}, "geometry": mapping(aoi)}
        write_json(folder / AREA_FILE, {"type": "FeatureCollection", "features": [feature]})


def _points_into(folder: Path, event: Path) -> bool:
    """Whether a scene that is described in `folder` is an image that the xBD import wrote into `event`."""
    from damage_ssl.events.stac import read_scenes

    return any(Path(scene.href).is_relative_to(event / "images") for scene in read_scenes(folder))


LABELS_URL = "DAMAGE_SSL_LABELS"
"""The environment variable with the URL of a database that keeps the labels of all events."""


def open_labels(event: Event) -> "LabelStore":
    """The event's label log: a file in its folder, or where `$DAMAGE_SSL_LABELS` says (`postgresql://user@host/database`).

    In a database the events are told apart by their names.

    Raises:
        InputError: the URL cannot be used. StorageError: the place cannot be reached.

    Examples:
        >>> sum(open_labels(event).counts().values())
        40
    """
    from damage_ssl.labels.label_log import LabelStore

    url = os.environ.get(LABELS_URL)
    if url and not url.startswith("postgres"):
        raise InputError(f"${LABELS_URL}: only PostgreSQL keeps the labels of several events; give postgresql://…")
    return LabelStore(url or event.labels_path, event=event.name)
