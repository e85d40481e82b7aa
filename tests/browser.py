"""A page in a real browser: what it asks for, what it complains about, what it looks like."""

import base64
import contextlib
import json
import os
import shutil
import subprocess
import time

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
QUIET = 1.0  # seconds without news after which a page has loaded


def find_browser():
    """The path of a Chromium, or `None`."""
    return next(filter(None, map(shutil.which, NAMES)), None)


def open_page(path, profile, width=1100, timeout=60):
    """Opens a file in headless Chromium and watches it, over the browser's own debugging pipe.

    Args:
        path: the HTML file.
        profile: an empty folder for the browser.
        width: int, of the window in pixels.
        timeout: float, in seconds.

    Returns:
        A dict of `requests`, URLs that the page asked for, without data; `complaints`, messages of its
        console and log; and `screenshot`, bytes of a PNG of the whole page.
    """
    with _browser(profile) as (send, receive):
        answers, events, number = {}, [], 0

        def wait(until, quiet=None):
            end, last = time.monotonic() + timeout, time.monotonic()
            while not until():
                message = receive()
                if message is None:
                    if quiet and time.monotonic() - last > quiet:
                        return
                    assert time.monotonic() < end, "the browser does not answer"
                    continue
                last = time.monotonic()
                if "id" in message:
                    answers[message["id"]] = message
                else:
                    events.append(message)

        def call(method, session=None, **params):
            nonlocal number
            number += 1
            own = {"sessionId": session} if session else {}
            send({"id": number, "method": method, "params": params, **own})
            wait(lambda: number in answers)
            assert "result" in answers[number], answers[number]
            return answers[number]["result"]

        target = call("Target.createTarget", url="about:blank")["targetId"]
        page = call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Network", "Log", "Runtime", "Page"):
            call(f"{domain}.enable", page)
        size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
        call("Emulation.setDeviceMetricsOverride", page, **size)
        call("Page.navigate", page, url=f"file://{os.path.abspath(path)}")
        wait(lambda: any(event["method"] == "Page.loadEventFired" for event in events))
        wait(lambda: False, quiet=QUIET)
        png = call("Page.captureScreenshot", page, captureBeyondViewport=True)["data"]
    urls = [
        event["params"]["request"]["url"]
        for event in events
        if event["method"] == "Network.requestWillBeSent"
    ]
    complaints = ("Log.entryAdded", "Runtime.consoleAPICalled", "Runtime.exceptionThrown")
    return {
        "requests": [url for url in urls if not url.startswith("data:")],
        "complaints": [event["params"] for event in events if event["method"] in complaints],
        "screenshot": base64.b64decode(png),
    }


@contextlib.contextmanager
def _browser(profile):
    """Starts a browser: functions that send a message, and receive one or `None`."""
    to_browser, from_us = os.pipe()
    to_us, from_browser = os.pipe()
    flags = (
        *("--headless", "--no-sandbox", "--disable-gpu", "--remote-debugging-pipe"),
        *("--no-first-run", "--disable-background-networking", "--disable-component-update"),
        *("--hide-scrollbars", f"--user-data-dir={profile}"),
    )
    # The browser reads from 3 and writes to 4.
    script = f'exec "$0" "$@" 3<&{to_browser} 4>&{from_browser}'
    process = subprocess.Popen(
        ["bash", "-c", script, find_browser(), *flags],
        pass_fds=(to_browser, from_browser),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    os.close(to_browser)
    os.close(from_browser)
    os.set_blocking(to_us, False)
    buffer = bytearray()

    def send(message):
        os.write(from_us, json.dumps(message).encode() + b"\0")

    def receive():
        while b"\0" not in buffer:
            try:
                part = os.read(to_us, 1 << 20)
            except BlockingIOError:
                time.sleep(0.02)
                return None
            assert part, "the browser has ended"
            buffer.extend(part)
        message, _, rest = bytes(buffer).partition(b"\0")
        buffer[:] = rest
        return json.loads(message)

    try:
        yield send, receive
    finally:
        process.terminate()
        process.wait(20)
        os.close(from_us)
        os.close(to_us)
