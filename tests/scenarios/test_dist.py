"""What `make install` gives to systemd: units that it takes, users and folders
that it makes of them, and no more power than the daemons need.
"""

import os
import pathlib
import pwd
import signal
import socket
import stat
import subprocess

import pytest

from conftest import NET, copy_of_the_tree
from process import wait_until
from sanitized import SAN

DAEMONS = ("replicad", "proxyd", "zoned")
ADDRESS = f"{NET}.230"
TIMEOUT = 20  # s
PORT = 143  # below 1024, which takes a capability
WORST = 45  # tenths: what systemd-analyze says of a stranger's reach, of 100

LDIF = """dn: o=x
objectClass: organization
o: x

dn: cn=p,ou=pools,o=x
objectClass: postcellPool
cn: p
postcellDefault: TRUE

dn: cn=mbox,ou=servers,o=x
objectClass: postcellServer
cn: mbox
postcellPoolName: p
postcellService: imap://127.0.0.1:9?tls=none
"""

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="users need root")


@pytest.fixture(scope="module")
def installed(build, tmp_path_factory):
    """The prefix: a place where it could really run."""
    folder = tmp_path_factory.mktemp("dist")
    for path in (folder, *list(folder.parents)[:2]):
        path.chmod(0o755)
    copy_of_the_tree(build, folder / "tree")
    prefix = folder / "prefix"
    done = subprocess.run(
        ["make", "-C", folder / "tree", "BUILD=build", f"SAN={SAN}", "install",
         f"PREFIX={prefix}", f"slapdmoduledir={prefix}/slapd"],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, text=True)
    assert done.returncode == 0, done.stdout
    return prefix


def units(prefix):
    return [prefix / f"lib/systemd/system/postcell-{name}.service"
            for name in DAEMONS]


def settings(unit):
    lines = [line for line in unit.read_text().splitlines()
             if "=" in line and not line.startswith("#")]
    return dict(line.split("=", 1) for line in lines)


def test_systemd_takes_the_units(installed):
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *units(installed)],
        capture_output=True, text=True, env=dict(
            os.environ, SYSTEMD_UNIT_PATH=f"{units(installed)[0].parent}:"))
    ours = [line for line in done.stderr.splitlines() if "postcell" in line]
    assert not ours
    assert all("@" not in unit.read_text() for unit in units(installed))


@pytest.mark.parametrize("name", DAEMONS)
def test_a_unit_leaves_little_to_a_stranger(installed, name):
    unit = installed / f"lib/systemd/system/postcell-{name}.service"
    done = subprocess.run(
        ["systemd-analyze", "security", "--offline=true",
         f"--threshold={WORST}", unit], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


@needs_root
def test_users_and_folders_are_made(installed, tmp_path):
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/group").write_text("openldap:x:999:\n")
    for tool, more, kind in (("sysusers", [], "sysusers.d"),
                             ("tmpfiles", ["--create"], "tmpfiles.d")):
        for path in sorted((installed / "lib" / kind).iterdir()):
            made = subprocess.run(
                [f"systemd-{tool}", f"--root={tmp_path}", *more, path],
                capture_output=True, text=True)
            assert made.returncode == 0, made.stderr
    users = {line.split(":")[0]: line.split(":")
             for line in (tmp_path / "etc/passwd").read_text().splitlines()}
    groups = {line.split(":")[0]: line.split(":")
              for line in (tmp_path / "etc/group").read_text().splitlines()}
    assert {"postcell", "postcell-auth"} <= set(users)
    # Auth processes read the replica, too.
    assert "postcell-auth" in groups["postcell"][3].split(",")
    state = tmp_path / str(installed / "var/lib/postcell")[1:]
    run = tmp_path / str(installed / "var/run/postcell")[1:]

    def look(path):
        status = path.stat()
        return stat.S_IMODE(status.st_mode), status.st_uid, status.st_gid

    uid, gid = int(users["postcell"][2]), int(groups["postcell"][2])
    assert look(state) == (0o755, 0, 0)
    assert look(state / "empty") == (0o755, 0, 0)
    assert look(state / "replica") == (0o750, uid, gid)
    assert look(run) == (0o775, 0, gid)
    assert look(run / "lockout") == (0o660, 0, 999)


class Confined:
    """A daemon with what its unit leaves it, `nobody` for its user."""

    def __init__(self, prefix, name, folder, text):
        unit = settings(prefix / f"lib/systemd/system/postcell-{name}.service")
        group = pwd.getpwnam("nobody").pw_gid
        caps = unit["CapabilityBoundingSet"].replace("CAP_", "").lower().split()
        groups = [f"--groups={group}"] if "SupplementaryGroups" in unit \
            else ["--clear-groups"]
        conf = folder / f"{name}.conf"
        conf.write_text(text)
        self.log = folder / f"{name}.log"
        with open(self.log, "w") as log:
            self.process = subprocess.Popen(
                ["setpriv", "--bounding-set",
                 "-all," + ",".join(f"+{cap}" for cap in caps),
                 *groups, "--no-new-privs", prefix / f"sbin/postcell-{name}",
                 "-c", conf], stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def said(self, text):
        return text in self.log.read_text()

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(20)


def greeting():
    with socket.create_connection((ADDRESS, PORT), 10) as client:
        return client.makefile("rb").readline()


def relay_of(parent):
    """The user of a parent's relay, and the name of its root."""
    for path in pathlib.Path("/proc").glob("[0-9]*/status"):
        try:
            status = dict(line.split(":", 1)
                          for line in path.read_text().splitlines())
            if status["Name"].strip() == "relay" \
                    and int(status["PPid"]) == parent:
                root = pathlib.Path(os.readlink(path.parent / "root"))
                return int(status["Uid"].split()[0]), root.name
        except OSError:
            pass
    return None


@needs_root
def test_the_units_capabilities_suffice(installed, tmp_path):
    nobody = pwd.getpwnam("nobody")
    for path in (tmp_path, *list(tmp_path.parents)[:2]):
        path.chmod(0o755)
    replica, run = tmp_path / "replica", tmp_path / "run"
    (tmp_path / "empty").mkdir(mode=0o755)
    replica.mkdir(mode=0o750)
    os.chown(replica, nobody.pw_uid, nobody.pw_gid)
    run.mkdir()
    os.chown(run, 0, nobody.pw_gid)
    run.chmod(0o775)
    (tmp_path / "cell.ldif").write_text(LDIF)
    replicad = Confined(installed, "replicad", tmp_path, f"""
replica = "{replica}"
user = "nobody"
source = ldif
ldif_file = "{tmp_path}/cell.ldif"
""")
    proxyd = None
    try:
        assert wait_until(lambda: replicad.said("event=ready"), TIMEOUT)
        proxyd = Confined(installed, "proxyd", tmp_path, f"""
host_name = "mail.example.org"
replica = "{replica}"
run_dir = "{run}"
user = "nobody"
chroot = "{tmp_path}/empty"
relays = 1
listen imap {{
	addresses = {{ "{ADDRESS}" }}
	port = {PORT}
	tls = none
	plaintext = yes
}}
""")
        assert wait_until(lambda: proxyd.said("event=started"), TIMEOUT)
        assert greeting().startswith(b"* OK ")
        assert relay_of(proxyd.process.pid) == (nobody.pw_uid, "empty")
        # A reload opens everything again, with no more than that.
        proxyd.process.send_signal(signal.SIGHUP)
        assert wait_until(
            lambda: proxyd.log.read_text().count("event=started") == 2, TIMEOUT)
        assert greeting().startswith(b"* OK ")
        assert proxyd.stop() == 0
    finally:
        for each in (proxyd, replicad):
            if each and each.process.poll() is None:
                each.stop()
