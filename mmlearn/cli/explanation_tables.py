"""A table of an explanation for the terminal."""

from rich.table import Table


def contributions_table(contributions):
    """Makes a table of what each word contributes to each class's score.

    Args:
        contributions: dict of label to what `integrated_gradients` returns.
    """
    table = Table("word", title="integrated gradients of the score", pad_edge=False)
    for label in contributions:
        table.add_column(label, justify="right")
    first = next(iter(contributions.values()))
    for place, (word, _) in enumerate(first["words"]):
        table.add_row(word, *(f"{c['words'][place][1]:+.2f}" for c in contributions.values()))
    table.add_section()
    table.add_row("other tokens", *(f"{c['special']:+.2f}" for c in contributions.values()))
    return table


def rationale_line(found):
    """Says what an answer rests on, as `mmlearn.analysis.rationale.rationale` returns it."""
    words = ", ".join(f"{each['word']} {each['share']:.0%}" for each in found["regions"])
    return (
        f"answer: {found['answer']} ({found['probability']:.2f}); its words attend most to "
        f"{len(found['regions'])} regions ({words}); without these {found['answer_without']} "
        f"({found['answer']}: {found['probability_without']:.2f})"
    )
