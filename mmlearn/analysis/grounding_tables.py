"""What `measure_grounding` found, as evidence."""

from mmlearn.analysis.grounding import names_of_maps


def grounding_evidence(record):
    """Makes evidence of a measurement, see `mmlearn.analysis.evidence`.

    Args:
        record: dict, as `measure_grounding` returns.

    Returns:
        A dict of `tables`, `figures`, `captions`, `remarks` and, as `attention`, the record.
    """
    tables, figures = [_pointing(record)], []
    if "visible" in record["num_words"]:
        tables.append(_energy(record))
        figures.append("attention_pointing.png")
    if record["curves"]:
        tables.append(_curves(record))
        figures.append("attention_deletion.png")
    return {
        "tables": tables,
        "figures": figures,
        "captions": {
            "attention_pointing.png": "How often maps point at what a word names, with 95 % intervals; "
            "grey: maps that are no explanation",
            "attention_deletion.png": "The category's probability as regions are deleted or put back",
        },
        "remarks": record["verdict"],
        "attention": record,
    }


def _pointing(record):
    counts = record["num_words"]
    rows = [
        [name.replace("_", " "), *(record["maps"][name][kind]["pointing"] for kind in counts)]
        for name in names_of_maps(record)
    ]
    rows.append(["best of this grid", *(record["oracle"][kind] for kind in counts)])
    height, width = record["grid"]
    shown = ", ".join(f"{count} {kind.replace('_', ' ')}" for kind, count in counts.items())
    return {
        "title": f"Pointing game, {record['num_scenes']} images, maps of {height}x{width}",
        "columns": ["map", *(kind.replace("_", " ") for kind in counts)],
        "rows": rows,
        "note": "Share of the words whose map has the centre of its best cell in the object's box; "
        f"words: {shown} (visible, and only their colour tells them from others of the category). 95 % "
        "bootstrap intervals over images.",
    }


def _energy(record):
    rows = [
        [name.replace("_", " "), record["maps"][name]["visible"]["energy"]]
        for name in names_of_maps(record)
    ]
    return {
        "title": "Energy in the box, visible words",
        "columns": ["map", "share of the map"],
        "rows": rows,
    }


def _curves(record):
    rows = [
        [name.replace("_", " "), *(curves[what]["area"] for what in ("deletion", "insertion"))]
        for name, curves in record["curves"].items()
    ]
    return {
        "title": "Area under the category's probability",
        "columns": ["map", "deletion (low is good)", "insertion (high is good)"],
        "rows": rows,
        "note": "Of the image alone, as its regions are deleted, or put back, hottest first.",
    }
