"""Take the screenshots of this folder: `python docs/screenshots/take.py WORKSPACE EVENT LABELS.csv [EVENT2]`.

EVENT is a simulated event whose pairs are cut, without labels or runs; the script makes the first map, imports the
labels and trains through the page. EVENT2 has no footprints. Needs Chromium and playwright.
"""

import os
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

HERE = Path(__file__).resolve().parent
PORT = 8767
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]


def main(workspace: str, event: str, labels: str, bare_event: str | None = None) -> None:
    """Start the app, walk through it, save one JPEG a state."""
    command = [sys.executable, "-m", "streamlit", "run", str(HERE.parents[1] / "app" / "main.py")]
    app = subprocess.Popen([*command, "--server.port", str(PORT), "--", "--workspace", workspace])
    try:
        _wait()
        with sync_playwright() as playwright:
            path = os.environ.get("CHROMIUM", "/usr/bin/chromium")
            browser = playwright.chromium.launch(executable_path=path, args=FLAGS)
            page = browser.new_page(bypass_csp=True, viewport={"width": 1280, "height": 720})
            if bare_event is not None:
                page.goto(f"http://localhost:{PORT}/?event={bare_event}")
                page.wait_for_selector('.wb[data-ready="1"]', timeout=60_000)
                save(page, "no_footprints")
            before_labels(page, event)
            imported = [sys.executable, "-m", "damage_ssl", "label", "import", event, labels, "--workspace", workspace]
            subprocess.run(imported, check=True)
            walk(page, event)
            browser.close()
    finally:
        app.terminate()
        app.wait()


def before_labels(page: Page, event: str) -> None:
    """The event, the position of its images, and the first map."""
    page.goto(f"http://localhost:{PORT}/?event={event}")
    page.wait_for_selector('.wb[data-ready="1"]', timeout=60_000)
    save(page, "event")
    page.get_by_text("Position of the images").click()
    page.wait_for_timeout(1000)
    page.locator(".st-key-nudge").scroll_into_view_if_needed()
    save(page, "position")
    page.get_by_text("Position of the images").click()
    page.locator(".st-key-first-map button").click()
    page.wait_for_function("/finished/.test(document.querySelector('.st-key-go-train')?.innerText)", timeout=300_000)
    step(page, "results")
    save(page, "first_map")


def walk(page: Page, event: str) -> None:
    """Labelling, training and the result, in the order in which an analyst meets them."""
    page.goto(f"http://localhost:{PORT}/?event={event}")
    page.wait_for_selector('.wb[data-ready="1"]', timeout=60_000)
    step(page, "label")
    page.wait_for_selector(".wb-inspector[data-building]")
    save(page, "label")
    page.locator(".wb-close").click()
    step(page, "train")
    page.wait_for_timeout(1500)  # the map takes the width of the closed inspector
    page.locator(".wb-fit").click()
    save(page, "train")
    page.locator(".st-key-train button").click()
    page.wait_for_selector(".ds-spark", timeout=300_000)
    save(page, "training")
    page.locator(".st-key-cancel button").click()
    page.wait_for_selector(".st-key-train button", timeout=60_000)
    page.wait_for_timeout(2000)
    page.locator(".st-key-train-method input").first.click()
    page.get_by_role("option", name="Quick model").click()
    page.wait_for_timeout(2000)
    page.locator(".st-key-train button").click()
    page.wait_for_function("/finished/.test(document.querySelector('.st-key-go-train')?.innerText)", timeout=900_000)
    step(page, "results")
    save(page, "results")
    page.locator(".wb-modes [data-mode=probability]").click()
    box = page.locator(".wb-map").bounding_box() or {}
    page.mouse.move(box["x"] + box["width"] * 0.6, box["y"] + box["height"] * 0.45)
    for _ in range(3):
        page.mouse.wheel(0, -120)
        page.wait_for_timeout(250)
    for place in range(40):
        across, down = 0.55 + 0.03 * (place % 10), 0.35 + 0.06 * (place // 10)
        page.mouse.click(box["x"] + box["width"] * across, box["y"] + box["height"] * down)
        page.wait_for_timeout(400)
        if page.locator(".wb-map").get_attribute("data-selected"):
            break
    save(page, "probability")


def step(page: Page, name: str) -> None:
    """Open a step."""
    page.wait_for_timeout(800)
    page.locator(f".st-key-go-{name} button").click()
    page.wait_for_selector(f".st-key-body-{name}")


def save(page: Page, name: str) -> None:
    """Save the screen once tiles and footprints have come."""
    page.wait_for_timeout(1500)
    page.wait_for_load_state("networkidle")
    page.wait_for_timeout(1500)
    page.screenshot(path=HERE / f"{name}.jpg", type="jpeg", quality=86)


def _wait() -> None:
    for _ in range(300):
        try:
            with urllib.request.urlopen(f"http://localhost:{PORT}/_stcore/health", timeout=2):
                return
        except OSError:
            time.sleep(0.2)
    raise SystemExit("the app did not start")


if __name__ == "__main__":
    main(*sys.argv[1:])
