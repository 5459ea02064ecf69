"""How the memory that a stage may use is divided: what its processes need anyway, and what they may read at a time."""

from damage_ssl.event.imagery import GDAL_CACHE_BYTES
from damage_ssl.settings import Resources

PROCESS_BYTES = 350_000_000
"""A process with the libraries of extraction loaded, what it holds of a batch besides pixels, and what the
allocator keeps: a generous guess."""
FOOTPRINT_BYTES = 2_500
"""What the first process holds of each footprint (polygon, index row, shifts): a generous guess."""
_LEAST_BYTES = 60_000_000
"""Less would mean windows smaller than a building's surroundings."""


def reading_bytes(resources: Resources, footprints: int = 0) -> int:
    """Bytes that each process may use for the windows that it reads, so that all stay under `memory_bytes`.

    On a cluster, `memory_bytes` bounds each of its tasks. Where there is hardly anything left, windows become small and
    extraction slow, but it goes on.
    """
    left = resources.memory_bytes - FOOTPRINT_BYTES * footprints
    if resources.cluster is None and resources.workers > 0:
        left = (left - PROCESS_BYTES) // resources.workers
    return max(_LEAST_BYTES, left - PROCESS_BYTES - GDAL_CACHE_BYTES)
