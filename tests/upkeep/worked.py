"""A worked event for tests of upkeep: patches, labels, a trained run, a map of it."""

from pathlib import Path

import pytest

from damage_ssl import workflow
from damage_ssl.events.event import Event
from damage_ssl.learning.settings import TrainSettings
from damage_ssl.settings import SplitSettings
from tests.cli.conftest import grades_of, write_labels
from tests.drawn_towns import drawn_town

TRAIN = {"algorithm": "fixmatch", "network": "small-cnn", "steps": 3}


def worked_event(tmp_path_factory: pytest.TempPathFactory) -> Event:
    """Ninety buildings, forty labels, a run of three steps that has predicted."""
    town = drawn_town(tmp_path_factory, buildings=90, seed=3)
    workspace = tmp_path_factory.mktemp("worked") / "w"
    event = Event.create(workspace, "town", pre=[town.pre], post=[town.post], footprints=town.footprints)
    workflow.cut_patches(event)
    some = dict(list(grades_of(town.truth).items())[:40])
    labels = write_labels(Path(tmp_path_factory.mktemp("labels")) / "labels.csv", some)
    workflow.import_labels(event, labels, labeller="ana")
    run = workflow.start_run(event, TrainSettings(**TRAIN), SplitSettings(), run_id="one").run
    workflow.train_run(event, run)
    workflow.predict_event(event, run)
    return event
