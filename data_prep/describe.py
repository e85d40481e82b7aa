"""The columns of an index in plain numbers: sizes of images, captions and labels.

Each function returns a dict of plain JSON types, and a dict of what is odd: name of the oddity to a
list of rows.
"""

import re
import statistics
from collections import Counter

import numpy as np
import tensorflow as tf
import tensorflow_text
from scipy import sparse

from data_prep.errors import DataError
from data_prep.sources.files import read_lines

ASPECT_RATIOS = (0.5, 0.67, 0.8, 0.95, 1.05, 1.25, 1.5, 2.0)  # width / height, where bars end
MAX_COOCCURRENCE_CLASSES = 200
SPECIAL_TOKENS = 2  # [CLS] and [SEP], which count as tokens of a text

# The replacement character stands where a wrong encoding was read; half a surrogate pair and
# control characters but tab and line ends are no text at all.
_NO_TEXT = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ufffd\ud800-\udfff]")
_UNKNOWN = "[UNK]"
_CAPTIONS_AT_ONCE = 8192


def describe_sizes(measured):
    """Describes the images of a split.

    Args:
        measured: `data_prep.measure.Measured`.

    Returns:
        A dict: numbers of files, of examples without an image, of images that are not upright as
        stored; `height` and `width`, each `[min, median, max]` in pixels, upright; `sizes`, a list
        of `[height, width, count]`, the most frequent first; `aspect_ratios`, the counts below,
        between and above `ASPECT_RATIOS`.
    """
    sizes = measured.sizes[measured.is_read]
    places = np.searchsorted(ASPECT_RATIOS, sizes[:, 1] / np.maximum(sizes[:, 0], 1), side="right")
    counts = Counter(map(tuple, sizes.tolist()))
    return {
        "files": len(measured.rows),
        "absent": measured.num_absent,
        "not_upright": int((measured.orientations[measured.is_read] != 1).sum()),
        "height": _spread(sizes[:, 0].tolist()),
        "width": _spread(sizes[:, 1].tolist()),
        "sizes": [[*size, count] for size, count in counts.most_common()],
        "aspect_ratios": np.bincount(places, minlength=len(ASPECT_RATIOS) + 1).tolist(),
    }


def describe_captions(captions, sequence_length, tokenizer=None):
    """Describes the captions of a split.

    Args:
        captions: list of lists of str, one list per example.
        sequence_length: int. Tokens that a model reads of a text, the two special ones included.
        tokenizer: what `read_tokenizer` returns; by default tokens are words between white space,
            of which there are never more than word pieces.

    Returns:
        A dict and a dict of oddities. In the first: the number of captions, `per_example` as
        `[min, median, max]`, `token_kind`, `tokens` as `[min, median, max]`, `token_lengths` as a
        list of `[tokens, count]`, and the numbers of captions that are overlong, no valid text or
        repeated within an example. Oddities are lists of `(row, caption)`; "empty" are examples
        without a caption.
    """
    texts = [(row, text) for row, group in enumerate(captions) for text in group]
    lengths = [length + SPECIAL_TOKENS for length in _count_tokens(texts, tokenizer)]
    repeated = []
    for row, group in enumerate(captions):
        seen = Counter(group)
        repeated += [(row, text) for text, count in seen.items() for _ in range(count - 1)]
    odd = {
        "empty": [
            (row, "") for row, group in enumerate(captions) if not any(map(str.strip, group))
        ],
        "overlong": [item for item, n in zip(texts, lengths, strict=True) if n > sequence_length],
        "no_text": [item for item in texts if _NO_TEXT.search(item[1])],
        "repeated": repeated,
    }
    description = {
        "count": len(texts),
        "per_example": _spread([len(group) for group in captions]),
        "token_kind": "words" if tokenizer is None else "word pieces",
        "sequence_length": sequence_length,
        "tokens": _spread(lengths),
        "token_lengths": [list(item) for item in sorted(Counter(lengths).items())],
        **{name: len(items) for name, items in odd.items()},
    }
    return description, odd


def read_tokenizer(path):
    """Makes the tokenizer of an uncased BERT from its vocabulary.

    Args:
        path: str, a text file with one word piece a line.

    Returns:
        `tensorflow_text.FastBertTokenizer`.

    Raises:
        DataError: when the file cannot be read or is no such vocabulary.

    Reference:
        Song et al., "Fast WordPiece Tokenization", EMNLP 2021.
    """
    vocabulary = read_lines(path)
    if _UNKNOWN not in vocabulary:
        raise DataError(
            f"{str(path)!r} has no line {_UNKNOWN}. Fix: pass the vocabulary of a BERT model, one "
            "word piece a line."
        )
    try:
        return tensorflow_text.FastBertTokenizer(
            vocabulary, unknown_token=_UNKNOWN, lower_case_nfd_strip_accents=True
        )
    except RuntimeError as error:
        raise DataError(
            f"{str(path)!r} is no vocabulary of word pieces ({error}). Fix: pass that of a BERT model."
        ) from None


def _count_tokens(texts, tokenizer):
    if tokenizer is None:
        return [len(text.split()) for _, text in texts]
    lengths = []
    for start in range(0, len(texts), _CAPTIONS_AT_ONCE):
        part = [text.encode("utf-8", "replace") for _, text in texts[start:][:_CAPTIONS_AT_ONCE]]
        lengths += tokenizer.tokenize(tf.constant(part)).row_lengths().numpy().tolist()
    return lengths


def describe_labels(labels, label_kind):
    """Describes the labels of a split; any target above 0 counts as a label.

    Args:
        labels: array or sparse array `(num_examples, num_classes)`.
        label_kind: str, see `data_prep.sources.source.Source`.

    Returns:
        A dict and a dict of oddities, lists of rows. The first has `counts` per class (a list in
        the order of the classes), `classes_without_example` and `examples_without_label` (numbers),
        `labels_per_example` (mean), `imbalance` (largest by smallest count above 0, or `None`) and
        `cooccurrence` (a list of lists, the examples with both classes; `None` above 200 classes).
    """
    is_label = sparse.csr_array(labels) > 0
    counts = np.asarray(is_label.sum(axis=0), np.int64).ravel()
    per_example = np.asarray(is_label.sum(axis=1), np.int64).ravel()
    present = counts[counts > 0]
    odd = {"without_label": np.flatnonzero(per_example == 0).tolist(), "several_labels": []}
    if label_kind == "multi_class":
        odd["several_labels"] = np.flatnonzero(per_example > 1).tolist()
    cooccurrence = None
    if len(counts) <= MAX_COOCCURRENCE_CLASSES:
        ones = is_label.astype(np.int64)
        cooccurrence = (ones.T @ ones).toarray().tolist()
    description = {
        "counts": counts.tolist(),
        "classes_without_example": int((counts == 0).sum()),
        "examples_without_label": len(odd["without_label"]),
        "labels_per_example": float(per_example.mean()) if len(per_example) else 0.0,
        "imbalance": float(present.max() / present.min()) if len(present) else None,
        "cooccurrence": cooccurrence,
    }
    return description, odd


def describe_targets(targets):
    """Describes the targets of a regression.

    Args:
        targets: float array or sparse array `(num_examples, num_targets)`.

    Returns:
        A dict and a dict of oddities, lists of rows. The first has `targets`, for each `[min, mean,
        max]` of its finite values, or `None` where there is none.
    """
    values = targets.toarray() if sparse.issparse(targets) else np.asarray(targets)
    is_finite = np.isfinite(values)
    spreads = []
    for column, finite in zip(values.T.astype(np.float64), is_finite.T, strict=True):
        kept = column[finite]
        spreads.append([float(f(kept)) for f in (np.min, np.mean, np.max)] if len(kept) else None)
    return {"targets": spreads}, {"not_finite": np.flatnonzero(~is_finite.all(axis=1)).tolist()}


def _spread(values):
    """`[min, median, max]`, or `None` of nothing."""
    return [min(values), float(statistics.median(values)), max(values)] if values else None
