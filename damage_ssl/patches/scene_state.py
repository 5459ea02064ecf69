"""What decides which pixels are read of a scene: part of the fingerprint of everything that is made from them."""

from dataclasses import asdict
from pathlib import Path

from damage_ssl.event.imagery import Scene


def scene_state(scene: Scene) -> list[object]:
    """Name, place, date, stretch and overviews of a scene, and size and time of its file where it is one; for JSON."""
    overviews = [asdict(overview) for overview in scene.overviews]
    date = str(scene.datetime)
    return [scene.scene_id, scene.role, scene.href, *_file_state(scene.href), date, scene.stretch, overviews]


def _file_state(href: str) -> tuple[int, int]:
    path = Path(href)
    if not path.exists():
        return (0, 0)
    state = path.stat()
    return state.st_size, state.st_mtime_ns
