"""README.txt of a hand-over pack: for the person who gets it, in plain words and plain text."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from damage_ssl.damage_scale import ClassScheme, reason_words
from damage_ssl.products.selection import Selection


@dataclass(frozen=True, kw_only=True)
class PackFacts:
    """What the receiver is told beside the map's own rows.

    `statement` is a warning about the numbers as a whole, None where there is none; `imagery` and `sources` say where
    images and outlines come from, a line each; `created` is ISO 8601.
    """

    event: str
    hazard: str | None
    created: str
    version: str
    run_id: str | None
    algorithm: str | None
    scheme: ClassScheme | None
    threshold: float | None
    statement: str | None
    validated: bool
    imagery: Sequence[str]
    sources: Sequence[str]
    licence: str | None


FILES: Mapping[str, str] = {
    "map.html": "the map to look at: open it in any browser, no internet needed",
    "report.pdf": "two pages to read and print: map, numbers, how sure, what not to use it for",
    "buildings.xlsx": "a row a building, for Excel (below the header a row of HXL hashtags)",
    "buildings.csv": "the same as plain text, for any other program",
    "buildings.kml": "the buildings for Google Earth",
    "project.qgz": "everything with its colours, for QGIS: open this one first there",
    "buildings.gpkg": "GeoPackage: buildings, counts by 500 m, area and shifts as layers with colours, for any GIS",
    "buildings.geojson": "GeoJSON (WGS 84), for web maps and any GIS; its colours are extra/styles/buildings.qml",
    "buildings.parquet": "GeoParquet, for data analysts and databases",
    "buildings.fgb": "FlatGeobuf, for web maps of large areas",
    "map.tif": "the map as an image with coordinates (GeoTIFF); extra/legend.csv says what a pixel means",
    "extra/totals.csv": "how many buildings are damaged, with bounds",
    "extra/changes.geojson": "what changed since the earlier map, building by building (colours: extra/changes.qml)",
    "extra/changes.csv": "the same as a table",
    "extra/labels.csv": "what analysts said of which building, and when",
    "extra/card.md": "how the map was made and how far to trust it, one page",
    "extra/buildings.pmtiles": "vector tiles for a web map",
    "extra/shapefile/buildings.shp": "Shapefile, for programs that know nothing newer (names: .fields.csv)",
    "extra/legend.csv": "classes and colours",
    "extra/item.json": "STAC item, for catalogues of maps",
    "extra/manifest.json": "every file with its SHA-256, the filter, the settings and the software version",
    "extra/checksums": "to check that nothing changed on the way: sha256sum -c extra/checksums",
    "extra/README.txt": "this page",
}
"""What each file of a pack is for, said to the receiver; those that people open first stand first."""

_ALWAYS = ("extra/item.json", "extra/manifest.json", "extra/checksums", "extra/README.txt")


def readme(
    table: pd.DataFrame,
    facts: PackFacts,
    selection: Selection,
    files: Sequence[str],
    *,
    total: int,
    not_assessed: int,
    statement: str = "",
    changes: Sequence[str] = (),
) -> str:
    """The page. `table` has the columns `assessed`, `not_assessed_reason`, `damaged`, `pre_datetime`, `post_datetime`
    of the buildings handed over; `files` are those there are; the event has `total` buildings, of which `not_assessed`
    could not be judged; `statement` says how many are damaged, with bounds; `changes` what
    changed since an earlier map.
    """
    assessed = table["assessed"].to_numpy(bool)
    damaged = int(table["damaged"].eq(True).sum())
    reasons = table.loc[~assessed, "not_assessed_reason"].fillna("not stated").value_counts()
    chosen = "every building of the event" if selection.is_open else f"a selection: {selection.words}"
    blocks = [
        f"DAMAGE MAP: {facts.event}",
        *([facts.statement] if facts.statement else []),
        _lines(
            "What this is",
            f"A map of {len(table):,} buildings, each compared before and after"
            f"{'' if facts.hazard is None else f' ({facts.hazard})'} on satellite images from straight above.",
            f"It holds {chosen} ({len(table):,} of {total:,}).",
            *([statement] if statement else []),
            f"{int(assessed.sum()):,} could be assessed; {damaged:,} of them are drawn as damaged: what the "
            "model flags, and what people said where they answered.",
        ),
        _lines(
            "What damaged means",
            "no model: only what analysts said" if facts.scheme is None else f"{facts.scheme.statement}",
            *(
                []
                if facts.threshold is None
                else [
                    f"A building is called damaged where p_damaged is {facts.threshold:.3f} or more, or where an "
                    "analyst said so (label_source: analyst)."
                ]
            ),
            "Damage that does not show from above (walls, cracks, water below a whole roof) is not in the map.",
        ),
        _lines(
            "What not assessed means",
            f"{not_assessed:,} buildings of the event could not be judged. They may be damaged or not: nobody knows.",
            "They are in the file with assessed = false and the reason in not_assessed_reason."
            if selection.not_assessed
            else "They are left out of this selection.",
            *(f"  {reason_words(str(reason))}: {int(count):,}" for reason, count in reasons.items()),
        ),
        *([_lines("What changed", *changes)] if changes else []),
        _lines(
            "Images", *facts.imagery, f"pre: {_dates(table['pre_datetime'])}; post: {_dates(table['post_datetime'])}"
        ),
        _lines("Building outlines", *facts.sources),
        _lines(
            "Licence",
            facts.licence
            or "Not recorded. Ask who sent you this before you publish it: images and outlines have licences of "
            "their own.",
        ),
        _lines("Files", *(f"{name}: {what}" for name, what in FILES.items() if name in files or name in _ALWAYS)),
        _lines(
            "Made by",
            f"damage_ssl {facts.version}, {facts.created}, run {facts.run_id or 'none'}"
            f"{'' if facts.algorithm is None else f' ({facts.algorithm})'}",
        ),
    ]
    return "\n\n".join(blocks) + "\n"


def _lines(title: str, *lines: str) -> str:
    return "\n".join([title.upper(), *lines])


def _dates(column: pd.Series) -> str:
    days = sorted(column.dropna().astype(str).str[:10].unique())
    return "date unknown" if not days else days[0] if len(days) == 1 else f"{days[0]} to {days[-1]}"
