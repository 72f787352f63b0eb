"""The page in a real browser: pictures are shown, buttons work, nothing is refused by policy."""

import io
import json
import shutil
import urllib.request
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from PIL import Image
from playwright.sync_api import Page, sync_playwright

from coatcheck.client import Client

Fixture = Callable[..., Any]
pytestmark = pytest.mark.system

# As root Chromium has no sandbox of its own; the rest keeps it from calling home.
_FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@pytest.fixture
def page() -> Iterator[Page]:
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("chromium is missing; as root: apt-get install chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=_FLAGS)
        page = browser.new_page(viewport={"width": 1100, "height": 900})
        yield page
        browser.close()


def picture(colour: str) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (120, 80), colour).save(file, "PNG")
    return file.getvalue()


def turn(url: str, ref: str) -> None:
    part = {"type": "image_url", "image_url": {"url": ref}}
    body = {"model": "m", "messages": [{"role": "user", "content": [part]}]}
    request = urllib.request.Request(
        f"{url}/v1/chat/completions", json.dumps(body).encode(), method="POST"
    )
    with urllib.request.urlopen(request, timeout=10) as answer:
        assert answer.status == 200


def test_the_page_shows_the_pictures_and_evicts(serve: Fixture, page: Page) -> None:
    url = serve().url
    with Client(url) as client:
        first, second = (client.put(picture(colour)) for colour in ("teal", "orange"))
    turn(url, first.ref)
    turn(url, second.ref)
    turn(url, first.ref)
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))

    page.goto(f"{url}/admin")
    page.wait_for_load_state("networkidle")
    rows = page.locator("#cache tbody tr")
    assert rows.count() == 2
    assert first.digest in rows.first.inner_text()
    pictures = page.locator("img").all()
    assert len(pictures) == 4
    for shown in pictures:
        shown.scroll_into_view_if_needed()
        assert shown.evaluate("image => image.decode().then(() => image.naturalWidth)") == 120

    rows.first.get_by_role("button", name="Evict").click()
    page.wait_for_url(f"{url}/admin#cache")
    assert page.locator("#cache tbody tr").count() == 1
    page.get_by_role("button", name="Evict all").click()
    page.get_by_text("Nothing has been resolved yet").wait_for()
    assert complaints == []
