"""The synthetic source: scenes of coloured shapes with captions, in COCO's format, offline.

Each scene has 2 to 4 objects of 8 shapes and 6 colours. Each object is drawn faint (at 3 % opacity,
under noise of the same size) with probability 0.2, and mentioned in each caption with probability
0.7, both independently of everything else. So neither image nor text alone tells which shapes are
there, and how well an observer can do who sees the objects drawn in full and knows how scenes are
made can be computed (`ShapesSource.oracles`).
"""

import functools
import hashlib
import json
import math
import os
import shutil

import cv2
import numpy as np

from data_prep.errors import DataError
from data_prep.sources.coco import CocoSource
from data_prep.sources.files import read_json
from data_prep.sources.source import Source

DEFAULT_SETTINGS = {"generator_version": 1, "num_train": 6000, "num_val": 1000, "seed": 0}
IMAGE_SIZE = 96
MIN_OBJECTS, MAX_OBJECTS = 2, 4
FAINT_PROBABILITY, MENTION_PROBABILITY = 0.2, 0.7
FAINT_OPACITY = 0.03
CAPTIONS_PER_IMAGE = 5

SHAPES = ("circle", "square", "triangle", "diamond", "star", "cross", "ring", "arrow")
COLORS = {
    "red": (214, 48, 49),
    "green": (46, 160, 67),
    "blue": (41, 98, 225),
    "yellow": (241, 196, 15),
    "purple": (142, 68, 173),
    "orange": (230, 126, 34),
}
_FRACTION_BITS = 4  # OpenCV draws at sixteenths of a pixel
CATEGORY_IDS = (1, 2, 3, 5, 8, 13, 21, 34)  # with gaps, like COCO's own

# Unit outlines, x to the right and y down, within [-1, 1].
_STAR = [
    (r * np.sin(a), -r * np.cos(a))
    for a, r in zip(np.arange(10) * np.pi / 5, [1, 0.42] * 5, strict=True)
]
_OUTLINES = {
    "square": [(-0.8, -0.8), (0.8, -0.8), (0.8, 0.8), (-0.8, 0.8)],
    "triangle": [(0, -1), (0.95, 0.75), (-0.95, 0.75)],
    "diamond": [(0, -1), (0.7, 0), (0, 1), (-0.7, 0)],
    "star": _STAR,
    "cross": [
        *[(-0.3, -1), (0.3, -1), (0.3, -0.3), (1, -0.3), (1, 0.3), (0.3, 0.3)],
        *[(0.3, 1), (-0.3, 1), (-0.3, 0.3), (-1, 0.3), (-1, -0.3), (-0.3, -0.3)],
    ],
    "arrow": [(-1, -0.28), (0.1, -0.28), (0.1, -0.8), (1, 0), (0.1, 0.8), (0.1, 0.28), (-1, 0.28)],
}


class ShapesSource(Source):
    """The synthetic data set, written to disk on first use and read back as COCO.

    Args:
        root: path of the folder. Made if absent; made anew if other sizes are asked for, or if this
            generator has changed; refused if it holds something else.
        num_train: int. Training scenes; by default those that are there, else 6,000.
        num_val: int. Validation scenes; by default those that are there, else 1,000.
        seed: int. Of the scenes, not of the training; by default that of those there, else 0.
    """

    default_root = os.path.join("data", "shapes")

    def __init__(self, root, num_train=None, num_val=None, seed=None):
        super().__init__(root)
        asked = {"num_train": num_train, "num_val": num_val, "seed": seed}
        asked = {name: value for name, value in asked.items() if value is not None}
        found = _read_settings(self.root)
        settings = {**DEFAULT_SETTINGS, **(found or {}), **asked, "generator": _fingerprint()}
        if settings != found:
            _rewrite(self.root, settings)
        self.settings = settings
        self._coco = CocoSource(self.root)
        self.label_names, self.splits = self._coco.label_names, self._coco.splits
        self._oracles = functools.cache(self._observe)

    def _read_split(self, split):
        return self._coco.examples(split), self._coco.report(split)

    def oracles(self, split):
        """The predictions of three observers, who know how scenes are made.

        `images` is certain of every object that is drawn in full, blind for faint ones, `text` of every object that the
        first caption mentions, `union` of both. What they do not see gets its exact probability:
        from how many objects are known follows how many more there may be. Equal probabilities are
        told apart by a seeded 0.1 %, since average precision ranks a tied group last and would
        make the ideal look worse than a model.
        """
        return self._oracles(split)

    def _observe(self, split):
        index = self.examples(split)
        rows = {int(group): row for row, group in enumerate(index.groups)}
        folder = os.path.join(self.root, "annotations")
        instances = read_json(os.path.join(folder, f"instances_{split}.json"), dict)
        captions = read_json(os.path.join(folder, f"captions_{split}.json"), dict)
        mentioned, captioned = set(), set()
        for caption in captions["annotations"]:  # the first caption of each scene
            if caption["image_id"] not in captioned:
                captioned.add(caption["image_id"])
                mentioned.update(caption["mentions"])
        faint, silent = FAINT_PROBABILITY, 1 - MENTION_PROBABILITY
        observers = {
            "images": (lambda item: not item["faint"], faint),
            "text": (lambda item: item["id"] in mentioned, silent),
            "union": (lambda item: not item["faint"] or item["id"] in mentioned, faint * silent),
        }
        oracles = {}
        for name, (knows, hidden_probability) in observers.items():
            known = np.zeros(index.labels.shape, bool)
            count = np.zeros(len(index), int)
            for item in filter(knows, instances["annotations"]):
                row = rows[item["image_id"]]
                known[row, CATEGORY_IDS.index(item["category_id"])] = True
                count[row] += 1
            rest = np.array([_probability_of_more(k, hidden_probability) for k in range(5)])
            jitter = 1 - 1e-3 * np.random.default_rng(0).random(known.shape)
            oracles[name] = np.where(known, 1.0, rest[count][:, None] * jitter).astype(np.float32)
        return oracles


def _probability_of_more(known, hidden_probability):
    """The probability that a given shape is among the hidden objects, if `known` objects are not.

    Bayes' rule over the number of objects, which is uniform in 2..4, then the complement of all
    hidden objects being one of the seven other shapes.
    """
    totals = np.arange(max(MIN_OBJECTS, known), MAX_OBJECTS + 1)
    ways = np.array([math.comb(int(total), known) for total in totals])
    weights = ways * hidden_probability ** (totals - known)
    absent = (1 - 1 / len(SHAPES)) ** (totals - known)
    return 1 - float(weights @ absent / weights.sum())


def write_shapes(root, num_train, num_val, seed):
    """Writes the images, the COCO annotations and VQA-v2 questions and answers of both splits.

    Args:
        root: path of a folder that does not exist yet.
        num_train: int. Training scenes.
        num_val: int. Validation scenes.
        seed: int.
    """
    os.makedirs(os.path.join(root, "annotations"))
    # Ids start at 1 and never repeat across the splits.
    for split, first_id, count in (("train", 1, num_train), ("val", num_train + 1, num_val)):
        folder = os.path.join(root, split)
        os.makedirs(folder)
        tables = {"images": [], "instances": [], "captions": [], "questions": [], "answers": []}
        for image_id in range(first_id, first_id + count):
            # A generator per scene: a larger set begins with the scenes of a smaller one.
            random = np.random.default_rng([seed, split == "val", image_id - first_id])
            scene = _draw_scene(random)
            image = _render(scene, random)
            name = f"{image_id:012d}.jpg"
            path = os.path.join(folder, name)
            if not cv2.imwrite(path, image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 95]):
                raise OSError(f"Cannot write {path!r}. Fix: free disk space or check the rights.")
            _annotate(tables, scene, image_id, name, random)
        _write_tables(os.path.join(root, "annotations"), split, tables)


def _read_settings(root):
    """Returns what the data set in a folder was made with; `None` for no folder or an empty one."""
    if not os.path.exists(root) or (os.path.isdir(root) and not os.listdir(root)):
        return None
    try:
        with open(os.path.join(root, "shapes.json"), encoding="utf-8") as file:
            settings = json.load(file)
        return {name: settings[name] for name in (*DEFAULT_SETTINGS, "generator")}
    except (OSError, ValueError, KeyError, TypeError):
        raise DataError(
            f"{root!r} exists and is not a shapes data set. Fix: pass another folder, --data.root."
        ) from None


def _rewrite(root, settings):
    """Writes the data set beside its place, then puts it there."""
    for name in ("num_train", "num_val"):
        if not isinstance(settings[name], int) or settings[name] < 1:
            raise DataError(
                f"`{name}` must be a whole number from 1. Received: {name}={settings[name]!r}. "
                f"Fix: --data.options {name}=500, for example."
            )
    partial = f"{root.rstrip(os.sep)}.partial-{os.getpid()}"
    try:
        write_shapes(partial, settings["num_train"], settings["num_val"], settings["seed"])
        with open(os.path.join(partial, "shapes.json"), "w", encoding="utf-8") as file:
            json.dump(settings, file, indent=2)
        shutil.rmtree(root, ignore_errors=True)
        os.rename(partial, root)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _fingerprint():
    """Hashes the code of this file: any change of the generator gives another data set."""
    with open(__file__, "rb") as file:
        return hashlib.sha256(file.read()).hexdigest()[:16]


def _draw_scene(random):
    """Draws the objects: shape, colour, centre, radius, angle, faint or not.

    Their circles do not touch; the tips of a triangle may reach a little out of its own.
    """
    objects = []
    for _ in range(random.integers(MIN_OBJECTS, MAX_OBJECTS + 1)):
        while True:
            radius = random.uniform(10, 16)
            center = random.uniform(radius + 2, IMAGE_SIZE - radius - 2, size=2)
            apart = [np.hypot(*(center - o["center"])) - radius - o["radius"] for o in objects]
            if not apart or min(apart) > 2:
                break
        objects.append(
            {
                "shape": str(random.choice(SHAPES)),
                "color": str(random.choice(list(COLORS))),
                "center": center,
                "radius": radius,
                "angle": random.uniform(-0.35, 0.35),
                "faint": bool(random.random() < FAINT_PROBABILITY),
            }
        )
    return objects


def _outline(item):
    cos, sin = np.cos(item["angle"]), np.sin(item["angle"])
    points = np.array(_OUTLINES[item["shape"]]) @ np.array([[cos, sin], [-sin, cos]])
    return item["center"] + item["radius"] * points


def _mask(item):
    """The anti-aliased coverage `(96, 96)` of an object, in [0, 1]."""
    mask = np.zeros((IMAGE_SIZE, IMAGE_SIZE), np.uint8)

    def fixed_point(x):
        return np.round(np.asarray(x) * 2**_FRACTION_BITS).astype(np.int32)

    if item["shape"] in ("circle", "ring"):
        center, radius = fixed_point(item["center"]).tolist(), item["radius"]
        cv2.circle(mask, center, int(fixed_point(radius)), 255, -1, cv2.LINE_AA, _FRACTION_BITS)
        if item["shape"] == "ring":
            hole = int(fixed_point(0.55 * radius))
            cv2.circle(mask, center, hole, 0, -1, cv2.LINE_AA, _FRACTION_BITS)
    else:
        outline = fixed_point(_outline(item))
        cv2.fillPoly(mask, [outline], 255, cv2.LINE_AA, _FRACTION_BITS)
    return mask.astype(np.float32) / 255


def _render(scene, random):
    """Draws the scene over a tilted grey ground with noise. Returns uint8 `(96, 96, 3)`, RGB."""
    ramp = np.linspace(-12, 12, IMAGE_SIZE)
    tilt = random.uniform(-1, 1, size=2)
    ground = random.uniform(150, 215) + tilt[0] * ramp[:, None] + tilt[1] * ramp[None, :]
    image = np.repeat(ground[..., None].astype(np.float32), 3, axis=2)
    for item in scene:
        item["mask"] = _mask(item)
        opacity = item["mask"][..., None] * (FAINT_OPACITY if item["faint"] else 1.0)
        color = np.array(COLORS[item["color"]]) + random.uniform(-18, 18, size=3)
        image += opacity * (color.astype(np.float32) - image)
    image += 8 * random.standard_normal(image.shape, dtype=np.float32)
    return cv2.convertScaleAbs(np.maximum(image, 0))  # rounds and saturates at 255


_PLACES = (
    ("in the top left", "at the top", "in the top right"),
    ("on the left", "in the middle", "on the right"),
    ("in the bottom left", "at the bottom", "in the bottom right"),
)


def _place(item):
    """Says where in the image an object is: one of nine places."""
    column, row = (np.asarray(item["center"]) * 3 // IMAGE_SIZE).astype(int)
    return _PLACES[row][column]


def _relation(item, other):
    """Says where an object is as seen from another one."""
    dx, dy = np.asarray(other["center"]) - np.asarray(item["center"])
    if abs(dx) > abs(dy):
        return "left of" if dx > 0 else "right of"
    return "above" if dy > 0 else "below"


_OPENINGS = ("", "", "there is ", "a picture of ", "i can see ", "this shows ")
_NOTHING = ("some shapes on a plain ground", "a small drawing", "a picture of a few things")


def _write_caption(scene, random):
    """Writes one caption. Returns it and the objects that it mentions."""
    mentioned = [item for item in scene if random.random() < MENTION_PROBABILITY]
    if not mentioned:
        return str(random.choice(_NOTHING)), []
    random.shuffle(mentioned)
    pieces, rest = [], list(mentioned)
    while rest:
        item = rest.pop(0)
        phrase = _with_article(f"{item['color']} {item['shape']}", random)
        style = random.random()
        if style < 0.35 and rest:
            other = rest.pop(0)
            other_phrase = _with_article(f"{other['color']} {other['shape']}", random)
            phrase += f" {_relation(item, other)} {other_phrase}"
        elif style < 0.6:
            phrase += f" {_place(item)}"
        pieces.append(phrase)
    joint = str(random.choice([" and ", ", ", " with ", " next to "])) if len(pieces) > 1 else ""
    if joint == " next to " and len(pieces) > 2:
        joint = " and "
    return str(random.choice(_OPENINGS)) + joint.join(pieces), mentioned


def _with_article(words, random):
    article = "an" if words[0] in "aeiou" else "a"
    return f"{'one' if random.random() < 0.2 else article} {words}"


def _ask(scene, random):
    """Writes three questions with answers: yes/no, number, other."""
    shape, color = str(random.choice(SHAPES)), str(random.choice(list(COLORS)))
    if random.random() < 0.5:  # half of the yes/no questions are about something that is there
        item = scene[random.integers(len(scene))]
        shape, color = item["shape"], item["color"]
    there = any(item["shape"] == shape and item["color"] == color for item in scene)
    questions = [(f"is there {_with_article(f'{color} {shape}', random)}?", there, "yes/no")]
    counted = str(random.choice([item["shape"] for item in scene]))
    number = sum(item["shape"] == counted for item in scene)
    questions.append(
        (f"how many {counted}{'es' if counted[-1] == 's' else 's'} are there?", number, "number")
    )
    single = [i for i in scene if sum(o["shape"] == i["shape"] for o in scene) == 1]
    if single:
        item = single[random.integers(len(single))]
        questions.append((f"what color is the {item['shape']}?", item["color"], "other"))
    answers = {True: "yes", False: "no"}
    return [
        (text, answers[answer] if kind == "yes/no" else str(answer), kind)
        for text, answer, kind in questions
    ]


def _annotate(tables, scene, image_id, file_name, random):
    """Appends one scene to the tables of its split."""
    tables["images"].append(
        {"id": image_id, "file_name": file_name, "height": IMAGE_SIZE, "width": IMAGE_SIZE}
    )
    for number, item in enumerate(scene):
        item["annotation_id"] = image_id * 10 + number
        rows, columns = np.nonzero(item["mask"] > 0.5)
        left, top = int(columns.min()), int(rows.min())
        tables["instances"].append(
            {
                "id": item["annotation_id"],
                "image_id": image_id,
                "category_id": CATEGORY_IDS[SHAPES.index(item["shape"])],
                "bbox": [left, top, int(columns.max()) - left + 1, int(rows.max()) - top + 1],
                "area": len(rows),
                "iscrowd": 0,
                "color": item["color"],
                "faint": item["faint"],
            }
        )
    for number in range(CAPTIONS_PER_IMAGE):
        caption, mentioned = _write_caption(scene, random)
        tables["captions"].append(
            {
                "id": image_id * 10 + number,
                "image_id": image_id,
                "caption": caption,
                "mentions": [item["annotation_id"] for item in mentioned],
            }
        )
    for number, (question, answer, kind) in enumerate(_ask(scene, random)):
        question_id = image_id * 10 + number
        tables["questions"].append(
            {"question_id": question_id, "image_id": image_id, "question": question}
        )
        tables["answers"].append(
            {
                "question_id": question_id,
                "image_id": image_id,
                "question_type": " ".join(question.split()[:2]),
                "answer_type": kind,
                "multiple_choice_answer": answer,
                "answers": [
                    {"answer_id": n, "answer": answer, "answer_confidence": "yes"}
                    for n in range(1, 11)
                ],
            }
        )


def _write_tables(folder, split, tables):
    categories = [
        {"id": number, "name": name, "supercategory": "shape"}
        for number, name in zip(CATEGORY_IDS, SHAPES, strict=True)
    ]
    vqa = {"data_type": "shapes", "data_subtype": split}
    files = {
        f"instances_{split}.json": {
            "images": tables["images"],
            "annotations": tables["instances"],
            "categories": categories,
        },
        f"captions_{split}.json": {"images": tables["images"], "annotations": tables["captions"]},
        f"v2_OpenEnded_shapes_{split}_questions.json": {**vqa, "questions": tables["questions"]},
        f"v2_shapes_{split}_annotations.json": {**vqa, "annotations": tables["answers"]},
    }
    for name, content in files.items():
        with open(os.path.join(folder, name), "w", encoding="utf-8") as file:
            file.write(json.dumps(content))  # json.dump() would encode in Python, 8 times slower
