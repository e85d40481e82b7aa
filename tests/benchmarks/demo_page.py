"""How long a person waits for the demo page: for the page, and for an answer, in a real browser.

    python -m tests.benchmarks.demo_page saved_models/shapes data/shapes/val/000000006001.jpg

Needs Chromium, playwright and the extra `demo`. From the click to the word that can be hovered over; the
first answer, for which graphs are made, is told apart. Run it alone on the machine.
"""

import re
import signal
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass

import tyro
from playwright.sync_api import sync_playwright

from tests.browser import find_browser

COLORS = ("red", "blue", "green", "yellow") * 2  # words that the model knows


@dataclass(frozen=True)
class DemoPage:
    """Times the demo page of a model."""

    model: tyro.conf.Positional[str]
    """Output folder of a run with images and text."""
    photo: tyro.conf.Positional[str]
    """Image file."""


def main():
    options = tyro.cli(DemoPage)
    command = [sys.executable, "-m", "mmlearn", "demo", options.model, "--port", "0"]
    started = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        url = re.search(r"http://127\.0\.0\.1:\d+", process.stdout.readline())[0]
        print(f"command to address {time.perf_counter() - started:.1f} s, the model is loaded")
        with sync_playwright() as driver:
            browser = driver.chromium.launch(executable_path=find_browser())
            _time_pages(browser, url, options.photo)
            browser.close()
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)


def _time_pages(browser, url, photo):
    pages = []
    for _ in range(5):
        page = browser.new_page()  # with an empty cache
        started = time.perf_counter()
        page.goto(url)
        page.get_by_role("tab").first.wait_for()
        pages.append(time.perf_counter() - started)
    predict = page.locator("[role=tabpanel]:visible")
    started = time.perf_counter()
    predict.locator("input[type=file]").set_input_files(photo)
    predict.locator(".mm-result").wait_for()
    first = time.perf_counter() - started
    answers = []
    for color in COLORS:
        predict.get_by_role("textbox", name="Text").fill(f"a {color} ring")
        started = time.perf_counter()
        predict.get_by_role("button", name="Predict").click()
        predict.get_by_role("button", name=color, exact=True).wait_for()
        answers.append(time.perf_counter() - started)
    print(f"page: {_told(pages)}")
    print(f"answer: photo alone, the first {first:.2f} s; with a text {_told(answers)}")


def _told(seconds):
    listed = ", ".join(f"{each:.2f}" for each in seconds)
    return f"median {statistics.median(seconds):.2f} s ({listed})"


if __name__ == "__main__":
    main()
