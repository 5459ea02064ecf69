"""Searching imagery: pystac-client runs against a server on 127.0.0.1; the search answer of NAIP is a recorded one."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from damage_ssl.errors import InputError, ServiceError
from damage_ssl.events.imagery_search import CATALOGS, ImageryFound, ImagerySearch, search_imagery
from damage_ssl.geography import BoundingBox
from tests.service_answers import Answer, Services, serving, stac_api, static_catalogue

pytest.importorskip("pystac_client")


VERMONT = BoundingBox(-73.21, 43.99, -73.12, 44.05)
LAHAINA = BoundingBox(-156.70, 20.84, -156.64, 20.91)


@pytest.fixture
def services() -> Iterator[Services]:
    with serving() as running:
        yield running


def find(catalog: str, box: BoundingBox = LAHAINA, **changes: object) -> ImageryFound:
    return search_imagery(catalog, ImagerySearch(box=box, **changes), lambda done, total, remark="": None)


def day(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def test_an_api_is_asked_for_the_place_and_time(services: Services) -> None:
    found = find(stac_api(services), VERMONT, collections=("naip",), start=day("2018-01-01"), end=day("2021-12-31"))
    asked = json.loads(next(body for method, path, body in services.asked if path == "/api/search"))
    assert asked["bbox"] == [-73.21, 43.99, -73.12, 44.05]
    assert asked["collections"] == ["naip"]
    assert asked["datetime"] == "2018-01-01T00:00:00Z/2021-12-31T00:00:00Z"
    assert found.searchable
    assert found.complete
    assert len(found.scenes) == 12


def test_scenes_of_naip_come_in_the_order_of_time_with_what_an_analyst_needs(services: Services) -> None:
    found = find(stac_api(services), VERMONT)
    times = [scene.datetime for scene in found.scenes]
    assert times == sorted(times)
    newest = next(s for s in found.scenes if s.id == "vt_m_4407364_sw_18_060_20211029")
    assert newest.datetime == datetime(2021, 10, 29, 16, tzinfo=UTC)
    assert newest.gsd_m == 0.6
    assert newest.licence == "PDDL-1.0"
    assert newest.asset == "image"
    assert newest.href == (
        "https://naipeuwest.blob.core.windows.net/naip/v002/vt/2021/vt_060cm_2021/44073/m_4407364_sw_18_060_20211029.tif"
    )


def test_more_scenes_than_the_limit_are_said_to_be_there(services: Services) -> None:
    found = find(stac_api(services), VERMONT, limit=5)
    assert len(found.scenes) == 5
    assert not found.complete


def test_an_api_that_hides_its_collections_still_gives_scenes(services: Services) -> None:
    url = stac_api(services)
    del services.answers["/api/collections/naip"]
    assert {scene.licence for scene in find(url, VERMONT).scenes} == {None}


def test_a_static_catalogue_is_walked_only_where_the_place_is(services: Services) -> None:
    found = find(static_catalogue(services))
    assert [scene.id for scene in found.scenes] == ["04/122000330033/A0001", "04/122000330033/A0002"]
    assert not found.searchable
    assert found.complete
    assert found.documents == len(services.asked) == 7
    visual = found.scenes[1]
    assert visual.asset == "visual"
    assert visual.href == f"{services.url}/events/Maui-fires/ard/04/122000330033/2023-08-12/A0002-visual.tif"
    assert visual.licence == "CC-BY-NC-4.0"  # its event's: neither tile nor acquisition says one
    assert visual.gsd_m == 0.34
    assert visual.cloud_percent == 41


def test_one_collection_of_a_static_catalogue_can_be_given_by_its_address(services: Services) -> None:
    static_catalogue(services)
    found = find(f"{services.url}/events/Maui-fires/collection.json")
    assert len(found.scenes) == 2
    assert found.documents == 5


def test_one_collection_can_be_named(services: Services) -> None:
    url = static_catalogue(services)
    assert [scene.id for scene in find(url, collections=("A0002",)).scenes] == ["04/122000330033/A0002"]
    assert find(url, collections=("Libya-Floods",)).scenes == ()


@pytest.mark.parametrize(
    ("changes", "left"),
    [
        ({"start": day("2023-08-09")}, ["A0002"]),
        ({"end": day("2023-08-09")}, ["A0001"]),
        ({"max_cloud": 20}, ["A0001"]),
        ({"box": BoundingBox(22.6, 32.7, 22.7, 32.8)}, []),
    ],
)
def test_time_cloud_and_place_narrow_the_walk(services: Services, changes: dict[str, object], left: list[str]) -> None:
    found = find(static_catalogue(services), **changes)
    assert [scene.id.split("/")[-1] for scene in found.scenes] == left
    assert found.cloudier == (1 if "max_cloud" in changes else 0)


def test_a_walk_ends_at_the_number_of_documents_and_says_so(services: Services) -> None:
    found = find(static_catalogue(services), max_documents=5)
    assert not found.complete
    assert found.documents == 5


def test_a_catalogue_on_disk_is_read_too(services: Services, tmp_path: Path) -> None:
    static_catalogue(services)
    for path, answer in services.answers.items():
        target = tmp_path / path.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(answer.body)
    found = find(str(tmp_path / "events" / "catalog.json"))
    assert [Path(str(scene.href)).name for scene in found.scenes] == ["A0001-visual.tif", "A0002-visual.tif"]
    assert services.asked == []


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (Answer(b"", 429), "HTTP 429.*rate limit"),
        (Answer(b"", 500), "HTTP 500"),
        (Answer(b"<html>login</html>", kind="text/html"), "not valid STAC"),
        (Answer(b"[1, 2]"), "not valid STAC"),
        (Answer(b"{}", length=500), "broke off"),
    ],
)
def test_answers_that_are_no_catalogue_are_explained(services: Services, answer: Answer, said: str) -> None:
    services.answers["/catalog.json"] = answer
    with pytest.raises(ServiceError, match=said):
        find(f"{services.url}/catalog.json")


def test_a_document_that_is_missing_inside_names_the_catalogue(services: Services) -> None:
    url = static_catalogue(services)
    del services.answers["/events/Libya-Floods/collection.json"]
    with pytest.raises(ServiceError, match=r"HTTP 404.*nothing at that address"):
        find(url)


def test_json_that_is_not_stac_is_refused(services: Services) -> None:
    services.json("/catalog.json", {"name": "x"})
    with pytest.raises(InputError, match="is not a STAC catalogue"):
        find(f"{services.url}/catalog.json")


def test_an_unknown_name_lists_the_known_catalogues() -> None:
    with pytest.raises(InputError, match=r"(?s)maxar .*vantor .*openaerialmap .*naip") as caught:
        find("maxr")
    assert all(name in str(caught.value) for name in CATALOGS)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="there is no such file"):
        find(str(tmp_path / "catalog.json"))


def test_without_the_client_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pystac_client", None)
    with pytest.raises(InputError, match=r"pip install 'damage-ssl\[fetch\]'"):
        find("maxar")
