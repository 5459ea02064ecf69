"""The memory that extraction may use: divided so that it holds, refused where it cannot."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from damage_ssl.errors import SettingsError
from damage_ssl.mosaic.read_plan import LEAST_READING_BYTES, reading_bytes
from damage_ssl.settings import Resources
from tests.conftest import Town

CHILD = """
import json, sys, threading, time
from pathlib import Path

def peak(pid):
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))

def main():
    import multiprocessing
    from damage_ssl.events.event import Event
    from damage_ssl.workflow import cut_patches
    from damage_ssl.settings import PatchSettings, Resources

    workspace, name, workers, memory = sys.argv[1:]
    seen = {}

    def look(*_):
        for child in multiprocessing.active_children():
            seen[child.pid] = max(seen.get(child.pid, 0), peak(child.pid))

    resources = Resources(workers=int(workers), memory_bytes=int(memory))
    cut_patches(Event.open(Path(workspace), name), PatchSettings(align="off"), resources=resources, progress=look)
    print(json.dumps({"bytes": peak("self") + sum(seen.values()), "workers": len(seen)}))

if __name__ == "__main__":
    main()
"""


def test_what_one_process_does_not_need_is_for_reading() -> None:
    little, much = (reading_bytes(Resources(memory_bytes=size)) for size in (800_000_000, 1_000_000_000))
    assert much - little == 200_000_000
    assert reading_bytes(Resources(), 100_000) < reading_bytes(Resources(), 1000)
    assert reading_bytes(Resources(workers=4)) >= LEAST_READING_BYTES, "the default has room for the workers"


def test_default_gives_way_to_a_large_event_and_a_bound_does_not() -> None:
    assert reading_bytes(Resources(), 1_000_000) >= LEAST_READING_BYTES
    assert reading_bytes(Resources(workers=4), 3_000_000) >= LEAST_READING_BYTES
    with pytest.raises(SettingsError):
        reading_bytes(Resources(memory_bytes=Resources().allowed_bytes), 1_000_000)


@pytest.mark.parametrize(
    ("resources", "footprints", "message"),
    [
        (
            Resources(workers=16, memory_bytes=500_000_000),
            1000,
            r"too little .* --memory 69\d\dMB, or --workers 0",
        ),
        (Resources(workers=8, memory_bytes=2_000_000_000), 1000, "or at most --workers 4"),
        (Resources(memory_bytes=1_000_000_000), 10**6, r"1,000,000 footprints; give at least --memory \d{4}MB$"),
        (Resources(memory_bytes=200_000_000, cluster="tcp://a:1"), 10**6, "too little for each task"),
    ],
)
def test_memory_that_cannot_be_kept_is_refused_with_what_would_do(
    resources: Resources, footprints: int, message: str
) -> None:
    with pytest.raises(SettingsError, match=message) as refused:
        reading_bytes(resources, footprints)
    enough = int(str(refused.value).split("at least --memory ")[1].split("MB")[0]) * 1_000_000
    raised = Resources(workers=resources.workers, memory_bytes=enough, cluster=resources.cluster)
    assert reading_bytes(raised, footprints) >= LEAST_READING_BYTES


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="peak memory of a process is read from /proc")
@pytest.mark.parametrize(("workers", "memory_bytes"), [(0, 500_000_000), (2, 1_150_000_000)])
def test_all_processes_together_stay_under_the_memory_allowed(
    town: Town, tmp_path: Path, workers: int, memory_bytes: int
) -> None:
    event = town.create()
    script = tmp_path / "child.py"
    script.write_text(CHILD, encoding="utf-8")
    arguments = [str(event.path.parent), event.name, str(workers), str(memory_bytes)]
    done = subprocess.run(
        [sys.executable, str(script), *arguments], capture_output=True, text=True, env={**os.environ}, check=True
    )
    used = json.loads(done.stdout.splitlines()[-1])
    assert used["workers"] >= min(workers, 1)
    assert used["bytes"] < memory_bytes
