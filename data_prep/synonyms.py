"""Other ways to say common words of captions, for `data_prep.text_noise`. A leaf."""

import csv

from data_prep.errors import DataError

_GROUPS = """
man: guy; men: guys; woman: lady; women: ladies; boy: lad; girl: lass; child: kid; children: kids
people: folks; person: individual; baby: infant
dog: hound; dogs: hounds; puppy: pup; cat: feline; cats: felines; cow: bovine; pig: hog; rabbit: bunny
bike: bicycle; bicycle: bike; motorcycle: motorbike; car: automobile; cars: automobiles; plane: airplane
airplane: aircraft; train: locomotive; boat: vessel; boats: vessels; bus: coach; truck: lorry
street: road; road: street; sidewalk: pavement; house: home; building: structure; field: meadow
sofa: couch; couch: sofa; tv: television; television: tv; phone: telephone; laptop: notebook
picture: image, photo; photo: picture; image: picture; shows: depicts; drawing: sketch
big: large; large: big; small: little; little: small; tiny: minute; tall: high; old: aged; young: youthful
beautiful: pretty; happy: cheerful; fast: quick; several: many; many: numerous; some: a few
red: crimson; blue: azure; purple: violet; yellow: golden; white: snowy; black: dark; orange: tangerine
green: emerald; gray: grey; grey: gray
sitting: seated; standing: upright; running: racing; walking: strolling; holding: gripping
eating: consuming; looking: gazing; jumping: leaping; riding: steering; playing: having fun
next: close; near: by; above: over; below: under; under: beneath; behind: in back of
middle: center; center: middle; top: upper end; bottom: lower end
food: meal; plate: dish; cup: mug; bag: sack; rock: stone; forest: woods; ocean: sea; sea: ocean
circle: disc; square: box; diamond: rhombus; ring: hoop; cross: plus sign; arrow: pointer
triangle: three-sided shape; star: asterisk; ground: background; shapes: figures; things: objects
"""

SYNONYMS = {
    word.strip(): tuple(other.strip() for other in others.split(","))
    for line in _GROUPS.strip().splitlines()
    for word, others in (group.split(":") for group in line.split(";"))
}


def read_synonyms(path):
    """Reads a list of synonyms: CSV without a header, a word and then what it may be replaced by.

    Args:
        path: str.

    Returns:
        A dict of word, in lower case, to a tuple of others.

    Raises:
        DataError: when the file cannot be read, or a line has no second column.
    """
    found = {}
    try:
        with open(path, encoding="utf-8", newline="") as file:
            for number, row in enumerate(csv.reader(file), 1):
                word, *others = (cell.strip() for cell in row or [""])
                others = tuple(other for other in others if other)
                if word and not others:
                    raise DataError(
                        f"{path!r}, line {number}: {word!r} has no synonym. Fix: word,synonym."
                    )
                if word:
                    found[word.lower()] = others
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path!r} cannot be read ({error}). Fix: a CSV file in UTF-8.") from None
    if not found:
        raise DataError(f"{path!r} holds no synonyms. Fix: a line word,synonym for each.")
    return found
