"""What the tests of several sources share."""

import pytest


@pytest.fixture
def write(tmp_path):
    """Writes a file and returns its path."""

    def write(content, name="pets.csv"):
        path = tmp_path / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return str(path)

    return write
