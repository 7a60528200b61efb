"""postcellctl cell: a cell that an administrator makes, on stock servers.

Each host is a folder below one root, on addresses of its own; slapd, replicad,
KDC and kpasswdd run from the files that were made there, unchanged.
"""

import hashlib
import json
import os
import pathlib
import pty
import re
import shutil
import signal
import stat
import subprocess
import tempfile

import ldap
import pytest

import server
from directory import wait_until
from sanitized import BUILD, SHORT_LIVED

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
NET = os.environ.get("CELL_TOOL_NET", "127.0.95")
NO, USAGE, DATAERR, NOINPUT, UNAVAILABLE = 1, 64, 65, 66, 69
CANTCREAT, TEMPFAIL = 73, 75
SUFFIX, REALM, DOMAIN = "dc=tool,dc=test", "TOOL.TEST", "tool.test"
PEOPLE = f"ou=people,{SUFFIX}"
ADMIN = f"uid=admin,{PEOPLE}"
GOOD = "a good password"
PORTS = {"ldap": 31389, "kdc": 31088, "kpasswd": 31464}
HEIMDAL = pathlib.Path("/usr/lib/heimdal-servers")
USER = "nobody" if os.geteuid() == 0 else "postcell"


class Host:
    """One host of the cell: what was made for it, and what runs of it."""

    def __init__(self, folder, name, last, prefix):
        self.root = folder / name
        self.name, self.prefix = name, prefix
        self.address = f"{NET}.{last}"
        self.uri = f"ldap://{self.address}:{PORTS['ldap']}"
        self.processes = {}
        self.etc = self.root / built_in("--help", "postcellctl.conf")
        self.state = self.root / built_in("--options", "replica")

    # -- postcellctl --------------------------------------------------------

    def ctl(self, *words, text="", **options):
        return subprocess.run(
            [BUILD / "postcellctl", *words], input=text, capture_output=True,
            text=True, errors="replace", timeout=120, **options)

    def place(self):
        return "--root", self.root, "--prefix", self.prefix

    def init(self, *words, text=GOOD + "\n", **options):
        return self.ctl("cell", "init", *self.place(), *self.identity(),
                        "--domain", DOMAIN, *words, text=text, **options)

    def identity(self):
        return ("--uri", self.uri, "--name", self.name, *self.services())

    def services(self):
        return ("--kdc-port", str(PORTS["kdc"]), "--kpasswd-port",
                str(PORTS["kpasswd"]), "--user", USER)

    def administer(self, *words, text=""):
        done = self.ctl("-c", self.etc / "postcellctl.conf", *words, text=text)
        assert done.returncode == 0, (words, done.stdout, done.stderr)
        return done.stdout

    # -- servers ------------------------------------------------------------

    def start(self):
        self.start_slapd()
        self.start_replicas()
        self.start_kdc()
        return self

    def spawn(self, name, *words, **environment):
        with open(self.root / f"{name}.log", "ab") as log:
            self.processes[name] = subprocess.Popen(
                list(map(str, words)), stdin=subprocess.DEVNULL, stdout=log,
                stderr=log, env={**os.environ, **SHORT_LIVED, **environment})

    def start_slapd(self):
        local = self.root / "var/run/slapd/ldapi"
        local.parent.mkdir(parents=True, exist_ok=True)
        escaped = str(local).replace("/", "%2F")
        self.spawn("slapd", server.find_program("slapd"), "-F",
                   self.etc / "slapd.d", "-h", f"{self.uri}/ ldapi://{escaped}",
                   "-d", "none", KRB5_CONFIG=str(self.etc / "slapd-krb5.conf"))
        wait_until(self.answers, 20, f"slapd of {self.name}")

    def answers(self):
        assert self.processes["slapd"].poll() is None, self.log("slapd")
        return server.answers(self.address, PORTS["ldap"])

    def log(self, name):
        return (self.root / f"{name}.log").read_text(errors="replace")

    def start_replicas(self):
        for name in ("kdc-replicad", "replicad"):
            if (self.etc / f"{name}.conf").exists():
                self.spawn(name, BUILD / "postcell-replicad", "-c",
                           self.etc / f"{name}.conf")

    def start_kdc(self):
        (self.root / "var/log").mkdir(parents=True, exist_ok=True)
        conf = self.etc / "kdc.conf"
        for program, words in (("kdc", ()), ("kpasswdd", (
                f"--addresses={self.address}", f"--port={PORTS['kpasswd']}"))):
            self.spawn(program, HEIMDAL / program, "-c", conf, *words,
                       KRB5_CONFIG=str(conf))
        wait_until(lambda: server.answers(self.address, PORTS["kdc"]), 20,
                   f"the KDC of {self.name}")

    def stop(self, *names):
        for name in names or reversed(list(self.processes)):
            process = self.processes.pop(name, None)
            if process:
                process.send_signal(signal.SIGTERM)
                try:
                    process.wait(20)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()

    # -- what users do ------------------------------------------------------

    def connect(self, dn, password):
        connection = ldap.initialize(self.uri)
        connection.set_option(ldap.OPT_X_TLS_CACERTFILE,
                              str(self.etc / "tls/ca.pem"))
        connection.set_option(ldap.OPT_X_TLS_REQUIRE_CERT,
                              ldap.OPT_X_TLS_DEMAND)
        connection.set_option(ldap.OPT_X_TLS_NEWCTX, 0)
        connection.set_option(ldap.OPT_NETWORK_TIMEOUT, 5)
        connection.set_option(ldap.OPT_TIMEOUT, 10)
        connection.start_tls_s()
        connection.simple_bind_s(dn, password)
        return connection

    def bind(self, uid, password):
        try:
            connection = self.connect(f"uid={uid},{PEOPLE}", password)
        except (ldap.INVALID_CREDENTIALS, ldap.SERVER_DOWN):
            return False
        said = connection.whoami_s()
        connection.unbind_s()
        return said == f"dn:uid={uid},{PEOPLE}"

    def kinit(self, uid, password):
        """By this host's KDC alone."""
        conf = self.root / "client.conf"
        conf.write_text(f"[libdefaults]\n\tdefault_realm = {REALM}\n"
                        "\tdns_lookup_kdc = no\n\tplugin_dir = /nowhere\n"
                        f"[realms]\n\t{REALM} = {{\n\t\tkdc = "
                        f"{self.address}:{PORTS['kdc']}\n\t}}\n")
        done = subprocess.run(
            [server.find_program("kinit"), f"--cache={self.root}/ccache",
             "--password-file=STDIN", f"{uid}@{REALM}"],
            input=password + "\n", text=True, capture_output=True, timeout=30,
            env={**os.environ, **SHORT_LIVED, "KRB5_CONFIG": str(conf)})
        return done.returncode == 0

    def local(self):
        """As root of the host, who is the administrator."""
        path = str(self.root / "var/run/slapd/ldapi").replace("/", "%2F")
        connection = ldap.initialize(f"ldapi://{path}")
        connection.sasl_interactive_bind_s("", ldap.sasl.external())
        return connection

    def entry(self, dn, *attributes):
        connection = self.local()
        try:
            return connection.search_s(dn, ldap.SCOPE_BASE, attrlist=list(
                attributes) or ["*", "+"])[0][1]
        finally:
            connection.unbind_s()

    def csns(self):
        return sorted(self.entry(SUFFIX, "contextCSN").get("contextCSN", []))


def built_in(option, name):
    """The folder of a path that postcellctl was built for, below a root."""
    text = subprocess.run([BUILD / "postcellctl", option],
                          capture_output=True, text=True).stdout
    return re.search(rf"/(\S+)/{name}", text)[1]


def make_prefix(folder):
    """As it is installed, of what was built."""
    prefix = folder / "prefix"
    for path, target in (("share/postcell/schema", ROOT / "schema"),
                         ("share/postcell/templates", ROOT / "templates"),
                         ("lib/postcell/kdc/postcell_hdb.so",
                          BUILD / "postcell_hdb.so"),
                         ("lib/ldap/postcell.so", BUILD / "postcell.so")):
        (prefix / path).parent.mkdir(parents=True, exist_ok=True)
        (prefix / path).symlink_to(target)
    return prefix


@pytest.fixture(scope="module")
def ground():
    """A folder that daemons which are not root can walk through."""
    folder = pathlib.Path(tempfile.mkdtemp(prefix="postcell-tool."))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def prefix(ground):
    return make_prefix(ground)


@pytest.fixture
def host(ground, prefix):
    """One that nothing was made for yet."""
    made = Host(ground, "fresh", 31, prefix)
    yield made
    made.stop()
    shutil.rmtree(made.root, ignore_errors=True)


@pytest.fixture(scope="module")
def first(ground, prefix):
    made = Host(ground, "ldap1", 21, prefix)
    done = made.init()
    assert done.returncode == 0, done.stderr
    try:
        yield made.start()
    finally:
        made.stop()


# -- init ----------------------------------------------------------------------


def test_who_is_added_gets_in_at_every_door(first):
    first.administer("account", "add", "anna", text="anna's first password\n")
    assert first.bind("anna", "anna's first password")
    assert not first.bind("anna", "another password")
    wait_until(lambda: first.kinit("anna", "anna's first password"),
               what="a ticket")
    assert not first.kinit("anna", "another password")


def test_debian_finds_its_pidfile(first):
    """Its script starts no slapd that does not name one."""
    text = (first.etc / "slapd.d" / "cn=config.ldif").read_text()
    path = re.search(r"^olcPidFile: (.+)$", text, re.M)[1]
    assert path == str(first.root / "var/run/slapd/slapd.pid")
    assert int(pathlib.Path(path).read_text()) == first.processes["slapd"].pid


def test_the_administrator_gets_in(first):
    assert first.bind("admin", GOOD)
    wait_until(lambda: first.kinit("admin", GOOD), what="a ticket")
    connection = first.connect(ADMIN, GOOD)
    connection.modify_s(f"cn=default,ou=pools,{SUFFIX}", [
        (ldap.MOD_REPLACE, "description", [b"of all"])])
    connection.unbind_s()


def test_who_may_read_what_was_made(first):
    modes = {path.relative_to(first.root): stat.S_IMODE(path.stat().st_mode)
             for folder in (first.etc, first.state)
             for path in folder.rglob("*") if path.is_file()}
    secret = [path for path in modes if path.suffix in (".password", ".key")
              or "slapd.d" in path.parts or "ldap" in path.parts]
    assert len(secret) > 20
    assert {str(path): modes[path] for path in secret if modes[path] & 0o077} == {}
    for folder in ("etc", "state"):
        assert getattr(first, folder).stat().st_mode & 0o022 == 0
    assert stat.S_IMODE((first.etc / "slapd.d").stat().st_mode) == 0o700


def test_the_proxys_configuration_is_a_good_one(first):
    done = subprocess.run([BUILD / "postcell-proxyd", "-n", "-c",
                           first.etc / "proxyd.conf"],
                          capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_each_identity_may_what_it_may(first):
    """The access rules as delivered: a stolen one reads no key anywhere."""
    def sees(group, secret):
        dn = f"cn=ldap1,{group}ou=daemons,{SUFFIX}"
        connection = first.connect(
            dn, (first.etc / f"{secret}.password").read_text().strip())
        seen = set()
        for base in (PEOPLE, f"ou=principals,{SUFFIX}", "cn=log"):
            try:
                found = connection.search_s(base, ldap.SCOPE_SUBTREE,
                                            "(objectClass=*)", ["*", "+"])
            except (ldap.NO_SUCH_OBJECT, ldap.INSUFFICIENT_ACCESS):
                found = []
            seen |= {(base, name) for _, values in found for name in values}
        connection.unbind_s()
        return seen

    keys = {(PEOPLE, "postcellKeys"), (PEOPLE, "userPassword"),
            (PEOPLE, "pwdHistory"), (f"ou=principals,{SUFFIX}", "postcellKeys"),
            ("cn=log", "reqMod")}
    assert sees("ou=sync,", "sync") & keys == keys - {(PEOPLE, "pwdHistory")}
    assert sees("ou=kdcs,", "kdc") & keys == {
        (PEOPLE, "postcellKeys"), (f"ou=principals,{SUFFIX}", "postcellKeys")}
    for group, secret in (("ou=replicas,", "replica"), ("", "proxy"),
                          ("ou=deciders,", "decider")):
        seen = sees(group, secret)
        assert (PEOPLE, "uid") in seen
        assert not seen & keys, secret


@pytest.mark.parametrize("words, wrong", [
    (["--realm", "tool.test"], "in capitals"),
    (["--realm", "TOOL TEST"], "a realm looks like"),
    (["--suffix", "tool.test"], "a suffix looks like"),
    (["--suffix", "cn=x,dc=test"], "a suffix looks like"),
    (["--suffix", 'dc=a"b,dc=test'], "a suffix looks like"),
    (["--suffix", "dc=a$b"], "a suffix looks like"),
    (["--domain", "tool"], "a mail domain looks like"),
    (["--uri", "ldapi:///"], "a URI looks like"),
    (["--uri", "ldap://a/dc=x"], "a URI looks like"),
    (["--name", "a,b"], "letters, digits"),
    (["--name", b"\xff\xfe"], "letters, digits"),
    (["--suffix", b"dc=\xff"], "a suffix looks like"),
    (["--suffix", "dc=a, dc=b"], "a suffix looks like"),
    (["--admin", "-x"], "a uid of"),
    (["--kdc-port", "0"], "1 to 65535"),
    (["--root", "relative"], "absolute path"),
])
def test_bad_names_are_refused(host, words, wrong):
    done = host.init(*words)
    assert done.returncode == USAGE
    assert wrong in done.stderr
    assert not host.root.exists()


def test_an_empty_password_is_refused(host):
    assert host.init(text="\n").returncode == DATAERR
    assert not host.root.exists()


def test_nothing_is_overwritten(host):
    host.etc.mkdir(parents=True)
    (host.etc / "proxyd.conf").write_text("mine\n")
    done = host.init()
    assert done.returncode == CANTCREAT
    assert "nothing is overwritten" in done.stderr
    assert [path for path in host.root.rglob("*") if path.is_file()] == [
        host.etc / "proxyd.conf"]


def test_a_look_changes_nothing(host):
    done = host.init("--dry-run", text="")
    assert done.returncode == 0, done.stderr
    assert f"realm {REALM}" in done.stdout
    assert str(host.etc / "slapd.d") in done.stdout
    assert not host.root.exists()


def test_it_asks_at_a_terminal(host):
    """What follows from the rest is in brackets; passwords are not shown."""
    answers = {"URI of this": host.uri, "Name of this": "ldap7",
               "Mail domain": DOMAIN, "Kerberos realm [TOOL.TEST]": "",
               "Suffix of the directory [dc=tool,dc=test]": "",
               "uid of the administrator [admin]": "chief",
               "Name that mail programs connect to [mail.tool.test]": "",
               "New password for chief:": GOOD, "Again for chief:": GOOD}
    pid, terminal = pty.fork()
    if pid == 0:
        os.execv(BUILD / "postcellctl", [
            "postcellctl", "cell", "init", *map(str, host.place()),
            *host.services()])
    said, left = b"", dict(answers)
    try:
        while True:
            said += os.read(terminal, 4096)
            asked = said.rpartition(b"\n")[2].decode(errors="replace")
            if left and asked.startswith(next(iter(left))) \
                    and asked.endswith(": "):
                os.write(terminal, left.pop(next(iter(left))).encode() + b"\n")
                said += b"\n"
    except OSError:  # it ended
        pass
    os.close(terminal)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0, said.decode()
    assert not left
    assert GOOD.encode() not in said
    facts = json.loads((host.etc / "cell.json").read_text())
    assert (facts["name"], facts["admin"], facts["suffix"]) == (
        "ldap7", "chief", SUFFIX)
    host.start_slapd()
    assert host.bind("chief", GOOD)


# In a mount namespace, where the folders of the machine are empty ones: what
# is made for them, started by the script of Debian's package as it is advised.
ON_A_MACHINE = """\
set -e
for folder in /usr/local/etc /var/lib /run; do mount -t tmpfs tmpfs $folder; done
echo "$PASSWORD" | "$@" >"$FOLDER/said"
sed -n 's/^ *\\(SLAPD_[A-Z]*=\\)/\\1/p; s/^ *\\(export KRB5\\)/\\1/p' "$FOLDER/said" \
    >"$FOLDER/default"
printf 'SLAPD_USER=openldap\\nSLAPD_GROUP=openldap\\n' >>"$FOLDER/default"
mount --bind "$FOLDER/default" /etc/default/slapd
export _SYSTEMCTL_SKIP_REDIRECT=1
sh /etc/init.d/slapd start
trap 'sh /etc/init.d/slapd stop' EXIT
echo "annas password" | "$1" -c "$ETC/postcellctl.conf" account add anna
ps -o user= -p "$(cat /run/slapd/slapd.pid)"
LDAPTLS_CACERT="$ETC/tls/ca.pem" ldapwhoami -ZZ -x -H "$URI" \
    -D "uid=anna,ou=people,$SUFFIX" -w "annas password"
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has namespaces")
def test_debians_script_starts_what_was_made(host, ground):
    etc = "/" + built_in("--help", "postcellctl.conf")
    if not etc.startswith("/usr/local/etc/"):
        pytest.skip("it would be made where this machine's own things are")
    folder = ground / "machine"
    folder.mkdir()
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", ON_A_MACHINE, "sh",
         BUILD / "postcellctl", "cell", "init", "--prefix", host.prefix,
         *host.identity(), "--domain", DOMAIN],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120,
        env={**os.environ, "PASSWORD": GOOD, "FOLDER": str(folder),
             "URI": host.uri, "SUFFIX": SUFFIX,
             "ETC": etc})
    assert done.returncode == 0, (done.stdout, done.stderr)
    assert "openldap" in done.stdout.splitlines()
    assert f"dn:uid=anna,{PEOPLE}" in done.stdout


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can hide a program")
def test_a_missing_tool_is_named(host):
    hide = "mount --bind /dev/null \"$0\" && exec \"$@\""
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", hide,
         server.find_program("kstash"), BUILD / "postcellctl", "cell", "init",
         *host.place(), *host.identity(), "--domain", DOMAIN],
        input=GOOD + "\n", capture_output=True, text=True, timeout=60)
    assert done.returncode == UNAVAILABLE
    assert "kstash: is not installed: package heimdal-kdc has it" in done.stderr
    assert not host.root.exists()


def test_a_tool_that_fails_leaves_nothing(host, ground):
    tools = ground / "tools"
    tools.mkdir()
    failing = tools / "kadmin"
    failing.write_text("#!/bin/sh\necho it would not >&2\nexit 3\n")
    failing.chmod(0o755)
    done = host.init(env={**os.environ,
                          "PATH": f"{tools}:{os.environ['PATH']}"})
    shutil.rmtree(tools)
    assert done.returncode == UNAVAILABLE
    assert "kadmin: failed with status 3" in done.stderr
    assert "it would not" in done.stderr
    assert not host.root.exists()


def interrupt(host, number, when, *words):
    """Once it says that; nothing is left then."""
    before = set(pathlib.Path("/tmp").glob("postcell.??????"))
    process = subprocess.Popen(
        [BUILD / "postcellctl", "cell", *words],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True)
    for line in process.stderr:
        if when in line:
            process.send_signal(number)
            break
    said = process.stderr.read()
    process.stdout.read()
    assert process.wait(60) == TEMPFAIL
    assert "interrupted" in said
    assert not host.root.exists()
    assert set(pathlib.Path("/tmp").glob("postcell.??????")) <= before


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("when", ["filling the directory",
                                  "putting all in place"])
def test_an_interrupted_one_leaves_nothing(host, number, when):
    interrupt(host, number, when, "init", *host.place(), *host.identity(),
              "--domain", DOMAIN, "--generate")


def test_a_generated_password_works(host):
    done = host.init("--generate", "--admin", "chief", "--suffix",
                     "o=The Tool,c=DE", "--realm", "OTHER.TEST", text="")
    assert done.returncode == 0, done.stderr
    secret = host.etc / "admin.password"
    assert stat.S_IMODE(secret.stat().st_mode) == 0o600
    assert str(secret) in done.stdout
    host.start_slapd()
    connection = host.connect("uid=chief,ou=people,o=The Tool,c=DE",
                              secret.read_text().strip())
    assert connection.whoami_s() == "dn:uid=chief,ou=people,o=The Tool,c=DE"
    names = {values["krb5PrincipalName"][0] for _, values in
             connection.search_s("ou=principals,o=The Tool,c=DE",
                                 ldap.SCOPE_ONELEVEL)}
    connection.unbind_s()
    assert b"krbtgt/OTHER.TEST@OTHER.TEST" in names
    assert b"kadmin/changepw@OTHER.TEST" in names


# -- join ----------------------------------------------------------------------


def prepare(host, new, bundle, *words):
    return host.ctl("cell", "join", "--root", host.root, "--prepare", new.name,
                    "--uri", new.uri, *words, bundle)


@pytest.fixture(scope="module")
def second(first, ground, prefix):
    made = Host(ground, "ldap2", 22, prefix)
    bundle = ground / "bundle"
    first.administer("account", "add", "before", text="before it joined\n")
    done = prepare(first, made, bundle)
    assert done.returncode == 0, done.stderr
    assert stat.S_IMODE(bundle.stat().st_mode) == 0o600
    assert "whoever has the file has the realm" in done.stdout
    done = made.ctl("cell", "join", *made.place(), "--user", USER, bundle)
    assert done.returncode == 0, done.stderr
    bundle.unlink()
    try:
        yield made.start()
    finally:
        made.stop()


def converge(*hosts):
    wait_until(lambda: len({tuple(host.csns()) for host in hosts}) == 1,
               what="the same contextCSN")


def test_a_second_provider_has_it_all(first, second):
    assert second.bind("before", "before it joined")
    wait_until(lambda: second.kinit("before", "before it joined"),
               what="a ticket from the second KDC")
    converge(first, second)


def test_each_follows_the_other(first, second):
    for here, there in ((first, second), (second, first)):
        uid = f"added-at-{here.name}"
        here.administer("account", "add", uid, text=f"{uid} secret\n")
        wait_until(lambda: there.bind(uid, f"{uid} secret"),
                   what=f"{uid} at {there.name}")
        wait_until(lambda: there.kinit(uid, f"{uid} secret"),
                   what=f"a ticket for {uid} at {there.name}")
    converge(first, second)
    assert len(first.csns()) == 2


def test_a_password_changed_at_one_works_at_the_other(first, second):
    first.administer("account", "add", "changing", text="the first one\n")
    wait_until(lambda: second.bind("changing", "the first one"),
               what="the account at the second")
    connection = second.connect(f"uid=changing,{PEOPLE}", "the first one")
    connection.passwd_s(f"uid=changing,{PEOPLE}", "the first one",
                        "the second one")
    connection.unbind_s()
    for host in (first, second):
        wait_until(lambda: host.bind("changing", "the second one"),
                   what=f"the new password at {host.name}")
        wait_until(lambda: host.kinit("changing", "the second one"),
                   what=f"a ticket at {host.name}")
        assert not host.bind("changing", "the first one")


def test_a_name_is_given_once(first, second, ground):
    done = prepare(first, second, ground / "again")
    assert done.returncode == CANTCREAT
    assert "is in the cell" in done.stderr
    assert not (ground / "again").exists()


def test_preparing_is_whole_or_not_at_all(first, ground, prefix):
    """A bundle that cannot be written leaves no identity."""
    new = Host(ground, "ldap9", 29, prefix)
    done = prepare(first, new, ground / "nowhere" / "bundle")
    assert done.returncode == CANTCREAT
    connection = first.local()
    found = connection.search_s(SUFFIX, ldap.SCOPE_SUBTREE, "(cn=ldap9)")
    connection.unbind_s()
    assert found == []


@pytest.mark.parametrize("harm, wrong", [
    (lambda text: text[:len(text) // 2], "is no bundle"),
    (lambda text: text.replace("bundle 1", "bundle 9"), "of this version"),
    (lambda text: re.sub('"master.key": "', '"master.key": "*', text),
     "a damaged file"),
    (lambda text: text.replace('"sync_password"', '"other"'), "a password"),
    (lambda text: text.replace('"master.key"', '"other"'), "lacks a file"),
])
def test_a_damaged_bundle_is_refused(first, ground, host, harm, wrong):
    bundle = ground / "damaged"
    done = prepare(first, host, bundle)
    assert done.returncode == 0, done.stderr
    bundle.write_text(harm(bundle.read_text()))
    done = host.ctl("cell", "join", *host.place(), "--user", USER, bundle)
    bundle.unlink()
    forget(first, host)
    assert done.returncode == DATAERR
    assert wrong in done.stderr
    assert not host.root.exists()


def forget(first, host, *others):
    """As an administrator who will not have it after all."""
    connection = first.local()
    for dn, _ in connection.search_s(SUFFIX, ldap.SCOPE_SUBTREE,
                                     f"(cn={host.name})", ["1.1"]):
        connection.delete_s(dn)
    connection.unbind_s()
    for each in (first, *others):
        connection = each.local()
        (dn, found), = connection.search_s("cn=config", ldap.SCOPE_SUBTREE,
                                           f"(olcSuffix={SUFFIX})",
                                           ["olcSyncrepl"])
        changes = [(ldap.MOD_DELETE, "olcSyncrepl", [value]) for value in
                   found.get("olcSyncrepl", []) if host.uri.encode() in value]
        if changes and len(changes) == len(found["olcSyncrepl"]):
            changes.append((ldap.MOD_DELETE, "olcMultiProvider", None))
        if changes:
            connection.modify_s(dn, changes)
        connection.unbind_s()
        if not changes:
            continue
        # One consumer less under cn=config leaves slapd 2.5's others stuck.
        each.stop("slapd")
        each.start_slapd()


def test_a_third_is_followed_by_all(first, second, host, ground):
    bundle = ground / "third"
    done = prepare(first, host, bundle)
    assert done.returncode == 0, done.stderr
    done = host.ctl("cell", "join", *host.place(), "--user", USER, bundle)
    assert done.returncode == 0, done.stderr
    bundle.unlink()
    host.start_slapd()
    def follow():
        done = second.ctl("cell", "join", "--root", second.root, "--peers")
        assert done.returncode == 0, done.stderr
        return done.stdout

    # Once it knows of the third.
    wait_until(lambda: follow() == "1 of 3 providers are followed anew\n",
               what="the third among the peers")
    assert follow() == "0 of 3 providers are followed anew\n"
    host.administer("account", "add", "at-third", text="added at the third\n")
    # The first one may be away: the second follows the third by itself.
    wait_until(lambda: second.bind("at-third", "added at the third"),
               what="the account at the second")
    converge(first, second, host)
    host.stop()
    forget(first, host, second)
    converge(first, second)


def test_a_kdc_may_be_nothing_else(first, host, ground):
    """It has neither slapd nor databases, and gives tickets all the same."""
    bundle = ground / "kdc"
    host.uri = f"kerberos://{host.address}"
    done = prepare(first, host, bundle)
    assert done.returncode == 0, done.stderr
    assert "tls/slapd.key" not in bundle.read_text()
    done = host.ctl("cell", "join", *host.place(), "--user", USER, bundle)
    assert done.returncode == 0, done.stderr
    bundle.unlink()
    assert not (host.etc / "slapd.d").exists()
    assert not (host.state / "ldap").exists()
    assert stat.S_IMODE((host.etc / "master.key").stat().st_mode) == 0o600
    first.administer("account", "add", "ticketed", text="of the third KDC\n")
    host.state.mkdir(parents=True, exist_ok=True)
    host.start_replicas()
    host.start_kdc()
    wait_until(lambda: host.kinit("ticketed", "of the third KDC"),
               what="a ticket of the third KDC")
    assert not host.kinit("ticketed", "another one")
    done = host.ctl("cell", "backup", "--root", host.root, ground / "none")
    assert done.returncode == USAGE
    assert "no directory" in done.stderr
    host.stop()
    forget(first, host)


def test_a_provider_that_is_away_is_told(first, second, host, ground):
    bundle = ground / "away"
    done = prepare(first, host, bundle)
    assert done.returncode == 0, done.stderr
    facts = json.loads(bundle.read_text())
    facts["facts"]["uris"] = f"{host.uri} ldap://{NET}.99:31389"
    bundle.write_text(json.dumps(facts))
    done = host.ctl("cell", "join", *host.place(), "--user", USER, bundle)
    bundle.unlink()
    forget(first, host)
    assert done.returncode == UNAVAILABLE
    assert f"ldap://{NET}.99:31389" in done.stderr
    assert not host.root.exists()


# -- backup and restore --------------------------------------------------------


def backup(host, folder, *words):
    done = host.ctl("cell", "backup", "--root", host.root, *words, folder)
    assert done.returncode == 0, done.stderr
    return done.stdout


def restore(host, folder, *words):
    return host.ctl("cell", "restore", *host.place(), "--user", USER, *words,
                    folder)


def destroy(host):
    host.stop()
    shutil.rmtree(host.root)


@pytest.fixture(scope="module")
def saved(ground, prefix):
    """A host of its own, gone, and its two backups: for a safe, and nightly."""
    made = Host(ground, "alone", 41, prefix)
    assert made.init().returncode == 0
    made.start_slapd()
    made.administer("account", "add", "kept", text="kept in a backup\n")
    safe, night = ground / "safe", ground / "night"
    told = backup(made, safe, "--with-master-key")
    assert "whoever has it has the realm" in told
    made.administer("account", "add", "later", text="after the first one\n")
    assert "The master key is not in it" in backup(made, night)
    secrets = {path.name: path.read_bytes() for path in made.etc.rglob("*")
               if path.suffix in (".password", ".key")}
    csns = made.csns()
    destroy(made)
    return made, safe, night, secrets, csns


@pytest.fixture
def gone(saved):
    """Its host, at whose end nothing of it is left."""
    host = saved[0]
    yield host
    host.stop()
    shutil.rmtree(host.root, ignore_errors=True)


def contents(folder):
    return b"\n".join(path.read_bytes() for path in sorted(folder.rglob("*"))
                      if path.is_file())


def test_a_stolen_backup_opens_nothing(saved):
    _, safe, night, secrets, _ = saved
    assert {"master.key", "sync.password", "kdc.password", "ca.key",
            "slapd.key"} <= set(secrets)
    stolen, whole = contents(night), contents(safe)
    assert b"postcellKeys" in stolen
    for name, secret in secrets.items():
        # The password by which it binds at others stands in cn=config as well.
        assert secret.strip() not in stolen, name
        assert secret.strip() in whole, name
    for folder in (safe, night):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        for path in folder.rglob("*"):
            assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, path


def test_the_manifest_says_what_there_is(saved):
    _, _, night, _, csns = saved
    manifest = json.loads((night / "manifest.json").read_text())
    assert sorted(manifest["contextCSN"]) == [csn.decode() for csn in csns]
    assert manifest["secrets"] is False
    assert {file["name"] for file in manifest["files"]} | {
        "manifest.json"} == {str(path.relative_to(night)) for path in
                             night.rglob("*") if path.is_file()}
    for file in manifest["files"]:
        path = night / file["name"]
        assert path.stat().st_size == file["size"]
        assert hashlib.sha256(path.read_bytes()).hexdigest() == file["sha256"]


@pytest.mark.parametrize("words", [(), ("night",)])
def test_what_was_destroyed_works_again(saved, gone, words):
    _, safe, night, _, _ = saved
    if words:
        done = restore(gone, night, "--keys-from", safe)
    else:
        done = restore(gone, safe)
    assert done.returncode == 0, done.stderr
    assert "verifying 1 of" in done.stderr
    gone.start()
    assert gone.bind("kept", "kept in a backup")
    assert gone.bind("admin", GOOD)
    wait_until(lambda: gone.kinit("kept", "kept in a backup"), what="a ticket")
    assert gone.bind("later", "after the first one") == bool(words)
    gone.administer("account", "add", "new", text="after the restore\n")
    assert gone.bind("new", "after the restore")
    modes = [stat.S_IMODE(path.stat().st_mode) for path in gone.etc.rglob("*")
             if path.suffix in (".password", ".key")]
    assert len(modes) >= 8 and set(modes) == {0o600}


def test_it_can_be_restored_elsewhere(saved, ground, prefix):
    _, safe, _, _, _ = saved
    other = Host(ground, "elsewhere", 41, prefix)
    try:
        done = restore(other, safe)
        assert done.returncode == 0, done.stderr
        other.start_slapd()
        assert other.bind("kept", "kept in a backup")
        assert str(saved[0].root).encode() not in contents(other.etc)
    finally:
        other.stop()
        shutil.rmtree(other.root, ignore_errors=True)


def cut(path):
    path.write_bytes(path.read_bytes()[:-100])


def change(path):
    path.write_bytes(path.read_bytes().replace(b"kept", b"keqt"))


def lead_out(path):
    path.write_text(path.read_text().replace('"directory.ldif"',
                                             '"../directory.ldif"'))


@pytest.mark.parametrize("name, harm, status, wrong", [
    ("directory.ldif", cut, DATAERR, "is cut"),
    ("directory.ldif", change, DATAERR, "its sum differs"),
    ("directory.ldif", pathlib.Path.unlink, DATAERR, "No such file"),
    ("etc/master.key", cut, DATAERR, "is cut"),
    ("manifest.json", cut, DATAERR, "is no manifest"),
    ("manifest.json", lead_out, DATAERR, "its manifest is damaged"),
    ("manifest.json", pathlib.Path.unlink, NOINPUT, "No such file"),
])
def test_a_damaged_backup_is_refused(saved, gone, tmp_path, name, harm, status,
                                     wrong):
    folder = tmp_path / "damaged"
    shutil.copytree(saved[1], folder)
    harm(folder / name)
    done = restore(gone, folder)
    assert done.returncode == status
    assert wrong in done.stderr
    assert not gone.root.exists()


def test_without_the_master_key_it_says_what_is_missing(saved, gone, first,
                                                        ground):
    _, _, night, _, _ = saved
    done = restore(gone, night)
    assert done.returncode == USAGE
    assert "--keys-from" in done.stderr
    done = restore(gone, night, "--keys-from", night)
    assert done.returncode == DATAERR
    assert "without the master key" in done.stderr
    done = first.ctl("--json", "cell", "backup", "--root", first.root,
                     "--with-master-key", ground / "of-another")
    told = json.loads(done.stdout)
    assert (told["done"], told["secrets"]) == ("saved", True)
    assert done.stderr == ""
    done = restore(gone, night, "--keys-from", ground / "of-another")
    assert done.returncode == DATAERR
    assert "of another host or cell" in done.stderr
    assert not gone.root.exists()


def test_an_interrupted_restore_leaves_nothing(saved, gone):
    interrupt(gone, signal.SIGTERM, "restoring the directory", "restore",
              *gone.place(), "--user", USER, saved[1])


def test_neither_overwrites_anything(saved, gone, first):
    _, safe, _, _, _ = saved
    (gone.state / "ldap").mkdir(parents=True)
    (gone.state / "ldap" / "mine").write_text("mine\n")
    done = restore(gone, safe)
    assert done.returncode == CANTCREAT
    assert "nothing is overwritten" in done.stderr
    assert not gone.etc.exists()
    done = first.ctl("cell", "backup", "--root", first.root, safe)
    assert done.returncode == CANTCREAT


def test_a_restored_provider_catches_up(first, second, ground):
    """What came after its backup, its own changes among it, the peer has."""
    folder = ground / "of-second"
    backup(second, folder, "--with-master-key")
    second.administer("account", "add", "own-later", text="added at itself\n")
    first.administer("account", "add", "peers-later", text="added there\n")
    converge(first, second)
    destroy(second)
    first.administer("account", "add", "while-away", text="added meanwhile\n")
    done = restore(second, folder)
    assert done.returncode == 0, done.stderr
    second.start()
    for uid, password in (("own-later", "added at itself"),
                          ("peers-later", "added there"),
                          ("while-away", "added meanwhile")):
        wait_until(lambda: second.bind(uid, password), what=f"{uid} again")
    converge(first, second)
    second.administer("account", "add", "restored", text="after all of it\n")
    wait_until(lambda: first.bind("restored", "after all of it"),
               what="a change at the restored one")
    converge(first, second)
