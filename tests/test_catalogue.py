"""The committed catalogue is valid STAC, is what the script writes, and goes into the wheel."""

import json
import tomllib
from datetime import date
from pathlib import Path
from typing import Any

import pystac
import pytest

from damage_ssl.errors import WorkspaceError
from damage_ssl.events.catalogue import PACKAGED, find_event, known_events
from data_catalog.build import HERE, SAMPLE, build

WANTED = {"haiti-2010", "joplin-2011", "santa-rosa-2017", "palu-2018", "beirut-2020", "turkiye-syria-2023", "maui-2023"}
DOCUMENTS = [HERE / "catalog.json", *sorted(HERE.glob("*/collection.json"))]


def test_committed_catalogue_is_what_the_script_writes(tmp_path: Path) -> None:
    # The sample's entry is checked where the sample is drawn anyway: tests/cli/test_catalogue_commands.py.
    sample = pystac.Collection.from_file(str(HERE / SAMPLE / "collection.json"))
    sample.clear_links()
    build(tmp_path, sample)
    written = {str(path.relative_to(tmp_path)): json.loads(path.read_text()) for path in tmp_path.rglob("*.json")}
    committed = {str(path.relative_to(HERE)): json.loads(path.read_text()) for path in HERE.rglob("*.json")}
    assert committed == written


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.parent.name)
def test_every_document_is_valid_by_the_schemas_of_stac(path: Path) -> None:
    # pystac brings the schemas of the core specification along, so nothing is fetched.
    pytest.importorskip("jsonschema")
    values = json.loads(path.read_text())
    assert values["stac_version"] == pystac.get_stac_version()
    assert pystac.read_dict(values, href=str(path)).validate()


def test_a_broken_document_would_not_be_valid() -> None:
    pytest.importorskip("jsonschema")
    values = json.loads((HERE / "maui-2023" / "collection.json").read_text())
    del values["license"]
    with pytest.raises(pystac.STACValidationError):
        pystac.validation.validate_dict(values, pystac.STACObjectType.COLLECTION)


def test_catalogue_opens_with_its_sample_event_first_and_every_link_leads_somewhere() -> None:
    catalogue = pystac.Catalog.from_file(str(HERE / "catalog.json"))
    children = list(catalogue.get_children())
    assert isinstance(children[0], pystac.Collection)
    assert children[0].id == SAMPLE
    assert {child.id for child in children} == {path.parent.name for path in DOCUMENTS[1:]}
    assert {child.id for child in children} >= WANTED


def test_every_real_event_has_place_day_hazard_and_a_page_that_tells_of_it() -> None:
    for event in known_events(PACKAGED):
        if event.synthetic:
            continue
        west, south, east, north = event.bbox
        assert -180 <= west < east <= 180
        assert -90 <= south < north <= 90
        assert east - west < 3
        assert event.date is not None
        assert date(2000, 1, 1) < event.date < date(2026, 1, 1)
        assert event.hazard
        assert event.place
        about = [link["href"] for link in json.loads(event.path.read_text())["links"] if link["rel"] == "about"]
        assert len(about) == 1
        assert about[0].startswith("http")


def test_every_source_states_licence_and_what_it_was_checked_against() -> None:
    for event in known_events(PACKAGED):
        assert event.synthetic or any(source.kind == "footprints" for source in event.sources)
        for source in event.sources:
            assert source.licence
            assert source.confirmed_by
            assert source.href.startswith("https://")
            assert set(source.sides) <= {"pre", "post"}


def test_events_stand_in_the_order_of_their_days() -> None:
    days = [event.date for event in known_events(PACKAGED) if not event.synthetic]
    assert days == sorted(days)


def test_maxar_collections_are_those_of_its_recorded_root() -> None:
    # The ids of Maxar's root catalogue as recorded in hotosm/stactools-hotosm (tests/maxar/data/catalog.json).
    recorded = {
        "Earthquake-Myanmar-March-2025", "Hurricane-Ian-9-26-2022", "Japan-Earthquake-Jan-2024",
        "Kahramanmaras-turkey-earthquake-23", "Libya-Floods-Sept-2023", "Marshall-Fire-21-Update",
        "Maui-Hawaii-fires-Aug-23", "Morocco-Earthquake-Sept-2023", "Nepal-Earthquake-Apr-2015",
        "WildFires-LosAngeles-Jan-2025",
    }  # fmt: skip
    table: list[dict[str, Any]] = tomllib.loads((HERE / "events.toml").read_text(encoding="utf-8"))["event"]
    assert {event["maxar"] for event in table if "maxar" in event} == recorded


def test_an_unknown_event_names_the_nearest() -> None:
    with pytest.raises(WorkspaceError, match="did you mean 'maui-2023'"):
        find_event("maui-2013", PACKAGED)


def test_the_wheel_holds_the_catalogue_where_the_package_looks_for_it() -> None:
    project = tomllib.loads((HERE.parent / "pyproject.toml").read_text(encoding="utf-8"))
    assert "data_catalog" in project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
    assert PACKAGED == HERE / "catalog.json"
