"""Documents as HTML and as Markdown."""

import html.parser
import re

import pytest

from mmlearn.analysis.document import (
    Bullets,
    Code,
    Heading,
    Missing,
    Paragraph,
    Picture,
    Table,
    format_column,
    to_html,
    to_markdown,
)

EVIL = "<script>alert(1)</script> \"'& | `x` [a](http://b) *c* _d_"
PNG = b"\x89PNG\r\n"
BLOCKS = [
    Heading(EVIL),
    Paragraph(EVIL),
    Bullets((EVIL,)),
    Code(f"```\n{EVIL}"),
    Code(EVIL, title=EVIL),
    Missing(EVIL, EVIL),
    Table(EVIL, (EVIL, "n"), ((EVIL, 1.5),), EVIL),
    Picture("a b.png", PNG, EVIL),
]


class Page(html.parser.HTMLParser):
    """Collects tags, attributes and text."""

    def __init__(self, text):
        super().__init__()
        self.open, self.tags, self.text, self.sources = [], set(), [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.add(tag)
        self.sources += [v for name, v in attributes if name in ("src", "href")]
        assert not any(name.startswith("on") for name, _ in attributes)

    def handle_data(self, data):
        self.text.append(data)


def test_html_shows_any_text_as_it_is_and_asks_for_nothing():
    page = Page(to_html(EVIL, BLOCKS))
    assert "script" not in page.tags
    assert sum(EVIL in part for part in page.text) >= 11
    assert page.sources[0] == "data:,"
    assert all(source.startswith(("data:", "#")) for source in page.sources)
    assert "data:image/png;base64,iVBORw0K" in page.sources


def test_every_link_of_the_contents_has_its_place():
    text = to_html("Report", [Heading("a"), Heading("a", 3), Heading("b")])
    links = re.findall(r'href="#([^"]+)"', text)
    assert links == re.findall(r'<h[23] id="([^"]+)"', text)
    assert len(set(links)) == 3


def test_markdown_shows_any_text_as_it_is():
    text, pictures = to_markdown(EVIL, BLOCKS, "figures")
    assert pictures == {"a b.png": PNG}
    assert "](figures/a%20b.png)" in text
    outside = re.sub(r"(?ms)^(`{3,})\n.*?\n\1$", "", text)
    assert "<script" not in outside
    assert "[a](http" not in outside
    # The fence of code is longer than any in it.
    assert f"````\n```\n{EVIL}\n````" in text
    rows = [line for line in outside.splitlines() if line.startswith("|")]
    assert {len(re.split(r"(?<!\\)\|", row)) for row in rows} == {4}


@pytest.mark.parametrize(
    ("cells", "texts"),
    [
        ([0.5, 1.0, None], ["0.5000", "1.0000", "not measured"]),
        ([12.3456, 1.0], ["12.35", "1.00"]),
        ([12345.6, 20000.0], ["12,346", "20,000"]),
        ([0.0000012, 0.5], ["1.2e-06", "0.5"]),
        ([float("nan"), 2], ["not defined", "2"]),
        ([0.0, 0.0], ["0", "0"]),
        ([{"value": 0.5, "low": -0.25, "high": 0.75}], ["0.5000 [-0.2500, 0.7500]"]),
    ],
)
def test_numbers_of_a_column_have_as_many_decimals_as_each_other(cells, texts):
    assert format_column(cells) == texts


def test_what_is_no_block_is_refused():
    for make in (to_html, lambda title, blocks: to_markdown(title, blocks, "figures")):
        with pytest.raises(TypeError, match="str is no block"):
            make("Report", ["text"])
