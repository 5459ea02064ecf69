"""Headless Chromium for the tests of pages, and the marks of modules that open it."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Playwright

CHROMIUM = Path(os.environ.get("CHROMIUM", "/usr/bin/chromium"))
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]

BROWSER = [
    pytest.mark.browser,
    pytest.mark.timeout(1200),
    pytest.mark.skipif(not CHROMIUM.exists(), reason=f"Chromium is not at {CHROMIUM} (set CHROMIUM to its path)"),
    pytest.mark.filterwarnings("ignore:Use `@` matmul:PendingDeprecationWarning"),  # within rasterio
]
"""`pytestmark` of every module that opens a browser."""


def launch(playwright: "Playwright", *flags: str) -> "Browser":
    """Headless Chromium that asks nobody for anything by itself."""
    return playwright.chromium.launch(executable_path=str(CHROMIUM), args=[*FLAGS, *flags])
