"""Every relative link and anchor of the pages leads somewhere, and every page is found."""

import os

import pytest

from tests.documentation.pages import PAGES, ROOT, anchors, links


def resolve(page, target):
    """The file and the anchor that a link of a page leads to."""
    path, _, anchor = target.partition("#")
    file = os.path.normpath(os.path.join(os.path.dirname(page), path)) if path else page
    return file, anchor


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page):
    for target in links(page):
        if target.startswith(("https://", "http://")):
            continue
        file, anchor = resolve(page, target)
        assert (ROOT / file).exists(), f"{page}: {target}"
        if anchor:
            assert anchor in anchors(file), f"{page}: {target} is not among {anchors(file)}"


def test_every_page_is_reached_from_the_front_page():
    reached, waiting = set(), ["README.md"]
    while waiting:
        page = waiting.pop()
        reached.add(page)
        found = {resolve(page, target)[0] for target in links(page)}
        waiting += sorted((found & set(PAGES)) - reached)
    assert reached == set(PAGES)


def test_every_notebook_is_on_its_page():
    listed = {resolve("notebooks/README.md", target)[0] for target in links("notebooks/README.md")}
    assert {f"notebooks/{path.name}" for path in ROOT.glob("notebooks/*.ipynb")} <= listed
