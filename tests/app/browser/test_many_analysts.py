"""Ten analysts answer at once through the app's own HTTP routes."""

import json
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from damage_ssl.events.event import Event
from damage_ssl.labels.label_log import LabelStore
from tests.app.browser.conftest import Drawn
from tests.app.browser.server import App, running_app
from tests.campaigns import campaign

ANALYSTS = 10
VALUES = ("no-damage", "minor-damage", "major-damage", "destroyed", "unclear")

pytestmark = [
    pytest.mark.filterwarnings("ignore:Use `@` matmul:PendingDeprecationWarning"),  # within rasterio
]


@pytest.fixture
def postgres_app(drawn: Drawn, postgres_server: str, tmp_path: Path) -> Iterator[App]:
    """The app with its labels on a real PostgreSQL server."""
    (tmp_path / "workspace").mkdir()
    with running_app(
        tmp_path / "workspace", tmp_path / "log.txt", environment={"DAMAGE_SSL_LABELS": postgres_server}
    ) as running:
        yield running


@campaign(20, 200)
def test_ten_analysts_lose_no_label_on_sqlite(rounds: int, app: App, drawn: Drawn) -> None:
    event = drawn.event(app.workspace, f"ten-sqlite-{rounds}")
    _answer_at_once(app, event, drawn, rounds)
    _all_there(LabelStore(event.labels_path), drawn, rounds)


@campaign(20, 200)
def test_ten_analysts_lose_no_label_on_postgresql(
    rounds: int, postgres_app: App, drawn: Drawn, postgres_server: str
) -> None:
    event = drawn.event(postgres_app.workspace, f"ten-postgres-{rounds}")
    _answer_at_once(postgres_app, event, drawn, rounds)
    store = LabelStore(postgres_server, event=event.name)
    try:
        _all_there(store, drawn, rounds)
    finally:
        store.close()


def _answers_of(analyst: int, drawn: Drawn, rounds: int) -> list[tuple[str, str]]:
    buildings = list(drawn.truth)
    return [
        (buildings[(7 * analyst + number) % len(buildings)], VALUES[(analyst + number) % len(VALUES)])
        for number in range(rounds)
    ]


def _answer_at_once(app: App, event: Event, drawn: Drawn, rounds: int) -> None:
    def work(analyst: int) -> int:
        return sum(
            _post(app, event.name, building, value, f"analyst {analyst}")
            for building, value in _answers_of(analyst, drawn, rounds)
        )

    with ThreadPoolExecutor(ANALYSTS) as pool:
        assert list(pool.map(work, range(ANALYSTS))) == [rounds] * ANALYSTS


def _post(app: App, event: str, building: str, value: str, labeller: str) -> int:
    body = {"building_id": building, "value": value, "labeller": labeller, "drawn": "map"}
    request = urllib.request.Request(
        f"{app.address}/ds/{event}/labels",
        data=json.dumps(body).encode(),
        headers={"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=60) as answer:
        return int(answer.status == 200)


def _all_there(store: LabelStore, drawn: Drawn, rounds: int) -> None:
    log = store.log()
    assert len(log) == ANALYSTS * rounds
    assert store.revision() == ANALYSTS * rounds
    for analyst in range(ANALYSTS):
        mine = log[log["labeller"] == f"analyst {analyst}"]
        got = list(zip(mine["building_id"], mine["value"], strict=True))
        assert got == _answers_of(analyst, drawn, rounds)  # every one, once, in the order given
