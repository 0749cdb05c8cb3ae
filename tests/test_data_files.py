"""Downloads: a file arrives whole or not at all, whatever the server does."""

import hashlib
import http.server
import multiprocessing
import os
import shutil
import signal
import sys
import threading
import time

import pytest

from coursekit.data import files
from coursekit.data.files import Remote, data_home, fetch

CONTENT = bytes(range(256)) * 400
PAGE = b"<!DOCTYPE html><html><body>Too many requests. Sign in to continue.</body></html>"


class Server(http.server.ThreadingHTTPServer):
    """Serves CONTENT in the way that the first part of the path names, and counts requests."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.requests = []
        self.closing = threading.Event()

    def mirror(self, *ways):
        return tuple(f"http://127.0.0.1:{self.server_port}/{way}/" for way in ways)


class Handler(http.server.BaseHTTPRequestHandler):
    def log_message(self, *args):
        pass

    def do_GET(self):
        way = self.path.split("/")[1]
        self.server.requests.append(way)
        answer = getattr(self, way)()
        if answer is not None:
            self.reply(*answer)

    def reply(self, status, body, length=None, **headers):
        self.send_response(status)
        if length != 0:
            self.send_header("Content-Length", str(length or len(body)))
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def good(self):
        return 200, CONTENT

    def slow(self):
        time.sleep(0.5)
        return 200, CONTENT

    def missing(self):
        return 404, b"no such file"

    def broken(self):
        return 500, b""

    def page(self):  # a quota page instead of the file, as Google Drive has it
        return 200, PAGE

    def short(self):  # the connection ends early
        return 200, CONTENT[:5000], len(CONTENT)

    def unannounced(self):  # it ends early, and nobody said how long it would be
        return 200, CONTENT[:5000], 0

    def wrong(self):  # a byte differs
        return 200, CONTENT[:-1] + b"?"

    def endless(self):
        self.send_response(200)
        self.end_headers()
        try:
            while not self.server.closing.is_set():
                self.wfile.write(bytes(1 << 16))
        except OSError:
            pass

    def stalling(self):
        self.send_response(200)
        self.send_header("Content-Length", str(len(CONTENT)))
        self.end_headers()
        self.wfile.write(CONTENT[:5000])
        self.wfile.flush()
        self.server.closing.wait(20)

    def moved(self):
        self.send_response(302)
        self.send_header("Location", self.path.replace("moved", "good"))
        self.end_headers()

    def renamed(self):  # a header that would make wget choose another name
        self.reply(200, CONTENT, **{"Content-Disposition": 'attachment; filename="../../evil"'})


@pytest.fixture
def server():
    with Server() as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield running
        running.closing.set()
        running.shutdown()


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("COURSEKIT_DATA", str(tmp_path / "data"))
    monkeypatch.chdir(tmp_path)
    return tmp_path / "data"


def remote(mirrors, content=CONTENT, path="set/file.bin"):
    md5 = hashlib.md5(content).hexdigest()
    return Remote(path, md5, len(content), mirrors, "digits")


def everything(folder):
    """All files and folders below, but for lock files."""
    found = (path for path in folder.rglob("*") if not path.name.endswith(".lock"))
    return sorted(str(path.relative_to(folder)) for path in found)


def test_a_good_mirror_delivers(server, home):
    path = fetch(remote(server.mirror("good")))
    assert path == home / "set" / "file.bin"
    assert path.read_bytes() == CONTENT
    assert everything(home.parent) == ["data", "data/set", "data/set/file.bin"]
    fetch(remote(server.mirror("good")))
    assert server.requests == ["good"]


@pytest.mark.parametrize(
    ("way", "fault"),
    [
        ("missing", "404"),
        ("broken", "500"),
        ("page", f"got an HTML page, {len(PAGE)} bytes instead of {len(CONTENT)}"),
        ("short", "got only 5000 out of"),
        ("unannounced", f"got 5000 bytes instead of {len(CONTENT)}"),
        ("wrong", "its MD5 is"),
        ("endless", f"larger than {len(CONTENT)} bytes"),
        ("stalling", "no data for 1 seconds"),
    ],
)
def test_a_fault_is_named_and_the_next_mirror_is_tried(server, home, monkeypatch, way, fault):
    if way == "stalling":
        monkeypatch.setattr(files, "STALL_SECONDS", 1.0)
    with pytest.raises(FileNotFoundError, match=fault) as caught:
        fetch(remote(server.mirror(way)))
    assert everything(home) == ["set"]
    message = str(caught.value)
    assert str(home / "set" / "file.bin") in message  # where to put it
    assert server.mirror(way)[0] + "file.bin" in message  # where to get it
    assert 'data.load("digits")' in message  # what to use meanwhile

    # The machine may be too busy for the good mirror to begin within that second.
    monkeypatch.setattr(files, "STALL_SECONDS", 3.0 if way == "stalling" else 30.0)
    assert fetch(remote(server.mirror(way, "good"))).read_bytes() == CONTENT
    assert server.requests == [way, way, "good"]
    assert everything(home) == ["set", "set/file.bin"]


def test_offline_says_so_for_every_mirror(home):
    mirrors = ("http://127.0.0.1:9/", "http://name.invalid/")
    with pytest.raises(FileNotFoundError) as caught:
        fetch(remote(mirrors))
    assert "127.0.0.1:9/file.bin: " in str(caught.value)
    assert "refused" in str(caught.value)
    assert "name.invalid/file.bin: " in str(caught.value)
    assert everything(home) == ["set"]


def test_redirects_are_followed_and_headers_choose_no_name(server, home):
    assert fetch(remote(server.mirror("moved"))).read_bytes() == CONTENT
    path = fetch(remote(server.mirror("renamed"), path="set/other.bin"))
    assert path.read_bytes() == CONTENT
    assert everything(home.parent) == [
        "data",
        "data/set",
        "data/set/file.bin",
        "data/set/other.bin",
    ]


def test_a_file_that_is_there_is_used_as_it_is(server, home):
    target = home / "set" / "file.bin"
    target.parent.mkdir(parents=True)
    target.write_bytes(b"mine")
    assert fetch(remote(server.mirror("good"))).read_bytes() == b"mine"
    assert server.requests == []


def test_a_total_time_limit(server, monkeypatch):
    monkeypatch.setattr(files, "STALL_SECONDS", 0.3)
    monkeypatch.setattr(files, "SLOWEST", 1e12)
    with pytest.raises(FileNotFoundError, match=r"no data for 0 seconds|not done after 0 seconds"):
        fetch(remote(server.mirror("slow")))


def fetch_in_child(wanted):
    fetch(wanted)
    os._exit(0)


fork = multiprocessing.get_context("fork")


def test_processes_at_once_download_once(server, home):
    children = [fork.Process(target=fetch_in_child, args=(remote(server.mirror("slow")),))
                for _ in range(3)]  # fmt: skip
    for child in children:
        child.start()
    for child in children:
        child.join(30)
        assert child.exitcode == 0
    assert server.requests == ["slow"]
    assert everything(home) == ["set", "set/file.bin"]
    assert (home / "set" / "file.bin").read_bytes() == CONTENT


def test_a_killed_download_leaves_no_file_and_is_cleaned_up(server, home):
    child = fork.Process(target=fetch_in_child, args=(remote(server.mirror("stalling")),))
    child.start()
    deadline = time.monotonic() + 20
    while not server.requests and time.monotonic() < deadline:
        time.sleep(0.05)
    os.kill(child.pid, signal.SIGKILL)
    child.join()
    server.closing.set()  # the orphaned transfer ends
    assert not (home / "set" / "file.bin").exists()
    assert fetch(remote(server.mirror("good"))).read_bytes() == CONTENT
    assert everything(home) == ["set", "set/file.bin"]


def test_an_interrupt_leaves_nothing(server, home, monkeypatch):
    def interrupt(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr("tqdm.auto.tqdm.update", interrupt)
    with pytest.raises(KeyboardInterrupt):
        fetch(remote(server.mirror("endless")))
    assert everything(home) == ["set"]


def test_a_full_disk_is_found_before_the_download(server, home, monkeypatch):
    usage = type(shutil.disk_usage("."))
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(10**9, 10**9 - 1000, 1000))
    with pytest.raises(OSError, match=r"file.bin needs 0.1 MB, but only 0.0 MB are free"):
        fetch(remote(server.mirror("good")))
    assert server.requests == []
    assert everything(home) == ["set"]


def test_a_disk_that_fills_up_stops_the_search_for_mirrors(server, home, monkeypatch):
    # What wget ends with then; the other mirrors would fare no better.
    full = "OSError: [Errno 28] No space left on device"
    fake = home.parent / "python"
    fake.write_text(f"#!/bin/sh\necho '{full}' >&2\nexit 1\n")
    fake.chmod(0o755)
    monkeypatch.setattr("sys.executable", str(fake))
    with pytest.raises(OSError, match=r"the disk is full; .*Set COURSEKIT_DATA"):
        fetch(remote(server.mirror("good", "good")))
    assert everything(home) == ["set"]


def test_a_folder_that_cannot_be_made_is_named(server, home, monkeypatch):
    home.write_bytes(b"a file where the folder should be")
    with pytest.raises(OSError, match="Set COURSEKIT_DATA to a folder that can be written to"):
        fetch(remote(server.mirror("good")))
    assert home.read_bytes() == b"a file where the folder should be"


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write")
def test_a_folder_without_permission_is_named(server, home):
    home.mkdir()
    home.chmod(0o500)
    with pytest.raises(PermissionError, match="Set COURSEKIT_DATA to a folder that can be written"):
        fetch(remote(server.mirror("good")))


def test_data_home(monkeypatch, tmp_path):
    assert data_home() == tmp_path / "data"
    monkeypatch.delenv("COURSEKIT_DATA")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    if sys.platform == "linux":
        assert data_home() == tmp_path / "cache" / "coursekit"
