"""A step reads the event's scenes and footprints once and hands them down."""

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from damage_ssl.registration.manual_shift import ManualShift, set_manual_shift
from damage_ssl.settings import PatchSettings
from damage_ssl.workflow import cut_patches, register_event
from tests.conftest import Town

SETTINGS = PatchSettings(size_px=32)


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often scenes and footprints were read."""
    from damage_ssl.events import event, stac

    found: Counter[str] = Counter()

    def counted(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def read(*given: Any) -> Any:
            found[name] += 1
            return function(*given)

        return read

    for module, name in ((stac, "read_scenes"), (event, "read_footprints_file")):
        monkeypatch.setattr(module, name, counted(name, getattr(module, name)))
    return found


def test_a_cut_reads_scenes_and_footprints_once(town: Town, reads: Counter[str]) -> None:
    event = town.create()
    set_manual_shift(event, event.scenes("post")[0].scene_id, ManualShift(0.5, 0.0))
    reads.clear()
    first = cut_patches(event, SETTINGS)
    assert reads == {"read_scenes": 1, "read_footprints_file": 1}
    assert set(first.index()["shift_source"]) == {"nudge"}
    reads.clear()
    assert cut_patches(event).fingerprint == first.fingerprint
    assert reads == {"read_scenes": 1, "read_footprints_file": 1}, "nor more often where nothing is to be done"


def test_a_registration_reads_scenes_and_footprints_once(town: Town, reads: Counter[str]) -> None:
    event = town.create()
    reads.clear()
    register_event(event, SETTINGS)
    assert reads == {"read_scenes": 1, "read_footprints_file": 1}
