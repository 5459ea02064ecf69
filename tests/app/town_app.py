"""The app on the small test town: its workspace with pairs cut, a finished run drawn by hand, and the routes served."""

import contextlib
import json
import socket
import threading
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import uvicorn
from starlette.applications import Starlette

from app.api import routes
from damage_ssl import workflow
from damage_ssl.damage_scale import scheme_named
from damage_ssl.evaluation.calibration import Calibration
from damage_ssl.events.event import Event
from damage_ssl.files import write_json
from damage_ssl.learning.features.linear_probe import EventFeatures
from damage_ssl.learning.settings import TrainSettings
from damage_ssl.patches.store import PatchStore
from damage_ssl.runs.live import features_path
from damage_ssl.runs.predictions import prediction_table
from damage_ssl.runs.run import Run
from damage_ssl.settings import SplitSettings
from tests.conftest import Town

RUN_BEGUN = "20310819T120000000"
RUN_ID = f"{RUN_BEGUN}-fixmatch"


def prepared_event(town: Town) -> Event:
    """The town as an event whose pairs are cut."""
    event = town.create()
    workflow.cut_patches(event)
    return event


def add_run(event: Event, p_damaged: dict[str, float], *, algorithm: str = "fixmatch") -> Run:
    """A finished run that gave these probabilities (0 to every other assessed building), with the threshold at 0.5."""
    run = Run(event.runs_path / f"{RUN_BEGUN}-{algorithm}")
    run.path.mkdir(parents=True)
    plan = workflow.RunPlan(
        train=TrainSettings(algorithm=algorithm),
        split=SplitSettings(),
        train_id=(),
        train_class=(),
        validation_id=(),
        validation_class=(),
        block_m=150.0,
        patches_fingerprint="",
    )
    write_json(run.settings_path, plan.to_json())
    index = PatchStore.open(event.patches_path).index()
    building_id = index.loc[index["assessed"].to_numpy(bool), "building_id"].to_numpy(str)
    p = np.array([p_damaged.get(building, 0.0) for building in building_id.tolist()])
    table = prediction_table(building_id, np.column_stack([1 - p, p]), scheme_named("binary-major"))
    table.to_parquet(run.predictions_path)
    Calibration(threshold=0.5, temperature=1.0, n_validation=0, n_damaged=0, method="by hand").write(
        run.calibration_path
    )
    run.set_status("finished", step=1, steps=1)
    return run


def add_features(event: Event, damaged: set[str]) -> None:
    """Features drawn by hand, in which these buildings lie apart from all others; two kinds of buildings."""
    store = PatchStore.open(event.patches_path)
    index = store.index()
    building_id = index.loc[index["assessed"].to_numpy(bool), "building_id"].to_numpy(str)
    apart = np.isin(building_id, sorted(damaged))
    values = np.random.default_rng(0).normal(0, 0.02, (len(building_id), 8)) + np.where(apart, 0.5, -0.5)[:, None]
    folder = features_path(event)
    folder.mkdir()
    EventFeatures(building_id, values, apart.astype(int), store.fingerprint).write(folder)


@dataclass(frozen=True)
class Answer:
    """An HTTP answer."""

    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


@dataclass(frozen=True)
class Server:
    """The routes behind a real socket; paths are sent as they are written, not normalised by a client."""

    port: int

    def get(self, path: str) -> Answer:
        return self._ask(urllib.request.Request(f"http://localhost:{self.port}{path}"))

    def post(self, path: str, body: Any, **headers: str) -> Answer:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        headers = {"Content-Type": "application/json"} | headers
        return self._ask(urllib.request.Request(f"http://localhost:{self.port}{path}", data=data, headers=headers))

    def _ask(self, request: urllib.request.Request) -> Answer:
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return Answer(answer.status, dict(answer.headers), answer.read())
        except urllib.error.HTTPError as error:
            with error:
                return Answer(error.code, dict(error.headers), error.read())


def free_port() -> int:
    """A port that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def served() -> Iterator[Server]:
    """The app's routes on a free port of this machine."""
    port = free_port()
    config = uvicorn.Config(Starlette(routes=routes()), host="localhost", port=port, log_level="error", ws="none")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    deadline = time.monotonic() + 20
    while not server.started and time.monotonic() < deadline:
        time.sleep(0.02)
    try:
        yield Server(port)
    finally:
        server.should_exit = True
        thread.join(timeout=20)


def repository() -> Path:
    """The checkout's root."""
    return Path(__file__).resolve().parents[2]
