"""Labellers' processes killed at any moment: every answer that was confirmed is in the log, and the log is whole."""

import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from damage_ssl.labels.label_log import LabelStore
from tests.campaigns import campaign

WRITER = """
import sys
from damage_ssl.damage_scale import LabelValue
from damage_ssl.labels.label_log import LabelStore

where, event, analyst = sys.argv[1:]
store = LabelStore(where, event=event)
for number in range(100_000):
    building = f"{analyst}-{number}"
    store.add(building, LabelValue.DESTROYED, labeller=analyst, drawn="map", inclusion_probability=None)
    print(building, flush=True)
"""


@campaign(3, 40)
@pytest.mark.parametrize("backend", ["sqlite", "postgresql"])
def test_no_confirmed_answer_is_lost_with_its_killed_writer(
    backend: str, rounds: int, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    where = str(tmp_path / "labels.sqlite") if backend == "sqlite" else request.getfixturevalue("postgres_server")
    event, rng = f"killed-{rounds}", np.random.default_rng(rounds)
    confirmed: set[str] = set()
    for number in range(rounds):
        pair = [f"ana{number}", f"ben{number}"]
        writers = [
            subprocess.Popen([sys.executable, "-c", WRITER, where, event, name], stdout=subprocess.PIPE, text=True)
            for name in pair
        ]
        for writer in writers:
            assert writer.stdout is not None
            confirmed.add(writer.stdout.readline().strip())  # it is at it
        time.sleep(float(rng.uniform(0, 0.2)))
        for writer in writers:
            writer.kill()
        for writer in writers:
            # a last line that the kill cut off confirms nothing
            confirmed |= {line.strip() for line in writer.communicate()[0].splitlines(True) if line.endswith("\n")}
    store = LabelStore(where, event=event)
    log = store.log()
    assert confirmed <= set(log["building_id"])
    assert log["building_id"].is_unique and len(log) <= len(confirmed) + 2 * rounds
    assert store.revision() >= len(log)  # PostgreSQL does not use the number of a broken transaction again
    assert set(store.current()["building_id"]) == set(log["building_id"])
    store.close()
