"""The overlay's rows of options, its manual page and its example say the same."""

import re
import subprocess

from house import ROOT

SOURCE = ROOT / "slapd-overlay" / "config.c"
PAGE = ROOT / "man" / "slapo-postcell.5"
KEYS = (ROOT / "slapd-overlay" / "keys.h").read_text()
KNOWN = {name: int(number) for path in (
    SOURCE, ROOT / "lib/password.h", ROOT / "lib/lockout.h",
    ROOT / "slapd-overlay/memory.h", ROOT / "slapd-overlay/keys.h")
    for name, number in re.findall(r"^#define (\w+)\s+(\d+)\b",
                                   path.read_text(), re.M)}


def value(text):
    total = 1
    for factor in text.split("*"):
        factor = factor.strip()
        total *= int(factor) if factor.isdigit() else KNOWN[factor]
    return total


def rows():
    """word -> (name under cn=config, kind, default, least, most)"""
    text = re.sub(r"\s+", " ", SOURCE.read_text())
    bounds = {row[1]: (row[2], *map(value, row[3:])) for row in [
        (None, *groups) for groups in re.findall(
            r"\[(OPTION_\w+)\] = \{ FIELD\(\w+\), KIND_(\w+), "
            r"([\w* ]+), ([\w* ]+), ([\w* ]+) \}", text)]}
    found = {}
    for word, number, name in re.findall(
            r'ROW\("([\w-]+)", "[^"]+", \w+, (OPTION_\w+), '
            r'\w+\(\d+, "(\w+)"\)\)', text):
        found[word] = (name, *bounds.pop(number))
    assert not bounds, f"options without a row: {bounds}"
    return found


def paragraphs():
    found, name = {}, None
    for line in PAGE.read_text().splitlines():
        item = re.fullmatch(r"\.It Ic ([\w-]+) Ar .*", line)
        if item:
            name = item[1]
            assert name not in found, f"{name} is twice"
            found[name] = ""
        elif line == ".El":
            name = None
        elif name:
            found[name] += re.sub(r"^\.\w\w ", "", line) + "\n"
    return found


def test_manual_page():
    page = paragraphs()
    for word, (name, kind, default, least, most) in rows().items():
        text = page.pop(word)
        assert f"Li {name}" in text, f"{word} under cn=config"
        if kind == "NUMBER":
            assert f"{least} to {most}" in text, f"bounds of {word}"
            assert f"Default: {default}." in text, f"default of {word}"
        elif kind == "SWITCH":
            assert f"Default: {'on' if default else 'off'}." in text, word
        else:
            assert "Default:" in text
    assert not page, "options that there are not"


def test_classes_allow_all():
    text = SOURCE.read_text()
    allowed = set(re.findall(r"olcPostcell\w+",
                             text[text.index("olcPostcellConfig"):]))
    assert allowed - {"olcPostcellConfig"} == {row[0] for row in rows().values()}


def test_example():
    shown = dict(re.findall(r"^#?(postcell-[\w-]+) (.*)$", (
        ROOT / "examples" / "slapd.conf").read_text(), re.M))
    assert shown.keys() == rows().keys()
    for word, (_, kind, default, _, _) in rows().items():
        if kind == "NUMBER":
            assert shown[word] == str(default), word
    assert shown["postcell-enctypes"].strip('"') in KEYS.replace("\\\n", "")


def test_manual_page_is_sound():
    done = subprocess.run(["mandoc", "-T", "lint", "-W", "warning", PAGE],
                          capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "")
