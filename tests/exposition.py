"""Prometheus' text format, version 0.0.4, taken strictly: what its own parser lets
pass, and no more, is an error here.
"""

import math
import re

NAME = r"[a-zA-Z_:][a-zA-Z0-9_:]*"
LABEL = r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\["\\n])*)"'
SAMPLE = re.compile(rf"({NAME})(?:\{{({LABEL}(?:,{LABEL})*)\}})? (\S+)")
VALUE = re.compile(r"[+-]?(?:\d+(?:\.\d+)?(?:e[+-]?\d+)?|Inf)|NaN")
ENDINGS = {"histogram": ("_bucket", "_sum", "_count")}
# Of units, what Prometheus counts in.
NO_UNITS = re.compile("_(ms|milliseconds|minutes|kib|kilobytes|bits|percent)")


class Family:
    def __init__(self, name, text):
        self.name, self.help, self.type = name, text, None
        self.samples = {}  # (name, ((label, value), ...)) -> value

    def histograms(self):
        """{labels but le: [(bound, count), ...]}"""
        found = {}
        for (name, labels), value in self.samples.items():
            if name == f"{self.name}_bucket":
                rest = tuple(each for each in labels if each[0] != "le")
                found.setdefault(rest, []).append(
                    (float(dict(labels)["le"]), value))
        return found

    def check(self):
        assert self.samples, f"{self.name} has no values"
        assert self.type in ("counter", "gauge", "histogram"), self.name
        assert (self.type == "counter") == self.name.endswith("_total"), \
            self.name
        assert not NO_UNITS.search(self.name), self.name
        assert self.help.endswith("."), self.help
        for (name, labels), value in self.samples.items():
            assert not math.isnan(value), name
            assert self.type == "gauge" or value >= 0, name
            assert not name.endswith(("_total", "_count", "_bucket")) \
                or value == int(value), name
        for labels, buckets in self.histograms().items():
            bounds, counts = zip(*buckets)
            assert list(bounds) == sorted(set(bounds)), self.name
            assert bounds[-1] == math.inf, self.name
            assert list(counts) == sorted(counts), self.name
            assert self.samples[f"{self.name}_count", labels] == counts[-1]
            assert (f"{self.name}_sum", labels) in self.samples


def read_sample(line, family):
    match = SAMPLE.fullmatch(line)
    assert match, f"no sample: {line!r}"
    assert VALUE.fullmatch(match[match.lastindex]), f"no value: {line!r}"
    labels = tuple(sorted(re.findall(LABEL, match[2] or "")))
    names = [name for name, _ in labels]
    assert len(set(names)) == len(names), f"a label twice: {line!r}"
    endings = ENDINGS.get(family.type, ("",))
    assert match[1] in [family.name + ending for ending in endings], \
        f"{match[1]} stands below {family.name}"
    key = match[1], labels
    assert key not in family.samples, f"twice: {line!r}"
    family.samples[key] = float(match[match.lastindex])


def parse(text):
    """{name: Family}; heads come first, all of a metric stands together."""
    assert text.endswith("\n") and "\r" not in text and "\n\n" not in text
    families, family = {}, None
    for line in text[:-1].split("\n"):
        if line.startswith("# HELP "):
            _, _, name, text = line.split(" ", 3)
            assert re.fullmatch(NAME, name) and name not in families, line
            family = families[name] = Family(name, text)
        elif line.startswith("# TYPE "):
            _, _, name, kind = line.split(" ")
            assert family and name == family.name and not family.type, line
            family.type = kind
        else:
            assert not line.startswith("#") and family and family.type, line
            read_sample(line, family)
    for each in families.values():
        each.check()
    return families
