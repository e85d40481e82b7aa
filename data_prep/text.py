"""Cleans text from the web with TensorFlow string ops.

Only TensorFlow ops, because the same function runs in the training pipeline and inside the served
SavedModel.
"""

import tensorflow as tf

# RE2 patterns, in the order of use, and what takes their place.
_REPLACEMENTS = (
    # Tags come before URLs: a link's URL is inside its tag. A space keeps "one<br>two" two words.
    (r"(?s)<!--.*?-->", " "),
    (r"</?[A-Za-z][^<>]*>", " "),
    # The last character is no punctuation, so the full stop of the sentence stays.
    (r"(?i)\b(?:(?:https?|ftp)://|www\.)[^\s<>\"]*[^\s<>\".,;:!?)\]']", " "),
    (r"&nbsp;", " "),
    (r"&lt;", "<"),
    (r"&gt;", ">"),
    (r"&quot;|&#0*34;", '"'),
    (r"&apos;|&#0*39;|&#[xX]27;|&[lr]squo;", "'"),
    (r"&[lr]dquo;", '"'),
    (r"&[nm]dash;", "-"),
    (r"&hellip;", "..."),
    # Last of the entities, so that "&amp;lt;" becomes "&lt;", as it was meant.
    (r"&amp;", "&"),
    # Control characters but tab and line ends; the zero-width space; the byte order mark.
    (r"[\x00-\x08\x0e-\x1f\x7f-\x{9f}\x{200b}\x{feff}]", ""),
    # A sign inside of a word, as in an e-mail address, stays, and so does that of "&#8364;".
    (r"(^|[^\pL\pN_&])[@#]+([\pL\pN_])", r"\1\2"),
    # One pattern for each mark: RE2 has no back-references.
    *((rf"[{mark}]{{2,}}", mark) for mark in "!?.,;:'\"*_~=+-"),
    (r"[\s\v\p{Z}]+", " "),
)


def clean(text):
    """Removes what is no language: markup, addresses, control characters and repetitions.

    URLs and HTML tags become a space and common HTML entities the character they stand for.
    Control characters go, and so do the `@` of a mention and the `#` of a hashtag, whose words
    stay. Runs of one punctuation mark or of white space become a single one. The case stays.

    Args:
        text: string tensor of any shape, UTF-8. Bytes that are no UTF-8 stay as they are.

    Returns:
        string tensor of the same shape.

    Example:

    >>> clean("<b>Wow!!!</b> @ann &amp; I saw a #red  fox... https://t.co/x").numpy()
    b'Wow! ann & I saw a red fox.'
    """
    for pattern, replacement in _REPLACEMENTS:
        text = tf.strings.regex_replace(text, pattern, replacement)
    return tf.strings.strip(text)
