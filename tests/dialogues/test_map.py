"""HACKING.md is the map: whatever has a house number stands there, and
whatever stands there exists."""

import re

from house import ROOT

# What the map shows by its room alone.
ROOMS = ("lib", "daemon", "replica", "proxy", "zones", "ctl", "slapd-overlay",
         "kdc-plugin")
WORD = re.compile(r"(?<![/\w])(?:([a-z-]+)/)?([a-z0-9_]+\.[ch])\b")


def on_the_map():
    """"room/file" of each name; a name without a room is of the one before."""
    found = set()
    for line in (ROOT / "HACKING.md").read_text().splitlines():
        room = None
        for match in WORD.finditer(line.split("|")[1] if "|" in line else line):
            room = match[1] or room
            if room in ROOMS:
                found.add(f"{room}/{match[2]}")
    return found


def test_every_source_is_on_the_map():
    there = {str(path.relative_to(ROOT)) for room in ROOMS
             for path in (ROOT / room).glob("*.c")}
    assert len(there) > 150
    assert sorted(there - on_the_map()) == []


def test_nothing_is_on_the_map_that_is_not_there():
    assert [name for name in sorted(on_the_map())
            if not (ROOT / name).exists()] == []
