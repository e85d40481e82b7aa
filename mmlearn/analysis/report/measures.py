"""What else was measured of a run, and the commands that measure it."""

import os
import shlex

from mmlearn.analysis import evidence as topics
from mmlearn.analysis.document import Missing, Picture
from mmlearn.analysis.evidence_blocks import evidence_blocks

BOXED = ("coco", "shapes", "shapes_questions", "shapes_series")  # sources with boxes

# Topics of evidence -> what the section is about, and the command that measures it.
MEASURES = {
    topics.ABLATION: ("What each part is worth", "python -m mmlearn ablate {run}/run.json"),
    topics.ATTENTION: ("Attention against boxes", "python -m mmlearn explain {run} --measure"),
    topics.CONTRIBUTION: ("Shares of the modalities", "python -m mmlearn contribution {run}"),
    topics.ROBUSTNESS: ("Robustness", "python -m mmlearn robustness {run}"),
    topics.ERRORS: ("Slices and worst examples", "python -m mmlearn errors {run}"),
    topics.PROFILE: ("Size and speed", "python -m mmlearn profile {run}"),
}


def show_evidence(run, topic):
    """Shows the evidence of a topic: its remarks, tables and figures, whatever command wrote it."""
    content = run.evidence.get(topic)
    if content is None:
        if topic == topics.ATTENTION and run.record["config"]["data"]["source"] not in BOXED:
            return [Missing("Attention against boxes (data in COCO's format have them)")]
        return [Missing(MEASURES[topic][0], command_for(topic, run))]
    # Another topic may use the same name of a picture, and so may the run itself.
    return evidence_blocks(content, run.places[topic], f"{topic}-")


def read_picture(path, caption):
    """A picture of a run's folder, by the name of its file."""
    with open(path, "rb") as file:
        return Picture(os.path.basename(path), file.read(), caption)


def command_for(topic, run):
    """The command that measures a topic of a run."""
    return MEASURES[topic][1].format(run=shlex.quote(run.folder))
