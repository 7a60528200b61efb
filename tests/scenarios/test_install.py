"""`make install`: what comes where, and that it finds itself there."""

import subprocess

import pytest

from conftest import copy_of_the_tree
from sanitized import SAN

PROGRAMS = {"postcell-proxyd", "postcell-replicad", "postcell-zoned",
            "postcellctl"}


@pytest.fixture(scope="module", params=["/usr", "/opt/postcell"])
def installed(request, build, tmp_path_factory):
    """(DESTDIR, PREFIX); built for /usr/local before."""
    folder = tmp_path_factory.mktemp("install")
    copy_of_the_tree(build, folder / "tree")
    done = subprocess.run(
        ["make", "-C", folder / "tree", "BUILD=build", f"SAN={SAN}", "install",
         f"DESTDIR={folder / 'root'}", f"PREFIX={request.param}"],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, text=True)
    assert done.returncode == 0, done.stdout
    return folder, request.param


def test_all_is_there_and_nothing_elsewhere(installed):
    folder, prefix = installed
    root, tree = folder / "root", folder / "tree"
    found = {f"/{path.relative_to(root)}": path.stat().st_mode & 0o777
             for path in root.rglob("*") if path.is_file()}
    expected = {f"{prefix}/sbin/{name}": 0o755 for name in PROGRAMS}
    for page in tree.glob("man/*.[1-8]"):
        expected[f"{prefix}/share/man/man{page.suffix[1:]}/{page.name}"] = 0o644
    for path in (*tree.glob("schema/*.ldif"), *tree.glob("schema/*.schema"),
                 *tree.glob("templates/*.in")):
        expected[f"{prefix}/share/postcell/{path.relative_to(tree)}"] = 0o644
    for path in tree.glob("examples/*"):
        expected[f"{prefix}/share/doc/postcell/examples/{path.name}"] = 0o644
    for path in tree.glob("dist/systemd/*.in"):
        expected[f"{prefix}/lib/systemd/system/{path.stem}"] = 0o644
    expected[f"{prefix}/lib/sysusers.d/postcell.conf"] = 0o644
    for name in ("postcell.conf", "postcell-slapd.conf"):
        expected[f"{prefix}/lib/tmpfiles.d/{name}"] = 0o644
    modules = {name: mode for name, mode in found.items()
               if name.endswith(".so")}
    assert len(expected) > 15
    assert found == {**expected, **modules}
    assert set(modules.values()) <= {0o644, 0o755}


@pytest.mark.parametrize("name", sorted(PROGRAMS))
def test_each_looks_where_it_belongs(installed, name):
    folder, prefix = installed
    conf = "/etc" if prefix == "/usr" else f"{prefix}/etc"
    program = folder / "root" / prefix[1:] / "sbin" / name
    octets = program.read_bytes()
    assert f"{conf}/postcell".encode() in octets
    assert b"/usr/local/" not in octets
    usage = subprocess.run([program, "--help"], capture_output=True, text=True)
    assert usage.returncode == 0 and name in usage.stdout
    # Every program is told of on a page that is installed with it.
    page = folder / "root" / prefix[1:] / "share/man/man8" / f"{name}.8"
    shown = subprocess.run(["mandoc", "-T", "ascii", page],
                           capture_output=True, text=True)
    assert shown.returncode == 0 and name in shown.stdout
