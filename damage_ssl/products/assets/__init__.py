"""What browsers need, by this library and the app alike: Leaflet and the page of the offline map. No code of Python."""

from pathlib import Path

ASSETS = Path(__file__).parent
LEAFLET = ASSETS / "leaflet"
"""Leaflet (BSD-2-Clause, its licence beside it), as it was published."""
