"""Building footprints: any polygon file in, clean polygons with stable ids out."""

from damage_ssl.event.footprints.cleaning import area_m2, clean_footprints
from damage_ssl.event.footprints.merging import merge_footprints
from damage_ssl.event.footprints.model import FootprintSet, SourceReport
from damage_ssl.event.footprints.reading import read_aoi, read_footprints
from damage_ssl.event.footprints.storage import read_left_out, read_reports, write_footprints

__all__ = [
    "FootprintSet",
    "SourceReport",
    "area_m2",
    "clean_footprints",
    "merge_footprints",
    "read_aoi",
    "read_footprints",
    "read_left_out",
    "read_reports",
    "write_footprints",
]
