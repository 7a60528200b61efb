"""One cell for all scenarios, on addresses of its own."""

import contextlib
import os
import pathlib
import shutil
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
sys.path[:0] = [str(ROOT / "cell"), str(ROOT / "tests")]

import daemons  # noqa: E402
from cell import Cell  # noqa: E402
from sanitized import BUILD  # noqa: E402

NET = os.environ.get("CELL_NET", "127.0.32")
FOLDER = os.environ.get("CELL_FOLDER", "scenarios")
# ms that a probe may take where no failure is the matter: on a busy machine a
# server that answers late would be taken out, and tests want all of them.
PATIENCE = 3000


@pytest.fixture(scope="session")
def build():
    return BUILD


@contextlib.contextmanager
def running_cell(folder, net, build):
    """Runs, and works: Cell.start waits for a login. Its logs stay."""
    running = Cell(folder, net=net, build=build)
    running.stop()
    before = daemons.PROBE_TIMEOUT
    daemons.PROBE_TIMEOUT = PATIENCE
    try:
        running.start()
        yield running
    finally:
        daemons.PROBE_TIMEOUT = before
        running.stop()
    check_logs(running.layout.log)


@pytest.fixture(scope="session")
def cell(build):
    with running_cell(build / FOLDER, NET, build) as running:
        yield running


def copy_of_the_tree(build, folder):
    """As it was built, times included, so that make has nothing to do."""
    shutil.copytree(ROOT, folder, ignore=lambda path, names: [
        name for name in names if name.startswith((".git", "build"))
        or name == "__pycache__"])
    for path in (*build.glob("**/*.[oa]"), *build.glob("postcell*"),
                 build / "paths"):
        if path.is_file():
            copy = folder / "build" / path.relative_to(build)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(path, copy)
    headers = ROOT / "build" / "slapd-headers"
    if headers.is_dir():
        shutil.copytree(headers, folder / "build" / "slapd-headers")


def check_logs(folder):
    """A daemon that was built with sanitizers tells its faults in its log.

    In the jail of a relay leaks cannot be looked for, which is no fault.
    """
    faults = [f"{path}: {line}" for path in sorted(folder.glob("*.log"))
              for line in path.read_text(errors="replace").splitlines()
              if "ERROR: " in line and "Sanitizer" in line
              or "runtime error:" in line]
    assert not faults, "\n".join(faults)
