"""Results as HTML: tables of labels, answers, captions, what a search found, and problems in one line."""

from html import escape

from mmlearn.demo.photos import png_url
from mmlearn.demo.picture import Group, picture_html

SHOWN_ROWS = 8  # of a table; the others are folded away
WORDS = "Words: where each one looks"
LABELS = "Labels: what in the image speaks for each one (Grad-CAM)"


def problem_html(problem):
    """Writes what is wrong, and the fix, as one line.

    Args:
        problem: str, or an exception.
    """
    return f'<p class="mm-problem" role="alert">{escape(" ".join(str(problem).split()))}</p>'


def hint_html(text):
    """Writes what there will be once something was given."""
    return f'<p class="mm-hint">{escape(text)}</p>'


def prediction_html(prediction, photo=None):
    """Writes a prediction: tables, weights, the picture, remarks.

    Args:
        prediction: `mmlearn.demo.predicting.Prediction`.
        photo: the `Photo` that was used, or `None`.
    """
    tables = "".join(_head(head, len(prediction.heads) > 1) for head in prediction.heads)
    picture = ""
    if photo is not None:
        groups = [Group(WORDS, prediction.word_maps), Group(LABELS, prediction.label_maps)]
        picture = picture_html(photo.pixels, groups)
    return _result(
        f"{tables}{_weights(prediction.modality_weights)}", picture + _remarks(prediction.remarks)
    )


def answer_html(prediction, reasons, photo):
    """Writes the answer to a question, with its reasons.

    Args:
        prediction: `mmlearn.demo.predicting.Prediction`, of answers.
        reasons: what `mmlearn.demo.predicting.answer_question` returns with it, or `None`.
        photo: `Photo`.
    """
    (head,) = prediction.heads
    best, remarks, boxes = head.rows[0], list(prediction.remarks), []
    answer = (
        f'<p class="mm-answer" role="status"><strong>{escape(best.label)}</strong> '
        f"{best.value:.1%}</p>"
    )
    if reasons is not None:
        boxes = [region["box"] for region in reasons["regions"]]
        remarks.append(
            f"The numbered regions are those that the question looks at most. Without them the answer is "
            f"“{reasons['answer_without']}”, and “{reasons['answer']}” has "
            f"{reasons['probability_without']:.1%}."
        )
    picture = picture_html(photo.pixels, [Group(WORDS, prediction.word_maps)], boxes)
    table = f"{answer}{_head(head, False, 'answer')}{_weights(prediction.modality_weights)}"
    return _result(table, picture + _remarks(remarks))


def caption_html(caption, photo):
    """Writes a caption, and where each of its words was found.

    Args:
        caption: `mmlearn.demo.captioning.Caption`.
        photo: `Photo`.
    """
    text = f'<p class="mm-answer" role="status"><strong>{escape(caption.text)}</strong></p>'
    return _result(text, picture_html(photo.pixels, [Group(WORDS, caption.word_maps)]))


def found_html(found):
    """Writes what a search found, the nearest first.

    Args:
        found: list of `mmlearn.demo.searching.Found`.
    """
    items = []
    for each in found:
        shown = f'<p class="mm-text">{escape(each.text)}</p>'
        if each.pixels is not None:
            shown = f'<img src="{png_url(each.pixels)}" alt="{escape(each.name)}">'
        caption = f"{escape(each.name)}<br>cosine {each.cosine:.3f}"
        items.append(f"<li><figure>{shown}<figcaption>{caption}</figcaption></figure></li>")
    return (
        f'<p class="mm-hint" role="status">{len(found)} found, the nearest first.</p>'
        f'<ol class="mm-found">{"".join(items)}</ol>'
    )


def _result(first, second):
    return f'<div class="mm-result"><div>{first}</div><div>{second}</div></div>'


def _head(head, is_named, label="label"):
    has_change = any(row.change is not None for row in head.rows)
    has_thresholds = any(row.is_predicted is not None for row in head.rows)
    kind = "value" if head.is_regression else "probability"
    names = ["target" if head.is_regression else label, kind]
    names += ["change"] * has_change + ["predicted"] * has_thresholds
    top = "".join(f'<th scope="col">{name}</th>' for name in names)
    rows = [_row(row, head.is_regression, has_change, has_thresholds) for row in head.rows]
    title = f"<caption>{escape(head.name)}</caption>" if is_named else ""
    table = _table(title, top, rows[:SHOWN_ROWS])
    if rest := rows[SHOWN_ROWS:]:
        table += f"<details><summary>{len(rest)} more</summary>{_table('', top, rest)}</details>"
    if head.is_regression:
        return table
    said = "calibrated" if head.is_calibrated else "not calibrated (python -m mmlearn calibrate)"
    return f'{table}<p class="mm-note">The probabilities are {said}.</p>'


def _table(title, top, rows):
    return (
        f'<table class="mm-table">{title}<thead><tr>{top}</tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table>"
    )


def _row(row, is_regression, has_change, has_thresholds):
    shown = f"{row.value:.6g}" if is_regression else f"{row.value:.1%}"
    bar = "" if is_regression else f'<i class="mm-bar" style="width:{row.value:.1%}"></i>'
    cells = [f'<th scope="row">{escape(row.label)}</th>', f"<td>{bar}<span>{shown}</span></td>"]
    if has_change:
        change = f"{row.change:+.4g}" if is_regression else f"{100 * row.change:+.1f} points"
        cells.append(f"<td>{change}</td>")
    if has_thresholds:
        cells.append(f"<td>{'yes' if row.is_predicted else 'no'}</td>")
    return f"<tr>{''.join(cells)}</tr>"


def _weights(weights):
    if not weights:
        return ""
    rows = (
        f'<tr><th scope="row">{escape(name)}</th><td><i class="mm-bar" style="width:{weight:.1%}">'
        f"</i><span>{weight:.1%}</span></td></tr>"
        for name, weight in weights.items()
    )
    top = '<th scope="col">modality</th><th scope="col">weight</th>'
    return _table("", top, rows)


def _remarks(remarks):
    return "".join(f'<p class="mm-note">{escape(remark)}</p>' for remark in remarks)
