"""Rows of options, manual pages and examples say the same."""

import base64
import re
import subprocess

import pytest

from house import BUILD, ROOT, RSA_KEY, make_certificate

PROGRAMS = ["proxyd", "replicad", "zoned"]
# Defaults that a page tells in words, or not at all.
NOTHING = ("-", "", "{}")


def rows(program):
    """(section or "", name, kind, default, bounds) of each option."""
    text = subprocess.run([BUILD / f"postcell-{program}", "--options"],
                          check=True, capture_output=True, text=True).stdout
    for line in text.splitlines():
        path, kind, rest = line.split(" ", 2)
        section, _, name = path.rpartition(".")
        bounds = None
        if kind == "number":
            rest, bounds = rest.rsplit(" ", 1)
        yield section, name, kind, rest, bounds


def paragraphs(program):
    """(section, name) -> text of its item in the manual page."""
    page = (ROOT / "man" / f"postcell-{program}.conf.5").read_text()
    found, section, names = {}, None, []
    section_text = ""  # what holds for all options of a section
    for line in page.splitlines():
        item = re.fullmatch(r"\.It (?:Ic|Cm) (\w+(?: , \w+)*)", line)
        text = re.sub(r"^\.\w\w ", "", line) + "\n"
        if line.startswith(".Ss "):
            heading = re.fullmatch(r"\.Ss The section (\w+)", line)
            section, names = heading[1] if heading else "", []
            section_text = ""
        elif item:
            names = item[1].split(" , ")
            for name in names:
                assert (section, name) not in found, f"{section}.{name} is twice"
                found[section, name] = section_text
        elif line.startswith((".El", ".Sh")):
            names = []
        elif names:
            for name in names:
                found[section, name] += text
        else:
            section_text += text
    return found


@pytest.mark.parametrize("program", PROGRAMS)
def test_manual_page(program):
    page = paragraphs(program)
    for section, name, kind, default, bounds in rows(program):
        path = f"{section}.{name}"
        assert (section, name) in page, f"{path} has no paragraph"
        text = page.pop((section, name))
        if bounds:
            low, high = bounds.split("..")
            assert f"{low} to {high}" in text, f"bounds of {path}"
        if default not in NOTHING:
            # Folders depend on how the program was configured.
            default = re.sub(r"^/.*/", "/", default)
            assert re.search(r"Default:\s.*" + re.escape(default), text), \
                f"default of {path}, {default}"
        elif "{}" in text:
            assert default == "{}", f"default of {path}"
        else:
            assert not re.search(r"Default:\s+(\d|yes\.|no\.)", text), \
                f"default of {path}"
    assert not page, "options that there are not"


@pytest.mark.parametrize("program", PROGRAMS)
def test_manual_pages_are_sound(program):
    for page in (f"postcell-{program}.8", f"postcell-{program}.conf.5"):
        done = subprocess.run(
            ["mandoc", "-T", "lint", "-W", "warning", ROOT / "man" / page],
            capture_output=True, text=True)
        assert (done.returncode, done.stdout) == (0, "")


def example_options(program):
    """(section, name) of every option in the example, remarks included."""
    section = ""
    for line in (ROOT / "examples" / f"{program}.conf").read_text().splitlines():
        line = line.lstrip("# \t")
        begin = re.match(r'(\w+)(?: [\w/.:]+| "[^"]+")? \{(?:$| )', line)
        option = re.match(r"(\w+) = ", line)
        if begin:
            section = begin[1]
        elif option:
            yield section, option[1]
        elif line.startswith("}"):
            section = ""


@pytest.mark.parametrize("program", PROGRAMS)
def test_example_is_complete(program):
    options = {(section, name) for section, name, *_ in rows(program)}
    assert set(example_options(program)) == options


def test_example_is_taken(tmp_path):
    """With files of ours, and with what stands in remarks as well."""
    make_certificate(tmp_path, "mail", ["127.0.0.1"])
    make_certificate(tmp_path, "ca", ["127.0.0.1"])
    make_certificate(tmp_path, "mail-rsa", ["127.0.0.1"], key_kind=RSA_KEY)
    (tmp_path / "proxy.password").write_text("secret\n")
    (tmp_path / "empty").mkdir()
    (tmp_path / "names").mkdir()
    (tmp_path / "tickets.keys").write_text(
        base64.b64encode(bytes(range(80))).decode())
    text = (ROOT / "examples" / "proxyd.conf").read_text()
    for old, new in [("/etc/postcell/tls", tmp_path),
                     ("/etc/postcell", tmp_path),
                     ("/var/lib/postcell", tmp_path),
                     ('"postcell"', '"nobody"'),
                     ('"postcell-auth"', '"nobody"')]:
        assert old in text
        text = text.replace(old, str(new))
    conf = tmp_path / "proxyd.conf"
    whole = re.sub(r"^(\t?)# ?(\t?\w+ = |directory \{|\}$)", r"\1\2", text,
                   flags=re.MULTILINE)
    assert whole != text
    for each in (text, whole):
        conf.write_text(each)
        done = subprocess.run(
            [BUILD / "postcell-proxyd", "-n", "-c", conf],
            capture_output=True, text=True)
        assert (done.returncode, done.stderr) == (0, "")
