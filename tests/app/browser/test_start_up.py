"""The start-up token in a browser: the printed address opens the page, the bare one explains itself."""

import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.app.browser.server import running_app

if TYPE_CHECKING:
    from playwright.sync_api import Browser

pytestmark = [pytest.mark.browser, pytest.mark.long, pytest.mark.timeout(300)]


def test_printed_address_opens_the_page_and_the_bare_one_says_why_not(browser: "Browser", tmp_path: Path) -> None:
    (tmp_path / "workspace").mkdir()
    with running_app(tmp_path / "workspace", tmp_path / "log.txt", words=()) as app:
        printed = re.search(r"open (http://\S+token=\S+)", app.said())
        assert printed is not None
        context = browser.new_context()
        page = context.new_page()
        page.goto(app.address)
        assert "Open the address that was printed" in page.inner_text("body")
        page.goto(printed[1])
        page.get_by_text("damage_ssl").first.wait_for(timeout=60_000)
        page.get_by_text("Files", exact=True).first.wait_for(timeout=60_000)  # said through the websocket
        assert "token=" not in page.url
        context.close()
