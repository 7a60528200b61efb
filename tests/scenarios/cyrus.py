"""A Cyrus IMAP server, unpacked beside the packages of this machine: to install
it would take Dovecot away."""

import contextlib
import os
import pathlib
import pwd
import shutil
import signal
import subprocess

PACKAGES = ("cyrus-common", "cyrus-imapd", "sasl2-bin")
TIMEOUT = 60  # s


class Missing(Exception):
    """The packages cannot be had here."""


def unpack(folder):
    """The root of a tree with the packages' files."""
    root = folder / "root"
    if (root / "usr/lib/cyrus/bin/imapd").exists():
        return root
    folder.mkdir(parents=True, exist_ok=True)
    done = subprocess.run(
        ["apt-get", "-o", "APT::Sandbox::User=", "download", *PACKAGES],
        cwd=folder, capture_output=True, text=True, timeout=300)
    if done.returncode != 0:
        raise Missing(done.stderr[-300:])
    for path in folder.glob("*.deb"):
        subprocess.run(["dpkg", "-x", path, root], check=True)
    return root


class Cyrus:
    """imapd and lmtpd at one address, with people of their own."""

    def __init__(self, folder, build, address, imap_port, lmtp_port,
                 certificate, key):
        self.root = unpack(build / "cyrus")
        self.folder = pathlib.Path(folder)
        self.address = address
        self.imap_port, self.lmtp_port = imap_port, lmtp_port
        self.user = "nobody" if os.getuid() == 0 else \
            pwd.getpwuid(os.getuid()).pw_name
        self.people = self.folder / "sasldb"
        self.log = self.folder / "log"
        self.process = None
        for name in ("", "conf", "mail", "run", "tls"):
            (self.folder / name).mkdir(mode=0o755)
        shutil.copy(certificate, self.folder / "tls/pem")
        shutil.copy(key, self.folder / "tls/key")
        self.write()

    @property
    def environment(self):
        libraries = next((self.root / "usr/lib").glob("*/libcyrus.so.0"))
        return {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
                "LD_LIBRARY_PATH": str(libraries.parent),
                "CYRUS_USER": self.user}

    def write(self):
        folder, bin_folder = self.folder, self.root / "usr/lib/cyrus/bin"
        (folder / "imapd.conf").write_text(f"""
configdirectory: {folder}/conf
defaultpartition: default
partition-default: {folder}/mail
servername: cyrus.test
cyrus_user: {self.user}
admins: cyrus
allowplaintext: no
sasl_pwcheck_method: auxprop
sasl_auxprop_plugin: sasldb
sasl_sasldb_path: {self.people}
sasl_mech_list: PLAIN
tls_server_cert: {folder}/tls/pem
tls_server_key: {folder}/tls/key
autocreate_quota: 0
autocreate_post: yes
lmtp_downcase_rcpt: yes
unixhierarchysep: yes
lmtpsocket: {folder}/run/lmtp
idlesocket: {folder}/run/idle
notifysocket: {folder}/run/notify
mboxname_lockpath: {folder}/run/lock
proc_path: {folder}/run/proc
temp_path: {folder}/run
""")
        (folder / "cyrus.conf").write_text(f"""
START {{
  recover cmd="{bin_folder}/ctl_cyrusdb -C {folder}/imapd.conf -r"
}}
SERVICES {{
  imap cmd="{bin_folder}/imapd -C {folder}/imapd.conf"
    listen="{self.address}:{self.imap_port}" prefork=0
  lmtp cmd="{bin_folder}/lmtpd -C {folder}/imapd.conf -a"
    listen="{self.address}:{self.lmtp_port}" prefork=0
}}
EVENTS {{
}}
""".replace('"\n    listen', '" listen'))

    def add(self, login, password):
        subprocess.run(
            [self.root / "usr/sbin/saslpasswd2", "-p", "-c", "-f",
             self.people, "-u", "cyrus.test", login],
            input=password.encode(), env=self.environment, check=True,
            timeout=TIMEOUT)

    def start(self):
        if os.getuid() == 0:
            subprocess.run(["chown", "-R", self.user, self.folder], check=True)
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(
                [self.root / "usr/lib/cyrus/bin/master", "-C",
                 self.folder / "imapd.conf", "-M", self.folder / "cyrus.conf",
                 "-p", self.folder / "run/pid"],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                env=self.environment, start_new_session=True)
        return self

    def stop(self):
        if not self.process:
            return
        # Its children have its session and nobody else's.
        group, self.process = self.process, None
        os.killpg(group.pid, signal.SIGTERM)
        try:
            group.wait(20)
        except subprocess.TimeoutExpired:
            pass
        with contextlib.suppress(ProcessLookupError):
            os.killpg(group.pid, signal.SIGKILL)
        group.wait()
