"""Options of the modules for libkrb5: rows, manual pages and examples agree."""

import re
import subprocess

import pytest

from directory import ROOT
from realm import BUILD

PAGES = {"hdb": ("postcell_hdb.5", "kdc.conf"),
         "locate": ("postcell_locate.5", "krb5.conf")}


def option_rows(module):
    text = subprocess.run([BUILD / "tests/kdc-plugin/describe", module],
                          check=True, capture_output=True, text=True).stdout
    return {line.split()[0]: line.split()[1:] for line in text.splitlines()}


@pytest.mark.parametrize("module", PAGES)
def test_manual_page_and_example(module):
    """They name each option, its default and its bounds, and no other."""
    page, example = PAGES[module]
    text = (ROOT / "man" / page).read_text()
    items = dict(re.findall(r"\.It Cm (\w+)\n(.*?)(?=\n\.It |\n\.El)", text,
                            re.DOTALL))
    rows = option_rows(module)
    assert set(items) == set(rows)
    for name, (kind, default, *bounds) in rows.items():
        text = re.sub(r"\n\.\w\w ", "\n", items[name])
        if bounds:
            assert bounds[0].replace("..", " to ") in text, name
        if default == "-":
            assert "Default:" not in text, name
        else:
            default = re.sub(r"^/.*/", "/", default)
            assert re.search(r"Default:\s.*" + re.escape(default), text), name
    text = (ROOT / "examples" / example).read_text()
    section = text.partition("[postcell]\n")[2]
    assert set(re.findall(r"^\t(?:# )?(\w+) = ", section, re.MULTILINE)) \
        == set(rows)
