"""Buildings of OpenStreetMap, from the Overpass API, as its own JSON.

Source: https://wiki.openstreetmap.org/wiki/Overpass_API/Overpass_QL (bbox, date, timeout, maxsize, `out geom`).
"""

import json
import os
import re
from pathlib import Path

from damage_ssl.errors import ServiceError
from damage_ssl.files import atomic_path
from damage_ssl.footprints.providers.service import CONNECT_TIMEOUT_S, check_status, open_session, service_errors
from damage_ssl.geography import BoundingBox
from damage_ssl.imagery.scene import parse_time
from damage_ssl.progress import Move

URL = "https://overpass-api.de/api/interpreter"
_QUERY_TIMEOUT_S = 300
_QUERY_BYTES = 1 << 30
_CHUNK = 1 << 20
_TAIL = 4096


def download(box: BoundingBox, path: Path, release: str | None, move: Move) -> str | None:
    """Write the answer to `path`; gives the time of the map data that it holds.

    `release` is a date: the map as it was then, e.g. before the event.

    Raises:
        ServiceError: the service cannot be reached, is busy, or gave up half-way.
        InputError: `release` is not a date, or the extra `fetch` is not installed.
        StorageError: the disk is full or read-only.
    """
    url = os.environ.get("DAMAGE_SSL_OVERPASS_URL", URL)
    query = build_query(box, release)
    with open_session() as session, service_errors("OpenStreetMap (Overpass)", url):
        timeout = (CONNECT_TIMEOUT_S, _QUERY_TIMEOUT_S + 30)
        with session.post(url, data={"data": query}, stream=True, timeout=timeout) as response:
            if response.status_code >= 400:
                check_status(response, "OpenStreetMap (Overpass)", _said(response.content))
            with atomic_path(path) as temporary:
                done = 0
                with temporary.open("wb") as file:
                    for block in response.iter_content(_CHUNK):
                        file.write(block)
                        done += len(block)
                        move(done, 0, f"{done / 1e6:.1f} MB")
                return _check_whole(temporary, url)


def build_query(box: BoundingBox, date: str | None) -> str:
    """Overpass QL for every building way and multipolygon that touches the box, with its geometry."""
    at = f'[date:"{parse_time(date, "--date"):%Y-%m-%dT%H:%M:%SZ}"]' if date else ""
    return (
        f"[out:json][timeout:{_QUERY_TIMEOUT_S}][maxsize:{_QUERY_BYTES}]"
        f"[bbox:{box.south},{box.west},{box.north},{box.east}]{at};"
        '(way["building"]["building"!="no"];relation["type"="multipolygon"]["building"]["building"!="no"];);'
        "out body geom;"
    )


def _check_whole(path: Path, url: str) -> str | None:
    """Overpass answers 200 also when it gives up: the cause then stands in `remark`, at the end of the file."""
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(_TAIL).decode("utf-8", "replace")
        file.seek(max(0, size - _TAIL))
        tail = file.read().decode("utf-8", "replace").rstrip()
    if not head.lstrip().startswith("{") or not tail.endswith("}"):
        raise ServiceError(
            f"OpenStreetMap (Overpass, {url}): the answer is no Overpass JSON or was cut off "
            f"('{_said(head.encode())[:200]}'); try again later; nothing was written"
        )
    remark = re.search(r'"remark"\s*:\s*("(?:[^"\\]|\\.)*")\s*}$', tail)
    if remark:
        raise ServiceError(
            f"OpenStreetMap (Overpass, {url}): gave up: {json.loads(remark.group(1)).strip()} "
            "Ask for a smaller area, or try again later; nothing was written"
        )
    time = re.search(r'"timestamp_osm_base"\s*:\s*"([^"]+)"', head)
    return time.group(1) if time else None


def _said(body: bytes) -> str:
    """The error lines of Overpass's HTML page."""
    text = body.decode("utf-8", "replace")
    found = re.findall(r"<p><strong[^>]*>Error</strong>:(.*?)</p>", text, flags=re.DOTALL)
    return (
        " ".join(re.sub(r"<[^>]+>", "", part).strip() for part in found) or re.sub(r"<[^>]+>", " ", text).strip()[:200]
    )
