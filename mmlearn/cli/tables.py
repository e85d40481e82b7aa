"""Tables for the terminal."""

from rich.table import Table


def metrics_table(metrics, title):
    """Makes a table of metrics, a row per predictor.

    Args:
        metrics: dict of row name to dict of metric name to float, as `evaluate` returns.
        title: str.
    """
    first = next(iter(metrics.values()))
    columns = [name for name in first if not name.startswith("num_")]
    table = Table(title=f"{title} ({first['num_classes']} classes with a positive)")
    table.add_column("prediction from")
    for column in columns:
        table.add_column(column.replace("_", " "), justify="right")
    for name, values in metrics.items():
        # The rows before the baselines are the model's own.
        if name in ("nothing", "oracle_images"):
            table.add_section()
        style = "bold" if name == "fused" else None
        table.add_row(name.replace("_", " "), *(f"{values[c]:.4f}" for c in columns), style=style)
    return table
