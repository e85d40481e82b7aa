"""The scores of a run, as the sections of its report read them."""


class Scores:
    """The scores of a run, head by head.

    Attributes:
        heads: list of str, what rows of each head begin with: `""` of a single one.
        metrics: dict of row to metrics.
    """

    def __init__(self, run):
        self.metrics = run.record["metrics"]
        fused = [row for row in self.metrics if row == "fused" or row.endswith("_fused")]
        self.heads = [row.removesuffix("fused") for row in fused]
        self._intervals = run.record.get("intervals") or {}
        self._comparisons = run.record.get("comparisons") or {}

    def main(self, head):
        """The metric that a head is judged by, told by its baseline."""
        told = {"mean": "R2", "most_frequent": "top_1_accuracy"}
        return next((m for row, m in told.items() if f"{head}{row}" in self.metrics), "mAP")

    def value(self, row, metric):
        """A metric of a row, with its interval where there is one; `None` where it was not measured."""
        value = self.metrics.get(row, {}).get(metric)
        found = self._intervals.get(row, {}).get(metric)
        return value if None in (value, found) else {"value": value, **found}

    def gain(self, head, what):
        """`"fusion_effectiveness"` or `"over_baseline"` of a head: a dict, or `None`."""
        return self._comparisons.get(f"{head}{what}")

    def rows(self, head):
        """The metrics of the rows of a head, without its name."""
        longer = [other for other in self.heads if other != head and other.startswith(head)]
        return {
            row.removeprefix(head): values
            for row, values in self.metrics.items()
            if row.startswith(head) and not any(row.startswith(other) for other in longer)
        }
