"""How the memory that a stage may use is divided: what its processes need anyway, and what they may read at a time."""

from damage_ssl.event.imagery import GDAL_CACHE_BYTES
from damage_ssl.settings import Resources

PROCESS_BYTES = 230_000_000
"""A process with the libraries of extraction loaded, and what it holds of one batch besides pixels (measured)."""
_LEAST_BYTES = 20_000_000
"""Less would mean windows smaller than a building's surroundings."""


def reading_bytes(resources: Resources) -> int:
    """Bytes that each process may use for the windows that it reads, so that all stay under `memory_bytes`.

    On a cluster, `memory_bytes` bounds each of its tasks.
    """
    if resources.cluster is not None or resources.workers == 0:
        own = resources.memory_bytes
    else:
        own = (resources.memory_bytes - PROCESS_BYTES) // resources.workers
    return max(_LEAST_BYTES, own - PROCESS_BYTES - GDAL_CACHE_BYTES)
