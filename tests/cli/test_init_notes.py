"""What `init` says of imagery and footprints as people send them."""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from damage_ssl import workflow
from damage_ssl.events.event import Event
from tests.cli.conftest import Outcome
from tests.conftest import Town, write_tiff

Run = Callable[..., Outcome]


def test_mask_left_out_bands_given_and_origin_of_ids(run: Run, town: Town) -> None:
    post = town.post.parent / "after"
    post.mkdir()
    photograph = post / town.post.name
    photograph.write_bytes(town.post.read_bytes())
    write_tiff(post / "a_cloudmask.tif", np.zeros((64, 64), dtype=np.uint8))
    given = ("init", "town", "--pre", town.pre, "--post", post, "--footprints", town.footprints)
    wrong = run(*given, "--workspace", town.workspace, "--bands", "3,2")
    assert wrong.code == 2
    assert "such as 3,2,1" in wrong.err
    outcome = run(*given, "--workspace", town.workspace, "--post-bands", "3,2,1")
    said = " ".join((outcome.out + outcome.err).split())
    assert outcome.code == 0
    assert "a_cloudmask.tif: is no photograph of the ground (a mask by its name" in said
    assert "bands 3, 2, 1 were asked for, the file says 1, 2, 3" in said
    assert "; ids from 'building_id'" in said
    event = Event.open(town.workspace, "town")
    assert [scene.bands for scene in (*event.scenes("pre"), *event.scenes("post"))] == [None, (3, 2, 1)]
    again = workflow.made_from(event, pre=[str(town.pre)], post=[str(post)], footprints=Path(town.footprints))
    assert again, "the mask that was left out does not make the same inputs others"
