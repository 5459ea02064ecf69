"""What `damage-ssl footprints fetch` does."""

import dataclasses
import shlex
from pathlib import Path

from damage_ssl.cli.console import Console
from damage_ssl.cli.place import Place, find_place
from damage_ssl.errors import InputError
from damage_ssl.event.footprints import FootprintSet, read_footprints
from damage_ssl.event.providers.fetching import fetch_footprints, find_provider, note_path
from damage_ssl.event.providers.model import Fetched
from damage_ssl.files import atomic_path, write_json

_OGR_SUFFIXES = {".geojson": "GeoJSON", ".gpkg": "GPKG"}


def fetch(
    console: Console,
    workspace: Path,
    name: str | None,
    bbox: str | None,
    *,
    source: str,
    out: Path | None,
    release: str | None,
    date: str | None,
    overwrite: bool,
) -> None:
    """Fetch footprints into the event, or into a file."""
    provider = find_provider(source)
    if date is not None and source != "osm":
        raise InputError("--date: only --source osm can show the map of another day; Overture takes --release")
    if release is not None and source != "overture":
        raise InputError(f"--release: {provider.title} has none to choose from; it is for --source overture")
    place = find_place(workspace, name, bbox)
    if out is None and place.event is None:
        raise InputError(
            f"footprints fetch: '{name or bbox}' is no event of {workspace}; give --out FILE to write the buildings to"
        )
    if out is None and place.event is not None and place.event.has_footprints and not overwrite:
        raise InputError(
            f"event '{place.event.name}' has footprints already; replace them with --overwrite (labels stay with their "
            "building_id), or write a file with --out"
        )
    raw = _target(place, out, provider.name, provider.suffix)
    with console.progress(source) as bar:

        def move(done: int, total: int, remark: str = "") -> None:
            bar(done, max(done, total), remark)

        fetched = fetch_footprints(source, place.box, raw, release=date or release, move=move)
    if out is None and place.event is not None:
        found = read_footprints(raw, aoi=place.aoi, imagery=place.imagery)
        place.event.set_footprints(found)
        console.say(f"event '{place.event.name}': {len(found.table):,} footprints from {_origin(fetched)}")
        console.say(f"kept as fetched: {raw}")
    else:
        found = read_footprints(raw)
        written = _write(found, fetched, raw, out or raw)
        console.say(f"{written}: {len(found.table):,} footprints from {_origin(fetched)}")
    console.say(f'licence {fetched.licence}: credit "{fetched.attribution}" in what you make of them ({fetched.about})')
    if out is not None:
        console.say(f"next: damage-ssl init EVENT --pre … --post … --footprints {shlex.quote(str(out))}")
    elif place.event is not None:
        console.say(f"next: damage-ssl patches {place.event.name}")
    console.result({**dataclasses.asdict(fetched), "path": str(out or raw), "footprints": len(found.table)})


def _target(place: Place, out: Path | None, source: str, suffix: str) -> Path:
    """Where the provider's own file goes: under the event, to `--out`, or beside it where `--out` is another format."""
    if out is None:
        folder = place.event.path if place.event is not None else Path()
        return folder / "fetched" / f"{source}{suffix}"
    if out.name.lower().endswith(suffix):
        return out
    if out.suffix.lower() in _OGR_SUFFIXES:
        return out.with_name(f".{out.name}.fetched{suffix}")
    raise InputError(f"--out {out}: write {suffix} (as {source} gives it), {' or '.join(_OGR_SUFFIXES)}")


def _write(found: FootprintSet, fetched: Fetched, raw: Path, out: Path) -> Path:
    if out == raw:
        return out
    try:
        with atomic_path(out) as temporary:
            found.table.to_file(temporary, driver=_OGR_SUFFIXES[out.suffix.lower()], layer="footprints")
        write_json(note_path(out), {**dataclasses.asdict(fetched), "path": out.name})
    finally:
        raw.unlink(missing_ok=True)
        note_path(raw).unlink(missing_ok=True)
    return out


def _origin(fetched: Fetched) -> str:
    return fetched.title + (f" ({fetched.release})" if fetched.release and fetched.release not in fetched.title else "")
