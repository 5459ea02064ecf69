"""Shifts between images, and between footprints and images: the mathematics, on arrays."""

from damage_ssl.event.registration.correlation import Matches, gradient_field, match_fields, match_pairs
from damage_ssl.event.registration.field import LocalField, Samples, SceneField, fit_scene, local_field, neighbour_trust
from damage_ssl.event.registration.outlines import draw_coverage, match_outlines
from damage_ssl.event.registration.settling import Settled, refine, settle

__all__ = [
    "LocalField",
    "Matches",
    "Samples",
    "SceneField",
    "Settled",
    "draw_coverage",
    "fit_scene",
    "gradient_field",
    "local_field",
    "match_fields",
    "match_outlines",
    "match_pairs",
    "neighbour_trust",
    "refine",
    "settle",
]
