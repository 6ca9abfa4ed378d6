"""The download against a server of our own on this machine: interrupted, resumed, verified."""

from __future__ import annotations

import contextlib
import http.server
import re
import shutil
import socket
import threading
from collections import namedtuple
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest

from ranoscope.cohort import download as module
from ranoscope.cohort.download import FILES, PublishedFile, download
from ranoscope.errors import DownloadError, StorageError

PAYLOAD = bytes(range(256)) * 4096  # 1 MiB
BIG = PublishedFile(7, "Imaging.zip", len(PAYLOAD))
Usage = namedtuple("Usage", "total used free")


@dataclass
class Served:
    """What the server does: ``cut`` = bytes after which it hangs up (one entry per answer), ``statuses`` come first."""

    url: str = ""
    files: dict[str, bytes] = field(default_factory=dict)
    ranges: bool = True
    kind: str = "application/octet-stream"
    cut: list[int] = field(default_factory=list)
    statuses: list[int] = field(default_factory=list)
    asked: list[str | None] = field(default_factory=list)


def make_handler(served: Served) -> type[http.server.BaseHTTPRequestHandler]:
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked = self.headers.get("Range")
            served.asked.append(asked)
            payload = served.files.get(self.path)
            status = served.statuses.pop(0) if served.statuses else (200 if payload is not None else 404)
            if status != 200:
                self.send_response(status)
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            self._send(payload, asked if served.ranges else None)

        def _send(self, payload: bytes, asked: str | None) -> None:
            start = int(re.match(r"bytes=(\d+)-", asked)[1]) if asked else 0
            if start >= len(payload):
                self.send_error(416)
                return
            self.send_response(206 if asked else 200)
            if asked:
                self.send_header("Content-Range", f"bytes {start}-{len(payload) - 1}/{len(payload)}")
            self.send_header("Content-Type", served.kind)
            self.send_header("Content-Length", str(len(payload) - start))
            self.end_headers()
            body = payload[start:]
            with contextlib.suppress(OSError):  # the client may have gone first: that is one of the tests
                self.wfile.write(body[: served.cut.pop(0)] if served.cut else body)
                self.wfile.flush()
                self.connection.shutdown(socket.SHUT_RDWR)

        def log_message(self, *_: object) -> None:
            """Stay silent."""

    return Handler


@pytest.fixture
def served(monkeypatch) -> Iterator[Served]:
    served = Served(files={"/7": PAYLOAD, "/8": b"Patient,Date\n"})
    monkeypatch.setattr(module, "_PAUSE_S", 0.0)
    monkeypatch.setattr(module, "_MARGIN", 0)
    monkeypatch.setattr(module, "_CHUNK", 1 << 16)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), make_handler(served)) as server:
        served.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield served
        server.shutdown()
        thread.join()


def test_whole_files_with_progress(served, tmp_path):
    seen = []
    files = (PublishedFile(8, "ratings.csv"), BIG)
    paths = download(tmp_path / "out", True, served.url, files, lambda *state: seen.append(state))
    assert [path.name for path in paths] == ["ratings.csv", "Imaging.zip"]
    assert paths[1].read_bytes() == PAYLOAD
    assert seen[-1] == (len(PAYLOAD), len(PAYLOAD), "Imaging.zip")
    assert not list((tmp_path / "out").glob("*.part"))


def test_whole_files_are_not_fetched_again(served, tmp_path):
    download(tmp_path, True, served.url, (BIG,))
    download(tmp_path, True, served.url, (BIG,))
    assert served.asked == [None]


def test_the_licence_comes_first(served, tmp_path):
    with pytest.raises(DownloadError, match="licence"):
        download(tmp_path / "out", False, served.url, (BIG,))
    assert not served.asked
    assert not (tmp_path / "out").exists()


def test_a_broken_connection_is_resumed_where_it_stopped(served, tmp_path):
    served.cut = [300_000, 300_000]
    (path,) = download(tmp_path, True, served.url, (BIG,))
    assert path.read_bytes() == PAYLOAD
    assert served.asked == [None, "bytes=300000-", "bytes=600000-"]


def test_a_killed_download_is_resumed_by_the_next_command(served, tmp_path):
    def interrupt(done: int, total: int, name: str) -> None:
        if done > 400_000:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        download(tmp_path, True, served.url, (BIG,), interrupt)
    part = tmp_path / "Imaging.zip.part"
    have = part.stat().st_size
    assert 400_000 < have < len(PAYLOAD)
    assert not (tmp_path / "Imaging.zip").exists()
    (path,) = download(tmp_path, True, served.url, (BIG,))
    assert served.asked[-1] == f"bytes={have}-"
    assert path.read_bytes() == PAYLOAD


def test_a_server_that_ignores_the_range_sends_all_again(served, tmp_path):
    served.ranges = False
    (tmp_path / "Imaging.zip.part").write_bytes(b"x" * 1000)
    (path,) = download(tmp_path, True, served.url, (BIG,))
    assert path.read_bytes() == PAYLOAD


def test_a_complete_part_is_only_renamed(served, tmp_path):
    (tmp_path / "Imaging.zip.part").write_bytes(PAYLOAD)
    download(tmp_path, True, served.url, (BIG,))
    assert served.asked == []


@pytest.mark.parametrize("size", [None, len(PAYLOAD)])
def test_a_part_longer_than_the_file_starts_afresh(served, tmp_path, size):
    (tmp_path / "Imaging.zip.part").write_bytes(PAYLOAD + b"more")
    (path,) = download(tmp_path, True, served.url, (PublishedFile(7, "Imaging.zip", size),))
    assert path.read_bytes() == PAYLOAD


@pytest.mark.parametrize("size", [len(PAYLOAD) + 1, len(PAYLOAD) - 1])
def test_a_wrong_size_is_refused(served, tmp_path, size):
    with pytest.raises(DownloadError, match=rf"{size} bytes, got {len(PAYLOAD)} bytes, in Imaging\.zip"):
        download(tmp_path, True, served.url, (PublishedFile(7, "Imaging.zip", size),))
    assert not list(tmp_path.iterdir())


def test_a_busy_server_is_asked_again(served, tmp_path):
    served.statuses = [503, 429, 202]
    (path,) = download(tmp_path, True, served.url, (BIG,))
    assert path.read_bytes() == PAYLOAD


def test_giving_up_says_how_to_go_on(served, tmp_path):
    served.statuses = [503] * 50
    with pytest.raises(DownloadError, match=r"status 503 in 8 attempts .*give the same command again"):
        download(tmp_path, True, served.url, (BIG,))
    assert len(served.asked) == 8


def test_progress_restores_patience(served, tmp_path):
    served.cut = [100_000] * 10
    (path,) = download(tmp_path, True, served.url, (BIG,))
    assert path.read_bytes() == PAYLOAD


def test_refusals_and_web_pages_are_not_retried(served, tmp_path):
    with pytest.raises(DownloadError, match=r"the file, got status 404 .* in gone\.csv; fetch it by browser"):
        download(tmp_path, True, served.url, (PublishedFile(9, "gone.csv"),))
    served.kind = "text/html; charset=utf-8"
    with pytest.raises(DownloadError, match="got a web page"):
        download(tmp_path, True, served.url, (BIG,))
    assert len(served.asked) == 2


def test_nobody_answers(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_PAUSE_S", 0.0)
    monkeypatch.setattr(module, "_MARGIN", 0)
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        with pytest.raises(DownloadError, match="no answer"):
            download(tmp_path, True, f"http://127.0.0.1:{unused.getsockname()[1]}", (BIG,))


def test_space_is_checked_before_anything_is_fetched(served, tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(10**12, 0, len(PAYLOAD) - 1))
    with pytest.raises(StorageError, match="of free space"):
        download(tmp_path, True, served.url, (BIG,))
    assert not served.asked
    (tmp_path / "Imaging.zip.part").write_bytes(PAYLOAD[:10])
    (path,) = download(tmp_path, True, served.url, (BIG,))
    assert path.read_bytes() == PAYLOAD


def test_the_published_files():
    assert {file.name: file.id for file in FILES}["Imaging-v202211.zip"] == 38249697
    assert sum(file.size or 0 for file in FILES) == 32_565_467_707
