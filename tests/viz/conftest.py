"""A browser for the tests: headless Chromium, driven through the DevTools protocol over a pipe."""

import base64
import contextlib
import fcntl
import json
import os
import re
import select
import shutil
import subprocess
import time

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
FLAGS = ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage")
LIMIT = 60.0  # seconds for one answer: a machine under load starts a browser slowly


class Browser:
    """One browser with one page. `send` speaks the protocol, the rest is what the tests need."""

    def __init__(self, program, profile):
        commands, self.writer = os.pipe()
        self.reader, answers = os.pipe()
        # Chromium reads commands from descriptor 3 and answers on 4: copies out of their way first.
        theirs = [fcntl.fcntl(end, fcntl.F_DUPFD, 10) for end in (commands, answers)]
        wiring = 'exec "$0" "$@" 3<&{} 4>&{}'.format(*theirs)
        mine = ("--remote-debugging-pipe", f"--user-data-dir={profile}", "about:blank")
        self.process = subprocess.Popen(
            ["bash", "-c", wiring, program, *FLAGS, *mine],
            pass_fds=theirs,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for end in (commands, answers, *theirs):
            os.close(end)
        self.buffer, self.count, self.session = b"", 0, None
        target = self.send("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.send("Target.attachToTarget", targetId=target, flatten=True)[
            "sessionId"
        ]

    def send(self, method, **params):
        """Send a command and wait for its answer; events are passed over."""
        self.count += 1
        message = {"id": self.count, "method": method, "params": params}
        if self.session:
            message["sessionId"] = self.session
        os.write(self.writer, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._receive()
            if answer.get("id") == self.count:
                assert "error" not in answer, f"{method}: {answer['error']}"
                return answer["result"]

    def _receive(self):
        end = time.monotonic() + LIMIT
        while b"\0" not in self.buffer:
            if not select.select([self.reader], [], [], max(0.0, end - time.monotonic()))[0]:
                raise TimeoutError(f"the browser said nothing for {LIMIT} seconds")
            part = os.read(self.reader, 1 << 16)
            assert part, "the browser ended"
            self.buffer += part
        first, _, self.buffer = self.buffer.partition(b"\0")
        return json.loads(first)

    def evaluate(self, expression):
        """The value of a JavaScript expression; a promise is waited for."""
        answer = self.send(
            "Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True
        )
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def open(self, url, width=800, height=900, dark=False, scripts=True):
        """Go to a page in a window of that many CSS pixels and wait until it has loaded."""
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.send("Emulation.setEmulatedMedia", features=[scheme])
        self.send(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=False,
        )
        self.send("Emulation.setScriptExecutionDisabled", value=not scripts)
        self.send("Page.navigate", url=url)
        end = time.monotonic() + LIMIT
        while self.evaluate("document.readyState") != "complete" or (
            self.evaluate("location.href") != url
        ):
            assert time.monotonic() < end, f"{url} did not load"
            time.sleep(0.02)

    def drag(self, *points):
        """Press the mouse at the first point (x, y), move over the others, let go at the last."""
        kinds = ["mousePressed"] + ["mouseMoved"] * (len(points) - 1)
        for kind, (x, y) in zip(kinds, points, strict=True):
            self.send("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)
        self.send("Input.dispatchMouseEvent", type="mouseReleased", x=x, y=y, button="left")

    def touch(self, *points):
        """Put a finger on the first point, move it over the others, lift it."""
        for index, (x, y) in enumerate(points):
            kind = "touchMove" if index else "touchStart"
            self.send("Input.dispatchTouchEvent", type=kind, touchPoints=[{"x": x, "y": y}])
        self.send("Input.dispatchTouchEvent", type="touchEnd", touchPoints=[])

    def press(self, key, shift=False):
        """Press one of these keys."""
        arrows = {"ArrowLeft": 37, "ArrowUp": 38, "ArrowRight": 39, "ArrowDown": 40}
        number = {"Tab": 9, "End": 35, "Home": 36, **arrows}[key]
        for kind in ("keyDown", "keyUp"):
            self.send(
                "Input.dispatchKeyEvent",
                type=kind,
                key=key,
                code=key,
                windowsVirtualKeyCode=number,
                modifiers=8 if shift else 0,
            )

    def slide(self, value, number=0):
        """Set the slider of that number on the page."""
        self.evaluate(
            f"(i => {{ i.value = {value}; i.dispatchEvent(new Event('input')) }})"
            f"(document.querySelectorAll('input[type=range]')[{number}])"
        )

    def numbers(self, number=0):
        """The decimal numbers in the `output` of that number on the page."""
        text = self.evaluate(f"document.querySelectorAll('output')[{number}].textContent")
        return [float(part.replace("−", "-")) for part in re.findall(r"−?\d+\.\d+", text)]

    def screenshot(self):
        """The page as PNG, in bytes."""
        answer = self.send("Page.captureScreenshot", format="png", captureBeyondViewport=True)
        return base64.b64decode(answer["data"])

    def close(self):
        """End the browser."""
        self.session = None
        with contextlib.suppress(OSError, AssertionError, TimeoutError):
            self.send("Browser.close")
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
        os.close(self.reader)
        os.close(self.writer)


@pytest.fixture(scope="session")
def browser(tmp_path_factory):
    program = next(filter(None, map(shutil.which, NAMES)), None)
    if program is None:
        pytest.skip(f"no browser found: install one of {', '.join(NAMES)}")
    browser = Browser(program, tmp_path_factory.mktemp("profile"))
    yield browser
    browser.close()


PAGE = """<!doctype html><html lang="en"><meta charset="utf-8"><title>page</title>
<body style="font-family: sans-serif; height: 4000px">{}</body></html>"""


@pytest.fixture
def page(browser, tmp_path):
    """Open a page with these figures, one below the other."""

    def open_page(*figures, **options):
        path = tmp_path / "page.html"
        path.write_text(PAGE.format("\n".join(f._repr_html_() for f in figures)), "utf-8")
        browser.open(path.as_uri(), **options)
        return browser

    return open_page
