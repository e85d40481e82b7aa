import json
import os
import re

import msgspec
import pytest

from data_prep.errors import DataError
from data_prep.sources.files import ImageFolder, first_folder, read_json, read_lines


class Entry(msgspec.Struct):
    id: int
    name: str | None = None


class Content(msgspec.Struct):
    entries: list[Entry]


def write(path, data):
    with open(path, "wb") as file:
        file.write(data)
    return str(path)


def test_read_json_keeps_what_the_type_names_and_skips_the_rest(tmp_path):
    text = json.dumps({"more": [{"x": [1.5, None]}], "entries": [{"id": 7, "name": "né", "z": 0}]})
    path = write(tmp_path / "a.json", text.encode())
    assert read_json(path, Content) == Content([Entry(7, "né")])
    assert read_json(path, dict) == json.loads(text)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", r"'{path}' is not JSON \(Input data was truncated\)\. Fix: download it again\.$"),
        (b'{"entries": [', r"'{path}' is not JSON \(Input data was truncated\)\. Fix: "),
        (b"{'entries': []}", r"'{path}' is not JSON \(JSON is malformed: .*\)\. Fix: "),
        (b'{"entries": []} {}', r"'{path}' is not JSON \(JSON is malformed: .*\)\. Fix: "),
        (b'{"entries": [{"id": 1, "name": "\xff"}]}', r"'{path}' is not JSON \(.*\)\. Fix: "),
        *(
            (
                b'{"entries": [], "more": [1.5, ' + number + b"]}",
                r"'{path}' is not JSON \(JSON is malformed: .*\)\. Fix: download it again; NaN and "
                r"Infinity are not JSON either\.$",
            )
            for number in (b"NaN", b"Infinity", b"-Infinity")
        ),
        (b"[" * 100_000, r"'{path}' is not in its format: Expected `object`, got `array`\. Fix: "),
        (
            b'{"entries": [], "more": ' + b"[" * 100_000,
            r"'{path}' is not JSON \(maximum recursion depth exceeded.*\)\. Fix: ",
        ),
        (b"[]", r"'{path}' is not in its format: Expected `object`, got `array`\. Fix: repair"),
        (b"{}", r"'{path}' is not in its format: Object missing required field `entries`\. Fix: "),
        (
            b'{"entries": [{"id": 1}, {"id": "2"}]}',
            r"'{path}' is not in its format: Expected `int`, got `str` - at `\$\.entries\[1\]\.id`\."
            " Fix: repair the entry",
        ),
        (
            b'{"entries": [{"id": 1' + b"0" * 5000 + b"}]}",
            r"'{path}' is not in its format: Integer value out of range - at `\$\.entries\[0\]\.id`\. Fix: ",
        ),
    ],
)
def test_read_json_names_the_file_and_the_entry(tmp_path, data, message):
    path = write(tmp_path / "a.json", data)
    with pytest.raises(DataError, match=message.replace("{path}", re.escape(path))) as error:
        read_json(path, Content)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("read", [lambda path: read_json(path, dict), read_lines])
def test_a_file_that_is_not_there_or_no_file(tmp_path, read):
    path = str(tmp_path / "no")
    with pytest.raises(DataError, match=rf"^There is no file '{re.escape(path)}'\. Fix: check the"):
        read(path)
    (tmp_path / "nor").write_text("")
    with pytest.raises(DataError, match=rf"'\. Did you mean '{re.escape(path)}r'\? Fix: check the"):
        read(path)
    folder = str(tmp_path)
    message = rf"^'{re.escape(folder)}' cannot be read \(Is a directory\)\. Fix: restore it\.$"
    with pytest.raises(DataError, match=message):
        read(folder)


@pytest.mark.parametrize(
    ("data", "lines"),
    [
        (b"", []),
        (b"\n", [""]),
        (b"a", ["a"]),
        (b"a\n", ["a"]),
        (b"a\r\nb\rc\n\nd", ["a", "b", "c", "", "d"]),
        (b"\xef\xbb\xbfa\nb", ["a", "b"]),
        ("dog's\u2028 day\u0085\x0b\x0c.\n".encode(), ["dog's\u2028 day\u0085\x0b\x0c."]),
    ],
)
def test_read_lines(tmp_path, data, lines):
    assert read_lines(write(tmp_path / "a.txt", data)) == lines


def test_read_lines_names_the_line_that_is_not_utf_8(tmp_path):
    path = write(tmp_path / "a.txt", b"one\ntwo\ncaf\xe9\n")
    message = rf"^'{re.escape(path)}', line 3, is not UTF-8\. Fix: save the file as UTF-8\.$"
    with pytest.raises(DataError, match=message):
        read_lines(path)


def test_first_folder(tmp_path):
    write(tmp_path / "file", b"")
    a, b = str(tmp_path / "a"), str(tmp_path / "b")
    os.mkdir(b)
    assert first_folder(a, str(tmp_path / "file"), b, str(tmp_path)) == b
    assert first_folder(a) is None
    assert first_folder() is None


@pytest.fixture
def folder(tmp_path):
    """An image folder beside a secret file, with a subfolder and links of every kind."""
    (tmp_path / "images" / "sub").mkdir(parents=True)
    (tmp_path / "images-of-others").mkdir()
    write(tmp_path / "secret.jpg", b"secret")
    write(tmp_path / "images-of-others" / "1.jpg", b"other")
    write(tmp_path / "images" / "1.jpg", b"1")
    write(tmp_path / "images" / "sub" / "2.jpg", b"2")
    links = {
        "inside.jpg": "1.jpg",
        "sub/up.jpg": "../1.jpg",
        "near": "sub",
        "round.jpg": "round.jpg",
        "outside.jpg": "../secret.jpg",
        "gone.jpg": "../nothing.jpg",
        "far": "../images-of-others",
        "sub/far": "../..",
        "twice.jpg": "outside.jpg",
        "root": "/",
    }
    for name, target in links.items():
        os.symlink(target, tmp_path / "images" / name)
    return str(tmp_path / "images")


@pytest.mark.parametrize(
    "name",
    [
        "1.jpg",
        "./1.jpg",
        "no.jpg",
        "no/such.jpg",
        "sub/2.jpg",
        "sub//2.jpg",
        "inside.jpg",
        "sub/up.jpg",
        "near/2.jpg",
        "near/up.jpg",
        "round.jpg",
        "a..b.jpg",
        "...",
        "~root",
        "c:d.jpg",
        "naïve 写真.jpg",
        "x" * 1024,
        "x" * 400 + "/" + "y" * 400,
    ],
)
def test_names_inside_of_the_folder(folder, name):
    assert ImageFolder(folder).find(name, "image id 7") == os.path.join(folder, name)


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("", "is empty: ''"),
        ("/etc/passwd", "is absolute: '/etc/passwd'"),
        ("C:\\windows\\a.jpg", r"is absolute: 'C:\\\\windows"),
        ("c:/windows/a.jpg", "is absolute: 'c:/windows/a.jpg'"),
        ("..", r"leads out of the image folder: '\.\.'"),
        ("../secret.jpg", "leads out of the image folder: "),
        ("sub/../../secret.jpg", "leads out of the image folder: "),
        ("sub/../1.jpg", "leads out of the image folder: "),
        ("..\\secret.jpg", "leads out of the image folder: "),
        ("sub\\..\\..\\secret.jpg", "leads out of the image folder: "),
        ("1.jpg\0.png", r"has a NUL byte: '1\.jpg\\x00\.png'"),
        ("x" * 4096, r"is 4,096 bytes long: 'x{40}\.\.\.'"),
        ("é" * 513, r"is 1,026 bytes long: 'é{40}\.\.\.'"),
        ("outside.jpg", "is a link that leads out of '{folder}': 'outside.jpg'"),
        ("gone.jpg", "is a link that leads out of "),
        ("twice.jpg", "is a link that leads out of "),
        ("far/1.jpg", "is a link that leads out of "),
        ("far/no.jpg", "is a link that leads out of "),
        ("sub/far/secret.jpg", "is a link that leads out of "),
        ("near/far/secret.jpg", "is a link that leads out of "),
        ("root/etc/passwd", "is a link that leads out of "),
    ],
)
def test_names_that_lead_out_of_the_folder(folder, name, problem):
    files = ImageFolder(folder)
    problem = problem.replace("{folder}", re.escape(folder))
    message = rf"^The image id 7 has a file name that {problem}.*Fix: use a plain file name"
    for _ in range(2):  # the second time, the parent folder is known already
        with pytest.raises(DataError, match=message) as error:
            files.find(name, "image id 7")
        assert "\n" not in str(error.value)


def test_a_name_that_is_not_utf_8(folder):
    message = r"^The image id 7 has the file name '\\udc80\.jpg', which is not UTF-8\. Fix: "
    with pytest.raises(DataError, match=message):
        ImageFolder(folder).find("\udc80.jpg", "image id 7")


def test_the_folder_itself_may_be_a_link(folder, tmp_path):
    link = str(tmp_path / "link")
    os.symlink(folder, link)
    files = ImageFolder(link)
    assert files.find("1.jpg", "image id 7") == os.path.join(link, "1.jpg")
    assert files.find("sub/up.jpg", "image id 7") == os.path.join(link, "sub/up.jpg")
    assert files.find("inside.jpg", "image id 7") == os.path.join(link, "inside.jpg")
    with pytest.raises(DataError, match=r"is a link that leads out of "):
        files.find("far/1.jpg", "image id 7")
