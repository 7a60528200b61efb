"""The frozen vectors of placement, computed a second time."""

import pathlib
import subprocess

ROOT = pathlib.Path(__file__).resolve().parents[2]
TOOL = ROOT / "tools" / "placement-vectors.py"


def test_vectors_agree_with_their_description():
    done = subprocess.run([TOOL, "--check"], stdout=subprocess.PIPE,
                          timeout=120, text=True, check=False)
    assert done.returncode == 0, done.stdout
    assert done.stdout.endswith(" vectors, 0 wrong\n")


def test_file_begins_with_the_generated_lines():
    made = subprocess.run([TOOL], stdout=subprocess.PIPE, timeout=120,
                          text=True, check=True).stdout
    kept = (ROOT / "tests/lib/placement_vectors.txt").read_text(
        encoding="utf-8")
    assert kept.startswith(made)
