"""What a report concludes: findings, what must not be concluded, and what to do next."""

from mmlearn.analysis.document import Bullets, Code, Paragraph
from mmlearn.analysis.report.measures import MEASURES, command_for
from mmlearn.analysis.report.words import join, name_of, text_of, title_of

SYNTHETIC = ("shapes", "shapes_questions", "shapes_series")
FEW_EXAMPLES = 1000  # below, an interval is wide


def summarize(run, scores):
    """Abstract and introduction: what was trained, on what, how good it is."""
    record = run.record
    config, data = record["config"], record["data"]
    model = config.get("model") or {}
    kind = record.get("task", "A model")
    modalities = join(model.get("modalities") or ["unknown modalities"])
    fusion = (model.get("fusion") or {}).get("name", "unknown")
    phases = [phase["name"] for phase in record["history"]]
    seconds = (record.get("seconds") or {}).get("total")
    columns = f" of {len(data.get('label_names') or ())} columns" if scores.heads else ""
    return [
        Paragraph(
            f"{kind}{columns} from {modalities}, fused by "
            f"{fusion}; trained on {(config.get('data') or {}).get('source', 'unknown data')} in "
            f"{len(phases)} phase(s) ({join(phases)})"
            + (f", {seconds:,.0f} s in all." if seconds else ".")
        ),
        Bullets(tuple(_findings(run, scores))),
    ]


def _findings(run, scores):
    found = []
    for head in scores.heads:
        metric = scores.main(head)
        value = scores.value(f"{head}fused", metric)
        if value is None:
            continue
        of = f"{title_of(head)}: " if head else ""
        text = f"{of}The fused prediction has {name_of(metric)} {text_of(value)}."
        for what, rival in (
            ("fusion_effectiveness", "the best modality's own head"),
            ("over_baseline", "the best baseline"),
        ):
            if (gain := scores.gain(head, what)) is None:
                continue
            verdict = "more than" if gain["low"] > 0 else "less than"
            if gain["low"] <= 0 <= gain["high"]:
                verdict = "which is not clearly different from"
            text += (
                f" That is {gain['difference']:+.4f} [{gain['low']:+.4f}, {gain['high']:+.4f}], {verdict} "
                f"{rival} ({title_of(gain['second'].removeprefix(head))})."
            )
        found.append(text)
    return [*found, *(run.record.get("warnings") or ())]


def list_limitations(run, scores):
    """What a reader must not conclude: from the record, never from hopes."""
    record = run.record
    config, metrics = record["config"], record["metrics"]
    training = config.get("training") or {}
    items = [
        f"One training run, of seed {training.get('seed', 'unknown')}: intervals are over examples only."
    ]
    if (config.get("data") or {}).get("source") in SYNTHETIC:
        items.append(
            "The data are synthetic and simple on purpose: figures say nothing about photos."
        )
    if any(p.get("restore_best") or p.get("patience") for p in training.get("phases") or ()):
        items.append("The epoch was chosen on the validation split on which the model is scored.")
    fused = metrics.get(f"{scores.heads[0]}fused", {}) if scores.heads else {}
    count, names = fused.get("num_examples"), record["data"].get("label_names") or []
    if count is not None and count < FEW_EXAMPLES:
        items.append(f"Only {count} validation examples, so intervals are wide.")
    if len(scores.heads) == 1 and fused.get("num_classes", len(names)) < len(names):
        missing = len(names) - fused["num_classes"]
        items.append(
            f"{missing} of {len(names)} classes have no positive in validation and do not count."
        )
    if skipped := record["data"].get("skipped"):
        items.append(f"{len(skipped)} unreadable image(s) were left out.")
    for modality in (config.get("model") or {}).get("modalities") or ():
        own = (config["model"].get(modality) or {}).get("weights")
        if own == "none":
            items.append(f"The encoder of {modality} was not pretrained.")
    if record.get("precision") not in (None, "float32"):
        items.append(f"Trained in {record['precision']}, scored in float32.")
    items += list(record.get("warnings") or ())
    measures = MEASURES if scores.heads else {}
    missing = [what for topic, (what, _) in measures.items() if topic not in run.evidence]
    if missing:
        items.append(f"Not measured: {join([what[0].lower() + what[1:] for what in missing])}.")
    return [Bullets(tuple(items))]


def list_next_steps(run, scores):
    """Future directions: what the curves advise, and what would fill the gaps."""
    items = [line for line in run.record.get("remarks") or () if ": " in line and "more" in line]
    commands = [command_for(topic, run) for topic in MEASURES if topic not in run.evidence]
    blocks = [Bullets(tuple(items))] if items else []
    if commands:
        blocks += [Paragraph("What is not measured yet, these measure:"), Code("\n".join(commands))]
    return blocks or [Paragraph("All that this report knows of is measured.")]
