"""Looking for new versions: a real server, the real window, nothing trusted unverified."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PySide6.QtGui import QDesktopServices

from app.controllers.update_controller import DAY, UpdateController
from app.core.build_facts import BuildFacts
from app.core.updates import Release, is_newer, is_safe_address, parse_feed
from app.services.updates import Updates
from app.ui.main_window import MainWindow
from app.ui.settings import page as settings_page
from app.ui.updates import UpdateNotices

IMAGE = b"a disk image" * 50_000


@dataclass
class Server:
    """What is served under which path, and what was asked for."""

    address: str = ""
    answers: dict[str, tuple[int, bytes]] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)

    def publish(self, version: str, *, image: bytes = IMAGE, digest: str = "") -> None:
        feed = {
            "version": version,
            "page": f"{self.address}/page",
            "download": f"{self.address}/Facet.dmg",
            "sha256": digest or hashlib.sha256(image).hexdigest(),
        }
        self.answers["/feed.json"] = (200, json.dumps(feed).encode())
        self.answers["/Facet.dmg"] = (200, image)


@pytest.fixture
def server() -> Iterator[Server]:
    known = Server()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            known.asked.append(self.path)
            status, body = known.answers.get(self.path, (404, b""))
            self.send_response(status)
            if status in (301, 302):
                self.send_header("location", body.decode())
                body = b""
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_arguments: object) -> None:
            pass

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    known.address = f"http://127.0.0.1:{http.server_port}"
    thread = Thread(target=http.serve_forever, daemon=True)
    thread.start()
    yield known
    http.shutdown()
    http.server_close()
    thread.join(5)


@pytest.fixture
def make(
    window: MainWindow, server: Server, tmp_path: Path
) -> Iterator[Callable[..., UpdateController]]:
    made: list[UpdateController] = []

    def build(version: str = "1.0.0", now: float = 10 * DAY) -> UpdateController:
        updates = Updates(f"{server.address}/feed.json", version)
        controller = UpdateController(
            updates, window.state.settings, tmp_path, clock=lambda: now, parent=window
        )
        UpdateNotices(window, controller)
        made.append(controller)
        return controller

    yield build
    for controller in made:
        controller.stop()


def test_a_newer_version_is_offered_fetched_and_verified(
    window, qtbot, server, make, tmp_path, monkeypatch
) -> None:
    opened = []
    monkeypatch.setattr(QDesktopServices, "openUrl", lambda url: opened.append(url.toString()))
    server.publish("1.2.0")
    make()
    window.menus.actions["updates"].trigger()
    qtbot.waitUntil(lambda: "Facet 1.2.0 is there" in window.notice.text)
    window.notice._button.click()
    qtbot.waitUntil(lambda: "checksum verified" in window.notice.text)
    assert (tmp_path / "Facet-1.2.0.dmg").read_bytes() == IMAGE
    window.notice._button.click()
    assert opened == [f"{server.address}/page"]


def test_another_file_than_the_published_one_is_removed(
    window, qtbot, server, make, tmp_path
) -> None:
    server.publish("1.2.0", digest="0" * 64)
    controller = make()
    release = Release("1.2.0", server.address, f"{server.address}/Facet.dmg", "0" * 64)
    controller.fetch(release)
    qtbot.waitUntil(lambda: "not the one that was published" in window.notice.text)
    assert not list(tmp_path.glob("Facet*"))


@pytest.mark.parametrize(
    ("status", "body", "words"),
    [
        (404, b"", "error 404"),
        (200, b"<html>", "cannot be read"),
        (200, b'{"version": "../../x", "page": "", "download": "", "sha256": ""}', "no version"),
        (200, b"[" * 60_000, "cannot be read"),
        (200, b" " * 100_000, "too long"),
        (302, b"http://example.invalid/feed.json", "not secure"),
    ],
)
def test_a_bad_feed_is_one_sentence(
    window, qtbot, server, make, caplog, status: int, body: bytes, words: str
) -> None:
    server.answers["/feed.json"] = (status, body)
    make().check_now()
    qtbot.waitUntil(lambda: words in window.notice.text)
    caplog.clear()


def test_nothing_new_is_said_only_to_who_asked(window, qtbot, server, make) -> None:
    server.publish("1.0.0")
    window.state.settings.set("check_updates", True)
    controller = make()
    controller.check_if_due()
    qtbot.waitUntil(lambda: server.asked == ["/feed.json"])
    controller.check_now()
    qtbot.waitUntil(lambda: "newest version" in window.notice.text)


def test_without_consent_nobody_is_asked_and_with_it_once_a_day(
    window, qtbot, server, make
) -> None:
    server.publish("1.0.0")
    make().check_if_due()
    window.state.settings.set("check_updates", True)
    make().check_if_due()
    make(now=10 * DAY + 60).check_if_due()
    make(now=11 * DAY).check_if_due()
    qtbot.waitUntil(lambda: len(server.asked) == 2)


def test_the_setting_is_absent_without_a_feed(window, monkeypatch) -> None:
    assert "check_updates" not in window.page("settings").lines
    assert "updates" not in window.menus.actions
    monkeypatch.setattr(settings_page, "build_facts", lambda: BuildFacts(feed="https://x/feed"))
    page = settings_page.SettingsPage(window.theme, window.state.settings)
    assert "check_updates" in page.lines


def test_newer_means_a_higher_number() -> None:
    assert is_newer("1.10.0", "1.9.3")
    assert is_newer("2", "1.9")
    assert not is_newer("1.0", "1.0.0")
    assert not is_newer("1.0.0", "1.0.1.dev0")
    assert not is_newer("9.9", "0"), "a development copy takes no updates"


def test_only_encrypted_addresses_are_followed() -> None:
    assert is_safe_address("https://example.org/x")
    assert not is_safe_address("http://example.org/x")
    assert not is_safe_address("file:///etc/passwd")
    assert not is_safe_address("https://")


@given(st.binary(max_size=200))
def test_any_bytes_are_a_release_or_one_sentence(body: bytes) -> None:
    try:
        release = parse_feed(body)
    except ValueError as problem:
        release = None
        said = str(problem)
    assert release or said.endswith(".")
