"""What an ablation compares: the rows of its tables, and what each trains. Trains nothing itself.

A row is the experiment with a few other values. `GROUPS` maps the name of a table to its title and the
function that makes its rows, from the experiment and the registries; so a new fusion has a row.
"""

import dataclasses
import itertools
from dataclasses import dataclass, field

from data_prep.features import MODALITIES
from data_prep.names import find, parameters
from mmlearn.encoders import ENCODERS, image_presets
from mmlearn.experiments.config import Experiment, all_phases
from mmlearn.experiments.space import read_space
from mmlearn.experiments.values import with_values
from mmlearn.fusions import FUSIONS
from mmlearn.fusions.attention_fusion import AttentionFusion

FULL = "full"
# Of the documents' tables, besides each modality and "no attention".
DOCUMENTED_FUSIONS = ("cross_attention", "concat", "elementwise")
DOCUMENTS = "documents"
ALL = "all"
LEARNED_BY_FROZEN = ("fusion", "head", "auxiliary_heads")
# Of a model, what has no part in phases that train encoders and their own heads alone.
_OF_FUSION = ("fusion", "hidden_dim", "head_hidden_dim", "modality_dropout")


@dataclass(frozen=True)
class Row:
    """The experiment with other values.

    Attributes:
        name: str, in the tables.
        group: str, one of `GROUPS`.
        values: dict of path to value, see `mmlearn.experiments.values.with_values`.
    """

    name: str
    group: str
    values: dict = field(default_factory=dict)

    def apply(self, experiment):
        """Returns the experiment of the row."""
        return with_values(experiment, self.values)


def modality_rows(experiment):
    """Each modality alone, of three or more also all but one; and no attention between them."""
    modalities, rows = experiment.model.modalities, []
    if len(modalities) > 1:
        for modality in modalities:
            rows.append(Row(f"{modality} only", "modalities", {"model.modalities": (modality,)}))
    if len(modalities) > 2:
        for modality in modalities:
            others = tuple(other for other in modalities if other != modality)
            rows.append(Row(f"without {modality}", "modalities", {"model.modalities": others}))
    fusion = experiment.model.fusion
    attends = issubclass(find(fusion.name, FUSIONS, "fusion"), AttentionFusion)
    if attends and len(modalities) > 1 and fusion.options.get("num_layers", 1):
        options = {**fusion.options, "num_layers": 0}
        rows.append(Row("no attention", "modalities", {"model.fusion.options": options}))
    return rows


def fusion_rows(experiment):
    """Each other fusion, with those options of the experiment's own that it takes."""
    own = experiment.model.fusion
    if len(experiment.model.modalities) < 2:
        return []
    rows = []
    for name, cls in FUSIONS.items():
        if name != own.name:
            taken = parameters(cls)
            options = {option: value for option, value in own.options.items() if option in taken}
            values = {"model.fusion.name": name, "model.fusion.options": options}
            rows.append(Row(name, "fusions", values))
    return rows


def loss_rows(experiment):
    """Each term of the loss with weight 0, in the phases that have another."""
    terms, absent = {}, set()
    if not experiment.model.fusion.options.get("grounded_heads"):
        absent.add("grounding")
    for place, phase in enumerate(experiment.training.phases):
        weights = {t: w for t, w in phase.loss_weights.items() if w and t not in absent}
        if phase.epochs > 0 and len(weights) > 1:
            for term in weights:
                path = f"training.phases.{place}.loss_weights"
                terms.setdefault(term, {})[path] = {**phase.loss_weights, term: 0.0}
    return [Row(f"no {term} loss", "losses", values) for term, values in terms.items()]


def phase_rows(experiment):
    """Each phase left out, if there are several; those of `pretrain` too."""
    training = experiment.training
    if sum(phase.epochs > 0 for phase in all_phases(training)) < 2:
        return []
    rows = []
    for objective in training.pretrain:
        others = tuple(other for other in training.pretrain if other != objective)
        name = f"no {objective.replace('_', ' ')} phase"
        rows.append(Row(name, "phases", {"training.pretrain": others}))
    for place, phase in enumerate(training.phases):
        if phase.epochs > 0:
            values = {f"training.phases.{place}.epochs": 0}
            same = [other for other in training.phases if other.name == phase.name]
            number = f" {place + 1}" if len(same) > 1 else ""
            rows.append(Row(f"no {phase.name} phase{number}", "phases", values))
    return rows


def backbone_rows(experiment, words=()):
    """Other encoders, trained from the weights that are the default of each; none without words.

    Args:
        experiment: `Experiment`.
        words: iterable of str, `MODALITY=NAME`, such as `images=resnet50`.
    """
    rows = []
    for word in words:
        modality, equals, name = word.partition("=")
        if not equals or not name:
            raise ValueError(
                f"A backbone must read MODALITY=NAME. Received: {word!r}. Fix: such as --backbones "
                "images=cnn; `python -m mmlearn list encoders` has the names."
            )
        find(modality, experiment.model.modalities, "modality of the experiment")
        known = ENCODERS[modality]
        if modality != "images" or (name not in known and image_presets.find(name) is None):
            find(name, known, f"{modality} encoder")
        values = {f"model.{modality}.name": name, f"model.{modality}.options": {}}
        weights = getattr(getattr(experiment.model, modality), "weights", None)
        if weights not in (None, "default", "none"):  # a file of the encoder that it replaces
            values[f"model.{modality}.weights"] = "default"
        rows.append(Row(f"{modality} {name}", "backbones", values))
    return rows


def own_rows(experiment, words=()):
    """Rows that a user asks for; none without words.

    Args:
        experiment: `Experiment`.
        words: iterable of str, `NAME: PATH=VALUE PATH=VALUE`, where a path is that of a flag.
    """
    rows = []
    for word in words:
        name, colon, changes = word.partition(":")
        name = name.strip()
        if not colon or not name or not changes.strip():
            raise ValueError(
                f"A row must read NAME: PATH=VALUE PATH=VALUE. Received: {word!r}. Fix: in quotes, such "
                'as --row "two layers: model.fusion.options.num_layers=2".'
            )
        try:
            parameters = read_space(changes.split(), experiment)
        except ValueError as error:
            raise ValueError(f"Row {name!r}: {error}") from None
        for parameter in parameters:
            if len(parameter.choices) != 1:
                raise ValueError(
                    f"Row {name!r} must give {parameter.path!r} one value. Fix: a row for each."
                )
            if parameter.path == "training.seed":
                raise ValueError(f"Row {name!r} changes the seed. Fix: --seeds says how many.")
        rows.append(Row(name, "own", {p.path: p.choices[0] for p in parameters}))
    return rows


GROUPS = {
    "modalities": ("Modality contribution", modality_rows),
    "fusions": ("Fusion strategies", fusion_rows),
    "losses": ("Loss terms", loss_rows),
    "phases": ("Training phases", phase_rows),
    "backbones": ("Backbone alternatives", backbone_rows),
    "own": ("Other changes", own_rows),
}


def make_rows(experiment, backbones=(), own=()):
    """Makes all rows of an experiment, the full model first.

    Args:
        experiment: `Experiment`.
        backbones: words of `backbone_rows`.
        own: words of `own_rows`.

    Returns:
        A tuple of `Row`.

    Raises:
        ValueError: when a word is not right, or two rows have the same name.
    """
    words = {"backbones": (backbones,), "own": (own,)}
    made = [make(experiment, *words.get(group, ())) for group, (_, make) in GROUPS.items()]
    rows = (Row(FULL, "modalities"), *itertools.chain(*made))
    names = [row.name for row in rows]
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"Two rows are called {name!r}. Fix: another name for one of them.")
    return rows


def select_rows(rows, words):
    """Chooses rows by their names, or those of groups; the full model is always among them.

    Args:
        rows: tuple of `Row`.
        words: iterable of str: names of rows or of `GROUPS`; `"documents"`, the rows of the documents'
            tables; `"all"`.

    Returns:
        A tuple of `Row`, in their own order.

    Raises:
        ValueError: when there is no such row.
    """
    known = {row.name: {row.name} for row in rows}
    for group in GROUPS:
        known[group] = {row.name for row in rows if row.group == group}
    known[ALL] = set(known) - set(GROUPS)
    known[DOCUMENTS] = known["modalities"] | ({*DOCUMENTED_FUSIONS} & known["fusions"])
    chosen = {FULL}.union(*(find(word, known, "row") for word in words))
    return tuple(row for row in rows if row.name in chosen)


# --- What is trained ---------------------------------------------------------------------------


@dataclass(frozen=True)
class Stages:
    """How a row is trained: encoders once, and from there on in two ways.

    Attributes:
        encoders: `Experiment` of the phases that train encoders and their own heads alone. Rows that
            differ in what comes later have the same.
        frozen: `Experiment` of the later phases with the encoders as they are then, on stored
            features.
        end_to_end: `Experiment` of the later phases.
    """

    encoders: Experiment
    frozen: Experiment
    end_to_end: Experiment


def make_stages(row, experiment, seed):
    """Makes the stages of a row.

    Args:
        row: `Row`.
        experiment: `Experiment`, the full one.
        seed: int. Of weights and order; the data and their splits do not depend on it.
    """
    own = row.apply(experiment)
    training = dataclasses.replace(own.training, seed=seed, monitor_contribution=False)
    own = dataclasses.replace(own, training=training)
    phases = [phase for phase in all_phases(training) if phase.epochs > 0]
    # The auxiliary heads of a model of one modality are its fusion and head.
    has_own_heads = len(experiment.model.modalities) > 1
    leading = list(itertools.takewhile(lambda p: _trains_encoders(p, has_own_heads), phases))
    there = [_without_absent(phase, own.model.modalities) for phase in phases[len(leading) :]]
    later = [phase for phase in there if phase is not None]
    return Stages(
        encoders=_with_phases(_normalize(own, experiment, leading), leading),
        frozen=_with_phases(own, filter(None, map(_freeze, later))),
        end_to_end=_with_phases(own, later),
    )


def _trains_encoders(phase, has_own_heads):
    """Whether a phase trains encoders and their own heads alone."""
    if phase.objective != "labels":
        return True
    others = {name for name in phase.trainable if not _is_encoder(name)}
    return has_own_heads and others <= {"auxiliary_heads"} and len(others) < len(phase.trainable)


def _is_encoder(part):
    return part == "encoders" or part.endswith("_encoder")


def _with_phases(experiment, phases):
    training = dataclasses.replace(experiment.training, phases=tuple(phases), pretrain=())
    return dataclasses.replace(experiment, training=training)


def _normalize(own, experiment, leading):
    """Gives the row what the encoders' phases do not see from the full experiment."""
    base, model = experiment.model, own.model
    changes = {name: getattr(base, name) for name in _OF_FUSION}
    if not any(phase.loss_weights.get("consistency") for phase in leading):
        changes["consistency"] = base.consistency
    more = tuple(name for name in model.modalities if name not in base.modalities)
    changes["modalities"] = (*base.modalities, *more)
    return dataclasses.replace(own, model=dataclasses.replace(model, **changes))


def _without_absent(phase, modalities):
    """The phase for a model without some of the modalities, or `None` where it trains nothing then."""

    def is_there(name):
        named = [m for m in MODALITIES if name.startswith(f"{m}_")]
        return not named or named[0] in modalities

    trainable = tuple(filter(is_there, phase.trainable))
    if not trainable:
        return None
    return dataclasses.replace(
        phase,
        trainable=trainable,
        part_rates={name: rate for name, rate in phase.part_rates.items() if is_there(name)},
        loss_weights={name: w for name, w in phase.loss_weights.items() if is_there(name)},
    )


def _freeze(phase):
    """The phase with frozen encoders, or `None` where it trains nothing else."""
    trainable = tuple(name for name in phase.trainable if not _is_encoder(name))
    trainable = LEARNED_BY_FROZEN if "all" in trainable else trainable
    if not trainable:
        return None
    return dataclasses.replace(
        phase,
        trainable=trainable,
        trainable_blocks=0,
        lora_rank=None,
        layer_decay=1.0,
        augment=False,
        part_rates={n: rate for n, rate in phase.part_rates.items() if not _is_encoder(n)},
    )
