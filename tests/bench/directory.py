"""The bench of the replica's other source: a real slapd, on loopback."""

import pathlib
import shutil
import subprocess
import tempfile
import time

import replica
from peers import LOAD_CORE, PROXY_CORE, run_pinned, wait_until

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
SUFFIX, PASSWORD, PORT = "o=x", "secret", 20389
SLAPD = shutil.which("slapd", path="/usr/sbin:/usr/bin") or "slapd"


def entry(dn, *lines):
    return f"dn: {dn}\n" + "".join(line + "\n" for line in lines) + "\n"


def write_ldif(path, count):
    """What slapd takes: every entry with a structural class and a parent."""
    with open(path, "w", encoding="ascii") as out:
        out.write(entry(SUFFIX, "objectClass: organization", "o: x"))
        for unit in ("people", "pools", "servers"):
            out.write(entry(f"ou={unit},{SUFFIX}",
                            "objectClass: organizationalUnit", f"ou: {unit}"))
        out.write(entry(f"cn=main,ou=pools,{SUFFIX}",
                        "objectClass: postcellPool", "cn: main",
                        "postcellDefault: TRUE"))
        out.write(entry(f"cn=mbox,ou=servers,{SUFFIX}",
                        "objectClass: postcellServer", "cn: mbox",
                        "postcellPoolName: main",
                        "postcellService: imap://127.0.0.1:143?tls=none"))
        for number in range(count):
            uid = f"u{number:06}"
            out.write(entry(f"uid={uid},ou=people,{SUFFIX}",
                            "objectClass: account",
                            "objectClass: postcellAccount", f"uid: {uid}",
                            f"mail: {uid}@example.org"))


class Directory:
    def __init__(self, folder, address, accounts):
        self.folder = pathlib.Path(folder)
        self.url = f"ldap://{address}:{PORT}"
        (self.folder / "db").mkdir()
        schemas = [f"/etc/ldap/schema/{name}.schema" for name in
                   ("core", "cosine", "inetorgperson", "misc")]
        schemas.append(ROOT / "schema/postcell.schema")
        self.conf = self.folder / "slapd.conf"
        self.conf.write_text(
            "".join(f"include {path}\n" for path in schemas) +
            "modulepath /usr/lib/ldap\nmoduleload back_mdb\n"
            "moduleload syncprov\nserverID 1\n"
            f"database mdb\nsuffix {SUFFIX}\nrootdn cn=admin,{SUFFIX}\n"
            f"rootpw {PASSWORD}\ndirectory {self.folder}/db\n"
            "maxsize 17179869184\nindex objectClass,entryUUID,entryCSN eq\n"
            "overlay syncprov\nsyncprov-checkpoint 1 1\n")
        ldif = self.folder / "cell.ldif"
        write_ldif(ldif, accounts)
        subprocess.run(["/usr/sbin/slapadd", "-q", "-w", "-f", self.conf,
                        "-b", SUFFIX, "-l", ldif], check=True,
                       capture_output=True)
        ldif.unlink()
        self.process = run_pinned(LOAD_CORE, [
            SLAPD, "-f", self.conf, "-h", self.url, "-d", "none"],
            stderr=subprocess.DEVNULL)
        wait_until(lambda: self.read("base").returncode == 0, "slapd")

    def read(self, scope):
        return subprocess.run(
            ["ldapsearch", "-x", "-LLL", "-H", self.url, "-D",
             f"cn=admin,{SUFFIX}", "-w", PASSWORD, "-b", SUFFIX, "-s", scope,
             "(objectClass=*)", "*", "+"], stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL)

    def cpu(self):
        return replica.cpu_seconds(self.process.pid)

    def stop(self):
        self.process.terminate()
        self.process.wait()


def options(directory):
    return (f'providers = {{ "{directory.url}" }}\ntls = none\n'
            f'suffix = "{SUFFIX}"\nbind_dn = "cn=admin,{SUFFIX}"\n'
            f'password_file = "{directory.folder}/password"\n')


def measure(build, address, accounts):
    """The first load of all accounts, beside what slapd needs to tell them."""
    with tempfile.TemporaryDirectory(prefix="postcell-bench-") as folder:
        directory = Directory(folder, address, accounts)
        (directory.folder / "password").write_text(PASSWORD + "\n")
        try:
            begun, cpu = time.monotonic(), directory.cpu()
            directory.read("sub")
            row = {"accounts": accounts,
                   "search_s": time.monotonic() - begun,
                   "search_slapd_cpu_s": directory.cpu() - cpu}
            cpu = directory.cpu()
            replicad = replica.Replicad(build, folder, options(directory),
                                        PROXY_CORE)
            try:
                replicad.wait_filled()
                row["load_s"] = time.monotonic() - replicad.begun
                row["load_cpu_s"] = replica.cpu_seconds(replicad.process.pid)
                row["load_slapd_cpu_s"] = directory.cpu() - cpu
                row["peak_mib"] = replicad.peak / 1024
                replicad.wait_shortcut()
                row["file_mib"] = replicad.file_mib()
            finally:
                replicad.stop()
        finally:
            directory.stop()
    return row


def table(rows):
    lines = ["replica, first load from slapd",
             f"{'accounts':>10} {'load s':>8} {'its CPU s':>10}"
             f" {'slapd CPU s':>12} {'ldapsearch s':>13} {'slapd CPU s':>12}"
             f" {'own MiB':>8} {'file MiB':>9}"]
    for row in rows:
        lines.append(
            f"{row['accounts']:10} {row['load_s']:8.2f}"
            f" {row['load_cpu_s']:10.2f} {row['load_slapd_cpu_s']:12.2f}"
            f" {row['search_s']:13.2f} {row['search_slapd_cpu_s']:12.2f}"
            f" {row['peak_mib']:8.1f} {row['file_mib']:9.1f}")
    return "\n".join(lines) + "\n"
