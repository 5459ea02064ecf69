"""Extraction killed at any moment: done again, it gives the same store to the byte, and leaves nothing beside it."""

import subprocess
import sys
import time

import numpy as np

from damage_ssl.patches.store import PatchStore
from damage_ssl.workflow import cut_patches
from tests.campaigns import campaign
from tests.conftest import Town
from tests.patches.stores import content
from tests.patches.test_extract_again import SMALL, leftovers

CUTTER = """
import sys
from pathlib import Path
from damage_ssl.events.event import Event
from damage_ssl.mosaic import batches
from damage_ssl.settings import PatchSettings
from damage_ssl.workflow import cut_patches

batches.CELL_PX = 60
event = Event.open(Path(sys.argv[1]), "killed")
print("begins", flush=True)
cut_patches(event, PatchSettings(size_px=32, align="off"))
"""


@campaign(2, 25)
def test_cut_that_was_killed_is_gone_on_with_to_the_same_store(rounds: int, town: Town) -> None:
    began = time.monotonic()
    whole = content(cut_patches(town.create("whole"), SMALL).path)
    takes_s, rng = time.monotonic() - began, np.random.default_rng(rounds)
    for _ in range(rounds):
        event = town.create("killed", overwrite=True)
        for _ in range(2):  # the second goes on with what the first left, and is killed too
            cutter = subprocess.Popen(
                [sys.executable, "-c", CUTTER, str(town.workspace)], stdout=subprocess.PIPE, text=True
            )
            assert cutter.stdout is not None and cutter.stdout.readline() == "begins\n"
            time.sleep(float(rng.uniform(0, 1.5 * takes_s)))
            cutter.kill()
            cutter.communicate()
        if event.patches_path.exists():  # it was quicker
            assert len(PatchStore.open(event.patches_path)) > 0
        assert content(cut_patches(event, SMALL).path) == whole
        assert leftovers(event) == []
