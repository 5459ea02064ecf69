"""How the memory that a stage may use is divided: what its processes need anyway, and what they may read at a time.

The constants are resident memory, measured (x86-64 Linux, `VmHWM`, rounded up), and count what processes share, such
as the code of libraries, once for each: an upper bound of what the machine must have.
`python -m benchmarks.patch_extraction --parts memory` measures the sum again.
"""

from damage_ssl.errors import SettingsError
from damage_ssl.event.imagery import GDAL_CACHE_BYTES
from damage_ssl.settings import Resources

MAIN_BYTES = 280_000_000
"""The first process before it cuts anything: 231 MB of interpreter and libraries, and 34 MB when projections, Parquet
and zarr have been used once; 13 MB for the process that looks after local workers."""
FOOTPRINT_BYTES = 2_500
"""What the first process holds of each footprint: polygon and id (1.0 kB), shifts (0.9 kB), row of the index."""
WORKER_BYTES = 240_000_000
"""A worker before it cuts anything: the libraries again, as in a script that imports extraction."""
CUTTING_BYTES = 70_000_000
"""Buffers of the buildings that are cut together, above all of the quality measures, and what the allocator keeps."""
LEAST_READING_BYTES = 40_000_000
"""A window around the smallest group of buildings, 600 to 1000 pixels wide, on both dates."""
UNBOUNDED_READING_BYTES = 4 * LEAST_READING_BYTES
"""What a process reads at a time where no bound was asked for and a large event has used the default up."""


def reading_bytes(resources: Resources, footprints: int = 0, *, store_bytes: int = 0) -> int:
    """Bytes that each process may use for the windows that it reads, so that all stay under the memory allowed.

    On a cluster, that bounds each of its tasks, and not this process. The default gives way to events of more buildings
    than it has room for (about 200,000); a bound that was asked for never does.

    Args:
        resources: processes and memory.
        footprints: how many this process holds.
        store_bytes: what a process that cuts holds to write it.

    Raises:
        SettingsError: it cannot be kept; the message says what can.
    """
    cutting = CUTTING_BYTES + GDAL_CACHE_BYTES + store_bytes
    here = MAIN_BYTES + FOOTPRINT_BYTES * footprints
    each = WORKER_BYTES + cutting
    if resources.cluster is not None:
        fixed, sharing = each, 1
    elif resources.workers == 0:
        fixed, sharing = here + cutting, 1
    else:
        fixed, sharing = here + each * resources.workers, resources.workers
    left = (resources.allowed_bytes - fixed) // sharing
    if resources.memory_bytes is None:
        # Nobody set a bound: the list of a large event's footprints may take more than the default.
        return int(max(left, UNBOUNDED_READING_BYTES))
    if left < LEAST_READING_BYTES:
        needed = fixed + LEAST_READING_BYTES * sharing
        workers = (resources.allowed_bytes - here) // (each + LEAST_READING_BYTES)
        fewer = f", or at most --workers {workers}" if workers >= 1 and resources.cluster is None else ""
        alone = here + cutting + LEAST_READING_BYTES
        if not fewer and sharing > 1 and alone <= resources.allowed_bytes:
            fewer = ", or --workers 0"
        what = (
            "each task" if resources.cluster else f"{resources.workers or 'no'} workers and {footprints:,} footprints"
        )
        raise SettingsError(
            f"--memory: {_shown(resources.allowed_bytes)} is too little for {what}; "
            f"give at least --memory {_shown(needed)}{fewer}"
        )
    return int(left)


def _shown(size: int) -> str:
    """In MB, rounded up."""
    return f"{-(-size // 1_000_000)}MB"
