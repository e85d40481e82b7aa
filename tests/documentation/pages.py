"""The pages of the documentation: their blocks, commands, links and anchors."""

import pathlib
import re
import shlex
from dataclasses import dataclass

ROOT = pathlib.Path(__file__).parents[2]
FOLDERS = ("data_prep", "mmlearn", "notebooks")
PAGES = [
    *("README.md", "saved_models/README.md"),
    *sorted(
        str(path.relative_to(ROOT)) for folder in FOLDERS for path in ROOT.glob(f"{folder}/**/*.md")
    ),
]
REFERENCE = "mmlearn/cli/README.md"
_BLOCK = re.compile(r"^(?:<!-- needs: ([^\n]*) -->\n)?```(\w*)\n(.*?)^```", re.S | re.M)


@dataclass(frozen=True)
class Block:
    """A fenced block of a page.

    Attributes:
        page: str. Path from the root.
        line: int. Of its first line of code.
        language: str. "" where none is said.
        needs: str. What must be there before it runs, from the comment above it; "" where nothing is
            said. Python runs anyway, commands run only if it is said.
        code: str.
    """

    page: str
    line: int
    language: str
    needs: str
    code: str

    @property
    def name(self):
        """What the block is called in a list of tests."""
        return f"{self.page}:{self.line}"


def read(page):
    """The text of a page."""
    return (ROOT / page).read_text()


def blocks(page, *languages):
    """The blocks of a page in some languages, in their order."""
    text = read(page)
    return [
        Block(page, text.count("\n", 0, found.start(3)) + 1, found[2], found[1] or "", found[3])
        for found in _BLOCK.finditer(text)
        if found[2] in languages
    ]


def commands(code):
    """The commands of a block of shell code, each as a list of words without its comment.

    What `bash -c` is given is shell code, too.
    """
    found, open_ = [], ""
    for line in code.replace("\\\n", " ").splitlines():
        try:
            words = shlex.split(f"{open_}{line}", comments=True)
        except ValueError:  # a quotation goes on in the next line
            open_ += f"{line}\n"
            continue
        open_ = ""
        for command in _split(words, "&&"):
            found += commands(command[-1]) if "bash" in command else [command] if command else []
    assert not open_, f"a quotation has no end: {open_}"
    return found


def _split(words, separator):
    parts = [[]]
    for word in words:
        if word == separator:
            parts.append([])
        else:
            parts[-1].append(word)
    return parts


def prose(page):
    """The text of a page without its fenced blocks."""
    return _BLOCK.sub("", read(page))


def links(page):
    """The targets of the links of a page."""
    return re.findall(r"\]\(([^)\s]+)\)", re.sub(r"`[^`\n]*`", "", prose(page)))


def anchors(page):
    """The anchors of the headings of a page, as GitHub makes them."""
    found = []
    for heading in re.findall(r"^#+ (.*)$", prose(page), re.M):
        plain = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", heading)
        slug = re.sub(r"[^\w\- ]", "", plain.lower()).replace(" ", "-")
        earlier = sum(
            re.fullmatch(rf"{re.escape(slug)}(-\d+)?", each) is not None for each in found
        )
        found.append(f"{slug}-{earlier}" if earlier else slug)
    return found
