"""The app on a large event, measured in headless Chromium without network.

    python -m benchmarks.app_event /tmp/large --footprints 300000
    python -m benchmarks.app_event /tmp/medium --footprints 50000
    python -m benchmarks.app /tmp/large/workspace /tmp/medium/workspace --out benchmarks/scratch/app

All times are the browser's own (`app_measure.js`): of a key from its event's time stamp to the frame that shows what
was wanted, with images decoded. A pan is a drag of 240 pixels in 24 movements of the mouse. Its main-thread time is
Chromium's count of the processor time of its main thread (`TaskDuration`, thread ticks) from pressing the mouse to 1.2
s after letting go, so that tiles and footprints have arrived; a step is a 24th of it; the longest single task is the
`longtask` entry (wall clock), 0 where none took 50 ms. Reruns are the messages that ask for the whole page's script:
those for fragments, which watch work by the clock, do not count. Server processor time does not depend on what else the
machine does; the wall-clock times do, so the load average stands beside them. The labels that it gives stay in the
events.
"""

import argparse
import base64
import json
import os
import platform
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from playwright.sync_api import Browser, sync_playwright
from streamlit.proto.BackMsg_pb2 import BackMsg

from damage_ssl.events.event import Event
from damage_ssl.footprints.lazy_shapes import read_shapes
from tests.app.browser.chromium import launch
from tests.app.browser.screen import Screen, opened
from tests.app.browser.server import App, running_app

EVENT = "large"
SCRIPT = Path(__file__).with_name("app_measure.js")
GOALS = {
    "first useful paint, server warm": ("ms", 3000),
    "first useful paint, server just started": ("ms", 3000),
    "pan far out, main thread a step": ("ms", 100),
    "pan far out, longest task": ("ms", 100),
    "pan in between, main thread a step": ("ms", 100),
    "pan in between, longest task": ("ms", 100),
    "pan most outlines, main thread a step": ("ms", 100),
    "pan most outlines, longest task": ("ms", 100),
    "pan close, main thread a step": ("ms", 100),
    "pan close, longest task": ("ms", 100),
    "key → next pair, half a second apart": ("ms", 150),
    "key → next pair, as fast as shown": ("ms", 150),
    "label → recoloured map, close": ("ms", 1000),
    "label → recoloured map, whole event": ("ms", 1000),
    "page reruns while panning": ("", 0),
    "app process": ("MiB", 1536),
}
Results = dict[str, list[float]]
_PAN_STEPS = 24


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("large", type=Path, help="workspace with the event of 300,000 footprints")
    parser.add_argument("medium", type=Path, help="workspace with the event of 50,000 footprints")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/scratch/app"), help="writes OUT.json and OUT.md")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--answers", type=int, default=60)
    arguments = parser.parse_args()
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    results: Results = {}
    facts: dict[str, Any] = {"machine": f"{os.cpu_count()} cores, {platform.machine()}", "commit": _commit()}
    with sync_playwright() as playwright:
        browser = launch(playwright)
        facts["browser"] = f"Chromium {browser.version}, headless, software rendering"
        for name, work in (
            ("cold", lambda: _cold(browser, arguments.large, results, min(3, arguments.repeats))),
            ("large", lambda: _large(browser, arguments.large, results, facts, arguments)),
            ("medium", lambda: _medium(browser, arguments.medium, results, facts, arguments.repeats)),
        ):
            started = time.monotonic()
            work()
            print(f"{name}: {time.monotonic() - started:.0f} s", flush=True)
            facts[f"load average at the end of {name}"] = os.getloadavg()[0]
            _write(arguments.out, results, facts)
        browser.close()
    print(arguments.out.with_suffix(".md").read_text(encoding="utf-8"))


def _cold(browser: Browser, workspace: Path, results: Results, repeats: int) -> None:
    for _ in range(repeats):
        with _app(workspace) as app:
            before = app.cpu_seconds()
            _first_paint(browser, app, results, "first useful paint, server just started")
            spent = 1000 * (app.cpu_seconds() - before)
            results.setdefault("server processor time of the first page", []).append(spent)


def _large(browser: Browser, workspace: Path, results: Results, facts: dict[str, Any], arguments: Any) -> None:
    with _app(workspace) as app:
        _first_paint(browser, app, {}, "")
        for _ in range(arguments.repeats):
            _first_paint(browser, app, results, "first useful paint, server warm")
        with opened(browser, app.address) as screen:
            screen.page.add_init_script(path=SCRIPT)
            screen.open(EVENT, "event", "bench")
            screen.settle()
            screen.page.wait_for_timeout(3000)
            facts["footprints"] = screen.state("event")
            _pans(screen, _a_building(workspace), results, arguments.repeats)
            before = app.cpu_seconds()
            _keys(screen, results, arguments.answers)
            spent = (app.cpu_seconds() - before) / (2 * arguments.answers)
            results["server processor time an answer"] = [1000 * spent]
        memory = app.memory_bytes()
        results["app process"] = [memory.pop("app") / 2**20]
        facts["children MiB"] = [round(each / 2**20) for each in memory.values()]


def _medium(browser: Browser, workspace: Path, results: Results, facts: dict[str, Any], repeats: int) -> None:
    with _app(workspace) as app, opened(browser, app.address) as screen:
        screen.page.add_init_script(path=SCRIPT)
        screen.open(EVENT, "label", "bench")
        screen.wait_for_other_building(None)
        screen.settle()
        screen.page.wait_for_timeout(4000)
        facts["footprints of the recoloured event"] = screen.state("event")
        for name, before in (("close", lambda: None), ("whole event", screen.fit)):
            before()
            screen.page.wait_for_timeout(2500)
            for number in range(2 * repeats + 1):
                screen.page.evaluate("() => { globalThis.answer = measure.recolour(); }")
                screen.page.keyboard.press("14"[number % 2])
                took = float(screen.page.evaluate("() => globalThis.answer"))
                if number:  # the first makes the model read its features
                    results.setdefault(f"label → recoloured map, {name}", []).append(took)
                screen.page.wait_for_timeout(1200)
                if name == "whole event":
                    screen.fit()
                    screen.page.wait_for_timeout(1200)
        facts["app process at 50,000, MiB"] = round(app.memory_bytes()["app"] / 2**20)


def _first_paint(browser: Browser, app: App, results: Results, name: str) -> None:
    with opened(browser, app.address) as screen:
        screen.page.add_init_script(path=SCRIPT)
        screen.page.goto(f"{app.address}/?event={EVENT}&name=bench")
        results.setdefault(name, []).append(float(screen.page.evaluate("() => measure.firstPaint")))


def _pans(screen: Screen, middle: tuple[float, float], results: Results, repeats: int) -> None:
    """Far out (the whole event), in between (tiles too), with as many outlines in view as are drawn, and close."""
    sent: list[object] = []
    page = screen.page
    session = page.context.new_cdp_session(page)
    session.send("Performance.setTimeDomain", {"timeDomain": "threadTicks"})
    session.send("Performance.enable")
    session.send("Network.enable")
    session.on("Network.webSocketFrameSent", lambda frame: sent.append(frame) if _asks_for_the_page(frame) else None)
    for name, place in (
        ("far out", screen.fit),
        ("in between", lambda: [screen.zoom_in() for _ in range(2)]),
        ("most outlines", lambda: _show_outlines(screen, middle)),
        ("close", lambda: [screen.zoom_in() for _ in range(2)]),
    ):
        place()
        page.wait_for_timeout(2500)
        before = len(sent)
        drawn: list[str] = []
        for number in range(2 * repeats):
            busy, longest, frames = _pan(screen, session.send, 1 if number % 4 < 2 else -1)
            results.setdefault(f"pan {name}, main thread a step", []).append(busy / _PAN_STEPS)
            results.setdefault(f"pan {name}, main thread of all", []).append(busy)
            results.setdefault(f"pan {name}, longest task", []).append(longest)
            results.setdefault(f"frames a second, panning {name}", []).append(frames)
            drawn.append(page.locator(".wb-map").get_attribute("data-drawn-as") or "")
        results.setdefault("page reruns while panning", []).append(float(len(sent) - before))
        results[f"outlines in view, {name} ({drawn[-1]})"] = [float(screen.drawn())]
        idle = _task_seconds(session.send)
        page.wait_for_timeout(1700)
        results[f"main thread at rest, {name}"] = [1000 * (_task_seconds(session.send) - idle)]


def _a_building(workspace: Path) -> tuple[float, float]:
    """Latitude and longitude of the building next to the middle of the event."""
    middles = read_shapes(Event.open(workspace, EVENT).footprints_path)[1].middles
    lon, lat = middles[np.argmin(np.hypot(*(middles - middles.mean(axis=0)).T))]
    return float(lat), float(lon)


def _show_outlines(screen: Screen, centre: tuple[float, float]) -> None:
    """Open the page in the farthest view that it draws as outlines."""
    for zoom in np.arange(14.0, 20.0, 0.25):
        kept = json.dumps({"centre": centre, "zoom": zoom})
        screen.page.evaluate("([key, kept]) => sessionStorage.setItem(key, kept)", [f"damage_ssl:view:{EVENT}", kept])
        screen.page.reload()
        screen.ready()
        if screen.page.locator(".wb-map").get_attribute("data-drawn-as") == "outlines":
            return
    raise RuntimeError("no view of the event is drawn as outlines")


def _asks_for_the_page(frame: dict[str, Any]) -> bool:
    """Whether a message to Streamlit asks for a run of the whole script."""
    message = BackMsg()
    message.ParseFromString(base64.b64decode(frame["response"]["payloadData"]))
    return message.HasField("rerun_script") and not message.rerun_script.fragment_id


def _pan(screen: Screen, send: Callable[[str], Any], way: int) -> tuple[float, float, float]:
    """Drag the map by 240 pixels in half a second: busy ms, longest task ms, frames a second while dragging."""
    page = screen.page
    box = page.locator(".wb-map").bounding_box()
    assert box is not None
    x, y = box["x"] + box["width"] * (0.6 if way > 0 else 0.35), box["y"] + box["height"] * 0.5
    page.mouse.move(x, y)
    page.wait_for_timeout(300)
    page.evaluate("() => { measure.longTasks.length = 0; }")
    begun = _task_seconds(send)
    page.evaluate("() => measure.watchFrames(true)")
    page.mouse.down()
    for step in range(1, _PAN_STEPS + 1):
        page.mouse.move(x - way * 10 * step, y + 2 * step)
        time.sleep(0.012)
    page.mouse.up()
    frames = np.array(page.evaluate("() => measure.watchFrames(false)"), dtype=float)
    page.wait_for_timeout(1200)
    busy = 1000 * (_task_seconds(send) - begun)
    tasks = page.evaluate("() => measure.longTasks.map((each) => each[1])")
    rate = 1000 * (len(frames) - 1) / (frames[-1] - frames[0]) if len(frames) > 2 else 0.0
    return busy, max(tasks, default=0.0), rate


def _keys(screen: Screen, results: Results, answers: int) -> None:
    screen.step("label")
    screen.wait_for_other_building(None)
    screen.page.wait_for_timeout(3000)
    for name, wait_ms in (("half a second apart", 500), ("as fast as shown", 0)):
        for number in range(answers):
            screen.page.evaluate("() => { globalThis.answer = measure.nextPair(); }")
            screen.page.keyboard.press("1423"[number % 4])
            took = float(screen.page.evaluate("() => globalThis.answer"))
            results.setdefault(f"key → next pair, {name}", []).append(took)
            screen.page.wait_for_timeout(wait_ms)


def _task_seconds(send: Callable[[str], Any]) -> float:
    metrics = send("Performance.getMetrics")["metrics"]
    return float(next(each["value"] for each in metrics if each["name"] == "TaskDuration"))


def _app(workspace: Path) -> Any:
    log = Path(tempfile.mkdtemp(prefix="ds-app-bench-")) / "log.txt"
    return running_app(workspace.resolve(), log)


def _write(out: Path, results: Results, facts: dict[str, Any]) -> None:
    out.with_suffix(".json").write_text(json.dumps({"facts": facts, "results": results}, indent=1), encoding="utf-8")
    lines = ["| | n | min | median | max | goal (median) |", "|---|---|---|---|---|---|"]
    for name, values in results.items():
        unit, goal = GOALS.get(name, ("", None))
        low, median, high = np.min(values), np.median(values), np.max(values)
        verdict = "" if goal is None else f"≤ {goal:,} {unit}: {'met' if median <= goal else '**missed**'}"
        lines.append(f"| {name} | {len(values)} | {low:,.0f} | {median:,.0f} | {high:,.0f} | {verdict} |")
    told = [f"- {name}: {value}" for name, value in facts.items()]
    out.with_suffix(".md").write_text("\n".join([*lines, "", *told, ""]), encoding="utf-8")


def _commit() -> str:
    done = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False)
    return done.stdout.strip() or "unknown"


if __name__ == "__main__":
    main()
