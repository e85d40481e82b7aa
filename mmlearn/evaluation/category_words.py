"""Words of a text that name a category: the category's name, its plural, and what else it is called."""

import re

# What people write for the categories of COCO, besides their names and the plurals of these. Words for a
# part of the scene rather than the thing ("kitchen"), and those that name several of them or much else
# ("animal", "dish", "couple"), are not in it.
SYNONYMS = {
    "person": (
        *(
            "man",
            "woman",
            "boy",
            "girl",
            "child",
            "kid",
            "baby",
            "toddler",
            "lady",
            "gentleman",
            "guy",
        ),
        *("player", "rider", "skier", "surfer", "snowboarder", "skateboarder", "skater", "biker"),
        *("cyclist", "motorcyclist", "batter", "pitcher", "catcher", "pedestrian", "chef", "crowd"),
        *("someone", "somebody"),
    ),
    "bicycle": ("bike",),
    "car": ("taxi", "cab", "suv", "sedan", "van", "automobile", "minivan"),
    "motorcycle": ("motorbike", "moped", "scooter"),
    "airplane": ("plane", "jet", "aircraft", "airliner", "biplane", "aeroplane"),
    "bus": ("double decker",),
    "train": ("locomotive", "tram", "railcar"),
    "truck": ("pickup", "lorry", "firetruck"),
    "boat": ("ship", "canoe", "kayak", "sailboat", "rowboat", "ferry", "yacht", "raft"),
    "traffic light": ("stoplight", "stop light", "traffic signal", "street light"),
    "fire hydrant": ("hydrant",),
    "parking meter": ("meter",),
    "bird": (
        *("duck", "goose", "swan", "pigeon", "seagull", "gull", "parrot", "owl", "eagle", "hawk"),
        *("crow", "sparrow", "flamingo", "ostrich", "pelican", "penguin", "rooster"),
    ),
    "cat": ("kitten", "kitty"),
    "dog": ("puppy", "pup", "poodle", "terrier", "bulldog", "retriever"),
    "horse": ("pony", "foal", "mare", "stallion"),
    "sheep": ("lamb", "ram", "ewe"),
    "cow": ("cattle", "bull", "calf", "ox"),
    "bear": ("cub",),
    "backpack": ("rucksack", "knapsack", "back pack"),
    "handbag": ("purse", "hand bag"),
    "tie": ("necktie", "bowtie"),
    "suitcase": ("luggage", "baggage", "briefcase"),
    "skis": ("ski",),
    "sports ball": ("ball", "football", "baseball", "basketball", "tennis ball", "soccer ball"),
    "baseball bat": ("bat",),
    "baseball glove": ("glove", "mitt"),
    "skateboard": ("skate board",),
    "surfboard": ("surf board",),
    "tennis racket": ("racket", "racquet", "tennis racquet"),
    "bottle": ("water bottle", "wine bottle"),
    "wine glass": ("wineglass", "glass of wine"),
    "cup": ("mug", "teacup"),
    "sandwich": ("burger", "hamburger", "panini"),
    "orange": ("tangerine", "clementine"),
    "hot dog": ("hotdog",),
    "donut": ("doughnut",),
    "cake": ("cupcake", "cheesecake"),
    "chair": ("armchair", "stool"),
    "couch": ("sofa", "loveseat"),
    "potted plant": ("plant", "houseplant"),
    "dining table": ("table",),
    "toilet": ("urinal",),
    "tv": ("television", "monitor", "television set", "tv screen"),
    "laptop": ("notebook computer", "macbook"),
    "mouse": ("computer mouse",),
    "remote": ("remote control", "controller", "wii remote"),
    "cell phone": ("phone", "cellphone", "smartphone", "iphone", "mobile phone"),
    "microwave": ("microwave oven",),
    "oven": ("stove",),
    "refrigerator": ("fridge",),
    "teddy bear": ("teddy", "stuffed animal", "stuffed bear"),
    "hair drier": ("hair dryer", "hairdryer", "blow dryer"),
}
# Words that do not name it, but say that it is there.
IMPLIED = {
    "bicycle": ("cyclist",),
    "motorcycle": ("motorcyclist",),
    "skis": ("skier", "skiing"),
    "snowboard": ("snowboarder", "snowboarding"),
    "skateboard": ("skateboarder", "skateboarding"),
    "surfboard": ("surfer", "surfing"),
    "baseball bat": ("batter",),
}
_PLURALS = {
    "man": "men",
    "woman": "women",
    "person": "people",
    "child": "children",
    "foot": "feet",
    "goose": "geese",
    "mouse": "mice",
    "knife": "knives",
    "calf": "calves",
    "ox": "oxen",
}


def plural(name):
    """The plural of an English name, of its last word.

    Example:

    >>> [plural(name) for name in ("wine glass", "man", "bus", "puppy", "toy", "skis")]
    ['wine glasses', 'men', 'buses', 'puppies', 'toys', 'skis']
    """
    *first, last = name.split(" ")
    if last in _PLURALS:
        last = _PLURALS[last]
    elif last.endswith(("s", "x", "z", "ch", "sh")):
        last = last if last.endswith("is") else f"{last}es"
    elif last.endswith("y") and last[-2:-1] not in tuple("aeiou"):
        last = f"{last[:-1]}ies"
    else:
        last = f"{last}s"
    return " ".join([*first, last])


def names_of(category, others=None):
    """The ways to name a category: tuples of words in lower case, singular and plural.

    Args:
        category: str, such as `"hot dog"`. `"_"` and `"-"` in it are spaces.
        others: iterable of other words for it, or `None` for those in `SYNONYMS`.

    Returns:
        A set of tuples of str.

    Example:

    >>> sorted(names_of("sheep", ["lamb"]))
    [('lamb',), ('lambs',), ('sheep',), ('sheeps',)]
    """
    others = SYNONYMS.get(category, ()) if others is None else others
    names = (" ".join(re.split(r"[\s_-]+", n.strip().lower())) for n in (category, *others))
    return {tuple(each.split(" ")) for name in names if name for each in (name, plural(name))}


def find_names(words, names):
    """Finds names in a text; of those that overlap, the longer one counts.

    Args:
        words: list of str in reading order, in lower case.
        names: dict of tuple of words to anything.

    Returns:
        A list of `(start, end, what the dict has)`, the places of the words in the list.
    """
    longest, found, place = max(map(len, names), default=0), [], 0
    while place < len(words):
        end = place + 1
        for length in range(min(longest, len(words) - place), 0, -1):
            named = names.get(tuple(words[place : place + length]))
            if named is not None:
                end = place + length
                found.append((place, end, named))
                break
        place = end
    return found


def find_categories(words, categories):
    """Finds the words that name a category; of names that overlap, the longer one counts.

    Args:
        words: list of str in reading order, punctuation as words of its own.
        categories: iterable of str.

    Returns:
        A list of `(start, end, category)`, the places of the words in the list.

    Example:

    >>> find_categories("two dogs eat a hot dog".split(), ["dog", "hot dog"])
    [(1, 2, 'dog'), (4, 6, 'hot dog')]
    """
    names = {name: category for category in categories for name in names_of(category)}
    # A category is called by its own name before it is another one's synonym.
    names.update({name: category for category in categories for name in names_of(category, ())})
    return find_names([word.lower() for word in words], names)
