"""Requests with something wrong in them, made from a right one, the same for the same seed."""

import copy
import json
import random

JUNK = [
    *(None, True, -1, 0, 1e308, 2**70, "", "\0", "\ud800", "a" * 5000, [], [[]], {}),
    *({"b64": "@"}, {"b64": None}, {"b64": "AAAA", "x": 1}, [[[["a"]]]], "serving_default"),
]


def json_bodies(right, count, seed=0):
    """Yields `count` bodies made from a request, a dict: bytes."""
    chance = random.Random(seed)
    for _ in range(count):
        if chance.random() < 0.5:
            yield damage(json.dumps(right).encode(), chance)
        else:
            changed = json.loads(json.dumps(right))
            for _ in range(chance.randint(1, 3)):
                change(changed, chance)
            yield json.dumps(changed).encode()


def messages(right, count, seed=0):
    """Yields `count` messages made from one that is serialized: bytes."""
    chance = random.Random(seed)
    for _ in range(count):
        yield damage(right, chance)


def damage(data, chance):
    """Flips, cuts, doubles or puts in bytes."""
    data = bytearray(data)
    for _ in range(chance.randint(1, 4)):
        place = chance.randrange(len(data) + 1)
        stop = min(len(data), place + chance.randint(1, 20))
        kind = chance.randrange(4)
        if kind == 0 and place < len(data):
            data[place] ^= 1 << chance.randrange(8)
        elif kind == 1:
            del data[place : place + (stop - place if chance.random() < 0.8 else len(data))]
        elif kind == 2:
            data[place:place] = data[place:stop] * chance.randint(1, 50)
        else:
            data[place:place] = chance.randbytes(chance.randint(1, 20))
    return bytes(data)


def change(value, chance):
    """Puts junk somewhere into a JSON value, or removes something."""
    while True:
        if isinstance(value, dict) and value:
            key = chance.choice(sorted(value))
        elif isinstance(value, list) and value:
            key = chance.randrange(len(value))
        else:
            return
        if chance.random() < 0.5 or not isinstance(value[key], (dict, list)):
            break
        value = value[key]
    if chance.random() < 0.2:
        del value[key]
    else:
        value[key] = copy.deepcopy(chance.choice(JUNK))  # or it could come to hold itself
