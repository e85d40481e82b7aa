"""The one error that bad data raises."""


class DataError(ValueError):
    """A file, record or folder is not what it should be.

    The message is one line: it names the file or value, and the fix.
    """
