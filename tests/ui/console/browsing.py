"""A console that runs and a Chromium that looks at it, for the tests of a module."""

from __future__ import annotations

import io
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import uvicorn
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright
from tests.ui.conftest import PASSWORD, Place

from agenticrs.ui.api.app import create_app

ROOT = Path(__file__).resolve().parents[3]
PICTURES = ROOT / "docs" / "pictures"
_CHROMIUM = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
_COLOURS = 255


@contextmanager
def served(place: Place) -> Iterator[str]:
    """The app of a place on a free port of the loopback address, in a thread; its address."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        # No lifespan: the thread that follows MLflow is not what is looked at.
        config = uvicorn.Config(
            create_app(place.app_dependencies()),
            lifespan="off",
            log_config=None,
            timeout_graceful_shutdown=1,
        )
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join(30)


@contextmanager
def chromium() -> Iterator[Browser]:
    """The machine's Chromium."""
    found = subprocess.run(
        [sys.executable, ROOT / "tests" / "browser.py"], check=True, capture_output=True, text=True
    )
    path = found.stdout.strip().removeprefix("browser: ")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=[*_CHROMIUM])
        yield browser
        browser.close()


@dataclass
class Reader:
    """Somebody who has logged in, with a page of their browser.

    ``foreign`` are requests to other hosts, ``complaints`` what the browser's console said of
    errors and refused content.
    """

    address: str
    context: BrowserContext
    page: Page
    foreign: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)

    def open(self, path: str) -> Page:
        """Go there; the page is ready when its scripts have run."""
        self.page.goto(self.address + path, wait_until="load")
        return self.page

    def watch(self) -> None:
        """Note what no page may do."""
        self.context.on(
            "request",
            lambda r: self.foreign.append(r.url) if not r.url.startswith(self.address) else None,
        )
        self.page.on(
            "console", lambda m: self.complaints.append(m.text) if m.type == "error" else None
        )
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))

    def photograph(self, name: str) -> None:
        """Keep what is seen as a small picture of the documentation."""
        photograph(self.page, name)


def photograph(page: Page, name: str) -> None:
    """Keep what a page shows as a small picture of the documentation."""
    from PIL import Image

    PICTURES.mkdir(exist_ok=True)
    seen = Image.open(io.BytesIO(page.screenshot()))
    small = seen.convert("RGB").quantize(_COLOURS, dither=Image.Dither.NONE)
    small.save(PICTURES / f"console-{name}.png", optimize=True)


def reader_of(
    browser: Browser, address: str, *, width: int = 1280, height: int = 860, name: str = "admin"
) -> Reader:
    """A new reader in Berlin, logged in."""
    context = browser.new_context(
        viewport={"width": width, "height": height},
        timezone_id="Europe/Berlin",
        locale="en-GB",
        reduced_motion="reduce",
    )
    context.set_default_timeout(60_000)
    reader = Reader(address, context, context.new_page())
    reader.watch()
    page = reader.open("/login")
    page.fill("[name=name]", name)
    page.fill("[name=password]", PASSWORD)
    page.click("button.primary")
    page.wait_for_url(f"{address}/")
    return reader
