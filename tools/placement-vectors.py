#!/usr/bin/python3
"""Placement computed a second time, from its description alone.

    tools/placement-vectors.py          print test vectors
    tools/placement-vectors.py --check  compare tests/lib/placement_vectors.txt

lib/placement.h says what is computed. Here the logarithm is decimal arithmetic
of 60 digits and scores are exact fractions, so that an error of the library's
integers would show. The file is frozen: versions of the project that run side
by side must agree on it, so it changes for no reason but new lines.
"""

import decimal
import fractions
import pathlib
import random
import sys
import uuid

import xxhash

FILE = pathlib.Path(__file__).resolve().parent.parent / (
    "tests/lib/placement_vectors.txt")
LOG2_BITS = 48

decimal.getcontext().prec = 60
LN2 = decimal.Decimal(2).ln()


def seed_of(name):
    return xxhash.xxh3_64_intdigest(name.encode(), seed=0)


def phase_of(key):
    return xxhash.xxh3_64_intdigest(key, seed=1)


def draw_of(key, name):
    """-log2(h / 2^64), rounded up to 48 fractional bits, without the point."""
    h = xxhash.xxh3_64_intdigest(key, seed=seed_of(name)) or 1
    exact = (64 - decimal.Decimal(h).ln() / LN2) * (1 << LOG2_BITS)
    return int(exact.to_integral_value(decimal.ROUND_CEILING))


def place(key, weights):
    """The server with the smallest draw / weight; at a tie the first name."""
    scores = [(fractions.Fraction(draw_of(key, name), weight), name)
              for name, weight in weights.items() if weight > 0]
    return min(scores)[1] if scores else "-"


def line_of(fields):
    """A vector's line with its result, from the fields before that."""
    if fields[0] == "phase":
        result = f"{phase_of(bytes.fromhex(fields[1])):016x}"
    elif fields[0] == "draw":
        result = str(draw_of(bytes.fromhex(fields[1]), fields[2]))
    else:
        weights = dict(word.rsplit("=", 1) for word in fields[2].split(","))
        result = place(bytes.fromhex(fields[1]),
                       {name: int(weight) for name, weight in weights.items()})
    return " ".join([*fields, result])


def questions():
    """Fields of all vectors, without results; the same at each call."""
    dice = random.Random(20260101)
    texts = [b"a", b"sven", b"user@example.org", "jörg".encode(),
             b"x" * 16, b"x" * 17, b"x" * 128, b"x" * 129, b"x" * 240,
             b"x" * 241, b"x" * 400]
    ids = [uuid.UUID(int=dice.getrandbits(128)).bytes for _ in range(60)]
    # As slapd makes them: of one host, a moment apart.
    ids += [uuid.UUID(f"{0x6f1c2a00 + i:08x}-5a3b-103f-8c5e-"
                      "d1a5b7c9e0f2").bytes for i in range(60)]
    keys = [key.hex() for key in texts + ids]
    names = ["mbox1", "mbox2", "mbox3", "a", "mbox10.example.org",
             "s" * 40, "postfach-ä"]
    for key in keys:
        yield ["phase", key]
    for key in keys:
        for name in names[:3] if key not in keys[:11] else names:
            yield ["draw", key, name]
    for key in keys:
        count = dice.randint(1, 12)
        weights = [dice.choice([0, 1, 50, 100, 100, 100, 150, 1000, 10000])
                   for _ in range(count)]
        yield ["place", key, ",".join(f"mbox{i + 1}={weight}"
                                      for i, weight in enumerate(weights))]
        yield ["place", key, ",".join(f"mbox{i + 1}=100" for i in range(5))]


def main():
    if sys.argv[1:] not in ([], ["--check"]):
        print(__doc__.strip(), file=sys.stderr)
        return 64
    if not sys.argv[1:]:
        for fields in questions():
            print(line_of(fields))
        return 0
    bad = 0
    lines = FILE.read_text(encoding="utf-8").splitlines()
    for number, line in enumerate(lines, 1):
        expected = line_of(line.split(" ")[:-1])
        if line != expected:
            print(f"{FILE.name}:{number}: should be: {expected}")
            bad += 1
    print(f"{len(lines)} vectors, {bad} wrong")
    return 1 if bad or not lines else 0


if __name__ == "__main__":
    sys.exit(main())
