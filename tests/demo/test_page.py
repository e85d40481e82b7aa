"""The page in a real browser, as a person uses it: each tab, by keyboard alone, on a phone, in the dark."""

import contextlib
import os
import pathlib
import re
import signal
import subprocess
import sys

import cv2
import keras
import numpy as np
import pytest

pytest.importorskip("gradio", reason="needs the extra `demo`")
pytest.importorskip("faiss", reason="needs the extra `search`")
pytest.importorskip("playwright", reason="needs the development tools")

from mmlearn import VisualQuestionAnswerer
from mmlearn.cli.main import main
from mmlearn.experiments import indexing
from mmlearn.experiments.config import DataConfig
from tests import toys
from tests.browser import find_browser
from tests.demo.test_examples import record
from tests.models.test_image_captioner import captioner
from tests.models.test_signatures import HUGE
from tests.programs import ROOT

pytestmark = [
    pytest.mark.large,
    pytest.mark.skipif(find_browser() is None, reason="there is no Chromium"),
]
WIDE, PHONE = {"width": 1280, "height": 900}, {"width": 390, "height": 844}
WAIT = 60_000  # milliseconds for an answer, on a machine that does other things as well


@pytest.fixture(scope="module")
def runs(tmp_path_factory, shapes_root):
    """Untrained models of each kind, those with examples as runs."""
    folder = tmp_path_factory.mktemp("runs")
    keras.utils.set_random_seed(0)
    tasks = {
        "classifier": toys.classifier(),
        "retriever": toys.retriever(),
        "answerer": VisualQuestionAnswerer(
            toys.backbone(), 3, toys.preprocessor(), ["yes", "no", "red"], hidden_dim=8
        ),
        "captioner": captioner(),
    }
    for name, task in tasks.items():
        task.save_to_preset(str(folder / name / "preset"))
        if name in ("classifier", "answerer", "captioner"):
            record(folder / name, "run.json", shapes_root)
    retriever = str(folder / "retriever")
    indexing.index_data(retriever, DataConfig("shapes", shapes_root), "val")
    return folder


@contextlib.contextmanager
def demo(notes, *words):
    """The command in a process of its own; yields the URL, and checks that it ends as it should."""
    command = [sys.executable, "-m", "tests.demo.watched_demo", notes, *words, "--port", "0"]
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": "-1"}
    process = subprocess.Popen(
        [*map(str, command)], cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True
    )
    try:
        yield re.search(r"http://127\.0\.0\.1:\d+", process.stdout.readline())[0]
    finally:
        process.send_signal(signal.SIGTERM)
        with process:
            said = process.stdout.read()
            code = process.wait(60)
    assert (code, said.splitlines()[-1]) == (0, "Stopped.")
    assert pathlib.Path(notes).read_text() == ""  # asked for nothing beyond this machine


@pytest.fixture(scope="module")
def url(runs):
    words = ("--retriever", runs / "retriever", "--answerer", runs / "answerer")
    words += ("--captioner", runs / "captioner")
    with demo(runs / "notes", runs / "classifier", *words) as url:
        yield url


@pytest.fixture(scope="module")
def browser():
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=find_browser())
        yield browser
        browser.close()


@pytest.fixture
def visit(browser):
    """Opens pages, and checks in the end that none had an error or asked for what is not its own."""
    with contextlib.ExitStack() as closing:
        problems = []

        def open_page(url, **options):
            page = browser.new_page(**{"viewport": WIDE, **options})
            closing.callback(page.close)
            page.set_default_timeout(WAIT)

            def check_request(request):
                if not request.url.startswith((f"{url}/", "data:", f"blob:{url}/")):
                    problems.append(request.url)

            def check_message(message):
                if message.type == "error":
                    problems.append(message.text)

            page.on("request", check_request)
            page.on("console", check_message)
            page.on("pageerror", lambda error: problems.append(str(error)))
            page.goto(url)
            page.get_by_role("tab").first.wait_for()
            return page

        yield open_page
        assert problems == []


def panel(page, tab):
    """Goes to a tab."""
    page.get_by_role("tab", name=tab).click()
    return page.locator("[role=tabpanel]:visible")


def give(panel, path):
    panel.locator("input[type=file]").set_input_files(path)


def labels(panel):
    return dict(
        zip(
            *(
                panel.locator(f".mm-result {cell}").all_inner_texts()
                for cell in ("tbody th", "td span")
            ),
            strict=True,
        )
    )


@pytest.fixture
def photo(tmp_path):
    path = tmp_path / "photo.png"
    cv2.imwrite(str(path), np.random.default_rng(0).integers(0, 256, (60, 80, 3), dtype=np.uint8))
    return path


def test_a_photo_and_a_text_are_predicted_and_each_can_be_dropped(visit, url, photo):
    page = visit(url)
    predict = panel(page, "Predict")
    give(predict, photo)
    predict.get_by_role("button", name="dog").wait_for()  # a label's map; no words yet
    assert "With a text as well" in predict.inner_text()
    predict.get_by_role("textbox", name="Text").fill("a red dog")
    predict.get_by_role("button", name="Predict").click()
    word = predict.get_by_role("button", name="red", exact=True)
    word.wait_for()
    both = labels(predict)
    assert set(both) == {"dog", "cat", "sofa", "images", "text"}

    heat = predict.locator(".mm-heat")
    assert not heat.is_visible()
    word.hover()
    assert heat.is_visible()
    assert heat.get_attribute("src") == word.get_attribute("data-heat")
    assert "“red”: most at row" in predict.locator(".mm-says").inner_text()
    predict.get_by_role("textbox", name="Text").hover()
    assert not heat.is_visible()
    word.click()
    predict.get_by_role("textbox", name="Text").hover()
    assert heat.is_visible()  # picked, so it stays

    predict.locator(".mm-regions").click(position={"x": 5, "y": 5})
    said = predict.locator(".mm-says").inner_text()
    assert "Region at row 1, column 1" in said
    share = word.get_attribute("data-shares").split()[0]
    assert f"red {float(share) / 10:.1f} %" in said

    predict.get_by_role("checkbox", name="text").uncheck()
    predict.get_by_text("points").first.wait_for()
    dropped = labels(predict)
    assert set(dropped) == set(both)
    assert dropped != both
    assert predict.get_by_role("button", name="red", exact=True).count() == 0
    predict.get_by_role("checkbox", name="text").check()
    predict.get_by_role("button", name="red", exact=True).wait_for()
    assert labels(predict) == both


def test_what_is_wrong_is_one_line_and_the_page_goes_on(visit, url, photo, tmp_path):
    page = visit(url)
    predict = panel(page, "Predict")
    broken, huge = tmp_path / "broken.png", tmp_path / "huge.png"
    broken.write_bytes(photo.read_bytes()[:200])
    huge.write_bytes(HUGE)
    for path, problem in ((broken, "no image that can be read"), (huge, "more than 40 megapixels")):
        give(predict, path)
        predict.get_by_role("alert").filter(has_text=problem).wait_for()
        predict.get_by_label(re.compile("clear|remove", re.I)).first.click()
    for tab, button, problem in (
        ("Search", "Search", "nothing to look for"),
        ("Ask", "Ask", "no image to ask about"),
        ("Caption", "Describe", "no image to describe"),
    ):
        own = panel(page, tab)
        own.get_by_role("button", name=button).click()
        own.get_by_role("alert").filter(has_text=problem).wait_for()
    predict = panel(page, "Predict")
    give(predict, photo)
    predict.get_by_role("button", name="dog").wait_for()


def test_images_are_found_by_text_and_by_image(visit, url, shapes):
    search = panel(visit(url), "Search")
    search.get_by_role("textbox", name="Text").fill("a red circle")
    search.get_by_role("textbox", name="Text").press("Enter")
    search.get_by_text("12 found").wait_for()
    assert search.locator(".mm-found img").count() == 12
    search.get_by_role("textbox", name="Text").fill("")
    give(search, shapes.examples("val").images[4])
    first = search.locator(".mm-found figcaption").first
    first.filter(has_text=shapes.examples("val").ids[4]).wait_for()  # an image finds itself
    assert "cosine 1.000" in first.inner_text()


def test_the_last_of_what_is_sent_in_haste_is_answered(visit, url, photo):
    predict = panel(visit(url), "Predict")
    give(predict, photo)
    text = predict.get_by_role("textbox", name="Text")
    for said in ("a dog", "the sofa", "a blue cat", "red"):  # without waiting for answers
        text.fill(said)
        text.press("Enter")
    predict.get_by_role("button", name="red", exact=True).wait_for()


def test_examples_are_asked_about_and_described(visit, url):
    page = visit(url)
    ask = panel(page, "Ask")
    ask.get_by_role("gridcell").nth(1).click()
    ask.locator(".mm-answer").wait_for()
    assert ask.locator(".mm-answer strong").inner_text() in ("yes", "no", "red")
    assert ask.locator(".mm-frame").count() == 3
    caption = panel(page, "Caption")
    caption.locator("button.gallery-item").first.click()
    caption.locator(".mm-answer").wait_for()
    words = caption.locator(".mm-answer").inner_text().split()
    assert caption.locator(".mm-pick").all_inner_texts() == words


def test_the_keyboard_is_enough(visit, url):
    page = visit(url)

    def tab_to(selector):
        for _ in range(40):
            page.keyboard.press("Tab")
            if page.evaluate("selector => document.activeElement.matches(selector)", selector):
                return
        raise AssertionError(f"{selector} cannot be reached by Tab")

    tab_to("[role=tab]")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowLeft")
    tab_to("textarea")
    page.keyboard.type("a red dog")
    tab_to("[role=gridcell]")  # an example
    page.keyboard.press("Enter")
    page.locator(".mm-pick").first.wait_for()
    page.locator("textarea:visible").focus()
    tab_to(".mm-regions")
    says = page.locator(".mm-says:visible")
    assert "row 1, column 1" in says.inner_text()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowDown")
    assert "row 2, column 2" in says.inner_text()
    assert page.locator(".mm-cell").is_visible()
    page.keyboard.press("Escape")
    assert not page.locator(".mm-cell").is_visible()
    tab_to(".mm-pick")
    assert page.locator(".mm-heat").is_visible()
    page.keyboard.press("Enter")
    assert page.locator('.mm-pick[aria-pressed="true"]').count() == 1
    page.keyboard.press("Escape")
    assert page.locator('.mm-pick[aria-pressed="true"]').count() == 0


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_phone_shows_every_tab_without_scrolling_sideways(visit, url, scheme, photo):
    page = visit(url, viewport=PHONE, has_touch=True, is_mobile=True, color_scheme=scheme)
    background = page.evaluate("getComputedStyle(document.body).backgroundColor")
    brightness = sum(map(int, re.findall(r"\d+", background)[:3]))
    assert (brightness < 150) == (scheme == "dark")
    predict = panel(page, "Predict")
    predict.get_by_role("textbox", name="Text").fill("a red dog")
    give(predict, photo)
    predict.get_by_role("button", name="red", exact=True).tap()
    assert predict.locator(".mm-heat").is_visible()
    for tab in ("Predict", "Search", "Ask", "Caption"):
        panel(page, tab)
        assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"], tab


def test_what_cannot_be_shown_is_one_line(runs, capsys):
    cases = (
        ([], "There is no model to show. Fix: pass one"),
        ([str(runs / "captioner")], "is a model of ImageCaptioner, and this needs one of"),
        ([str(runs / "nowhere")], "holds no saved model. Fix: pass the output folder"),
        (["--index", "folder"], "Fix: pass --retriever RUN as well"),
        (["--retriever", str(runs / "retriever"), "--index", "nowhere"], "holds no index. Fix:"),
        ([str(runs / "classifier"), "--port", "70000"], "between 0 and 65535. Received: 70000"),
        ([str(runs / "classifier"), "--host", "192.0.2.1"], "Fix: another --port or --host"),
    )
    for words, problem in cases:
        assert main(["demo", *words]) == 2
        error = capsys.readouterr().err
        assert problem in error
        assert error.count("\n") == 1
