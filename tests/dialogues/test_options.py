"""Rows of options, manual pages and examples say the same."""

import base64
import re
import subprocess

import pytest

from house import BUILD, ROOT, make_certificate

PROGRAMS = ["proxyd"]


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
    found, section, name = {}, None, None
    for line in page.splitlines():
        heading = re.fullmatch(r"\.Ss The (?:section (\w+)|top level)", line)
        item = re.fullmatch(r"\.It (?:Ic|Cm) (\w+)", line)
        if heading:
            section, name = heading[1] or "", None
        elif item:
            name = item[1]
            assert (section, name) not in found, f"{section}.{name} is twice"
            found[section, name] = ""
        elif line.startswith((".El", ".Sh")):
            name = None
        elif name:
            found[section, name] += re.sub(r"^\.\w\w ", "", line) + "\n"
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
        if default != "-":
            # Folders depend on how the program was configured.
            default = re.sub(r"^/.*/", "/", default)
            assert re.search(r"Default:\s.*" + re.escape(default), text), \
                f"default of {path}, {default}"
        else:
            assert "Default:" not in text, f"default of {path}"
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
        begin = re.match(r"(\w+)(?: \w+)? \{$", line)
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
