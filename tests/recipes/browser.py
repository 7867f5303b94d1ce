"""Pages in a browser: Chromium without a window, and a server that notes what was asked for.

with open_page(folder) as page:      # a page of Playwright, once the model has been loaded
    page.fill("#text", "Not bad at all!")
page.asked                           # addresses
"""

import contextlib
import functools
import http.server
import os
import shutil
import threading
import urllib.parse

import pytest

from recipes.kit import web
from tests.documents import ROOT

_SECONDS = 120  # at most, to load a page on a busy machine
_BROWSERS = "chromium", "chromium-browser", "google-chrome"


def needed():
    """The folder of LiteRT.js and the browser's program; skips the test where one is missing."""
    pytest.importorskip("playwright.sync_api", reason="no playwright: pip install playwright")
    browser = next(filter(None, map(shutil.which, _BROWSERS)), None)
    if browser is None:
        pytest.skip(f"no browser: none of {', '.join(_BROWSERS)} is installed")
    for folder in (ROOT / "node_modules", ROOT / ".venv" / "node_modules"):
        if (folder / "@litertjs").is_dir():
            return folder, browser
    return pytest.skip(f"no LiteRT.js: {web.INSTALL}")


@contextlib.contextmanager
def open_page(folder):
    """The page in a folder, ready to read; fails on errors and on requests that leave the folder.

    Args:
        folder: Path.
    """
    _, browser = needed()
    from playwright.sync_api import sync_playwright

    with _served(folder) as (address, not_found), sync_playwright() as playwright:
        options = ["--no-sandbox"] if hasattr(os, "geteuid") and not os.geteuid() else []
        chromium = playwright.chromium.launch(executable_path=browser, args=options)
        page = chromium.new_page()
        page.set_default_timeout(1000 * _SECONDS)
        asked, errors = [], []
        page.on("request", lambda request: asked.append(request.url))
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on("console", lambda line: errors.append(line.text) if _is_error(line) else None)
        page.goto(address)
        page.wait_for_selector("form :enabled")
        yield page
        assert not page.locator("#status.error").count(), page.locator("#status").inner_text()
        chromium.close()
    assert not errors
    assert not not_found
    hosts = {urllib.parse.urlsplit(url).netloc for url in asked if not url.startswith("data:")}
    assert hosts == {urllib.parse.urlsplit(address).netloc}


def _is_error(line):
    """Whether a line of the console is an error, and not one of LiteRT.js' remarks."""
    return line.type == "error" and not line.text.startswith(("INFO: ", "WARNING: "))


@contextlib.contextmanager
def _served(folder):
    """The address of a server, and a list of what was asked for and is not there."""
    not_found = []

    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *args):
            pass

        def send_error(self, *args, **kwargs):
            not_found.append(self.path)
            super().send_error(*args, **kwargs)

    handler = functools.partial(Handler, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/", not_found
        server.shutdown()


def wait_for_text(page, text):
    """Waits until the page of a classifier shows what it has read of a text."""
    page.wait_for_function(
        "text => document.getElementById('words').textContent === text", arg=text
    )


def read_text(page, text):
    """What the page of a classifier says of a text.

    Returns:
        The label, its probability, and pairs of each marked part and its title.
    """
    page.fill("#text", text)
    wait_for_text(page, text)
    marks = page.locator("#words mark").all()
    label, probability = (page.locator(name).inner_text() for name in ("#label", "#probability"))
    return (
        label,
        float(probability),
        [(mark.text_content(), mark.get_attribute("title")) for mark in marks],
    )
