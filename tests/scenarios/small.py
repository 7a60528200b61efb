"""What scenarios without a whole cell are made of: a Dovecot for all four
protocols, certificates, and a client that logs in message by message.
"""

import base64
import pathlib
import shutil
import signal
import socket
import ssl
import subprocess
import tempfile

import dovecot
from clients import TIMEOUT
from process import wait_until
from server import find_program

KINDS = ("imap", "pop3", "submission", "sieve")

DOVECOT_CONF = """
base_dir = {run}
state_dir = {run}
log_path = {folder}/dovecot.log
protocols = imap pop3 submission sieve
listen = {address}
hostname = mbox
default_internal_user = {internal_user}
default_internal_group = {internal_group}
default_login_user = {login_user}
ssl = yes
ssl_cert = <{folder}/server.pem
ssl_key = <{folder}/server.key
auth_mechanisms = {mechanisms}
auth_failure_delay = 0
auth_username_chars =
login_trusted_networks = 127.0.0.0/8
{passdbs}
userdb {{
  driver = static
  args = uid={mail_uid} gid={mail_gid} home={folder}/mail/%u
}}
mail_location = maildir:~/Maildir
first_valid_uid = 1
submission_relay_host = 127.0.0.1
service imap-login {{
  chroot = {login_chroot}
  inet_listener imap {{
    port = {imap}
  }}
  inet_listener imaps {{
    port = 0
  }}
}}
service pop3-login {{
  chroot = {login_chroot}
  inet_listener pop3 {{
    port = {pop3}
  }}
  inet_listener pop3s {{
    port = 0
  }}
}}
service submission-login {{
  chroot = {login_chroot}
  inet_listener submission {{
    port = {submission}
  }}
  inet_listener submissions {{
    port = 0
  }}
}}
service managesieve-login {{
  chroot = {login_chroot}
  inet_listener sieve {{
    port = {sieve}
  }}
}}
service anvil {{
  chroot = {empty_chroot}
  unix_listener anvil-auth-penalty {{
    mode = 0
  }}
}}
service ipc {{
  chroot = {empty_chroot}
}}
service old-stats {{
  chroot = {empty_chroot}
}}
service stats {{
  chroot =
}}
"""



def dovecot_conf(folder, address, ports, mechanisms, passdbs):
    """Written; the command that runs it."""
    run = folder / "run"
    run.mkdir(mode=0o755)
    (folder / "mail").mkdir(mode=0o777)
    (folder / "mail").chmod(0o777)
    conf = folder / "dovecot.conf"
    conf.write_text(DOVECOT_CONF.format(
        folder=folder, run=run, address=address, mechanisms=mechanisms,
        passdbs=passdbs, **ports, **dovecot.identities()))
    return [find_program("dovecot"), "-F", "-c", conf]


def make_certificate(folder, name, address):
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt",
         "ec_paramgen_curve:P-256", "-nodes", "-days", "30", "-subj",
         f"/CN={name}", "-addext", f"subjectAltName=IP:{address}", "-keyout",
         folder / f"{name}.key", "-out", folder / f"{name}.pem"],
        check=True, capture_output=True)


def greets(address, port):
    try:
        with socket.create_connection((address, port), 1) as connection:
            return bool(connection.recv(1))
    except OSError:
        return False


class House:
    """A folder that is open to the users that servers become, and whatever
    runs out of it.
    """

    def __init__(self):
        self.folder = pathlib.Path(
            tempfile.mkdtemp(prefix="postcell-", dir="/tmp"))
        self.folder.chmod(0o755)
        self.running = {}

    def start(self, name, command, condition, **options):
        with open(self.folder / f"{name}.out", "ab") as out:
            self.running[name] = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=out, stderr=out,
                **options)
        assert wait_until(condition, TIMEOUT), self.output(name)

    def output(self, name):
        return (self.folder / f"{name}.out").read_text(errors="replace")

    def check_output(self, name):
        """Nobody died that was not killed, and sanitizers found nothing."""
        faults = [line for line in self.output(name).splitlines()
                  if "event=child_died" in line and "Killed" not in line
                  or "ERROR: " in line and "Sanitizer" in line
                  or "runtime error:" in line]
        assert not faults, "\n".join(faults)

    def stop(self):
        for process in reversed(self.running.values()):
            process.send_signal(signal.SIGCONT)
            process.terminate()
            process.wait(TIMEOUT)
        shutil.rmtree(self.folder)


class Client:
    """AUTH in any of the protocols, one message after the other."""

    def __init__(self, address, port, kind, ca, certificate=None):
        self.kind = kind
        self.socket = socket.create_connection((address, port), TIMEOUT)
        self.file = self.socket.makefile("rb")
        self.greet()
        begin = {"imap": b"s STARTTLS", "pop3": b"STLS"}.get(kind, b"STARTTLS")
        self.say(begin)
        self.line()
        context = ssl.create_default_context(cafile=ca)
        if certificate:
            context.load_cert_chain(certificate,
                                    certificate.with_suffix(".key"))
        self.socket = context.wrap_socket(self.socket, server_hostname=address)
        self.file = self.socket.makefile("rb")
        if kind == "sieve":
            self.greet()
        elif kind == "submission":
            self.say(b"EHLO client.example")
            while self.line()[3:4] == b"-":
                pass

    def greet(self):
        while self.line().startswith(b'"'):
            pass

    def say(self, line):
        self.socket.sendall(line + b"\r\n")

    def line(self):
        line = self.file.readline()
        assert line.endswith(b"\r\n"), line
        return line[:-2]

    def begin(self, mechanism, first):
        text = base64.b64encode(first)
        name = mechanism.encode()
        self.say({"imap": b"a AUTHENTICATE %s %s" % (name, text),
                  "sieve": b'AUTHENTICATE "%s" "%s"' % (name, text),
                  }.get(self.kind, b"AUTH %s %s" % (name, text)))

    def hear(self):
        """A challenge's octets, or (True or False, the reply)."""
        line = self.line()
        while line.startswith(b"* "):
            line = self.line()
        sign = {"submission": b"334 ", "sieve": b'"'}.get(self.kind, b"+ ")
        if line.startswith(sign):
            return base64.b64decode(line[len(sign):].strip(b'"')), None
        good = {"imap": b"a OK", "pop3": b"+OK", "submission": b"235 ",
                "sieve": b"OK"}[self.kind]
        return None, (line.startswith(good), line)

    def respond(self, octets):
        text = base64.b64encode(octets)
        self.say(b'"%s"' % text if self.kind == "sieve" else text)

    def authenticate(self, mechanism, first, answer):
        self.begin(mechanism, first)
        challenge, reply = self.hear()
        while challenge is not None:
            self.respond(answer(challenge))
            challenge, reply = self.hear()
        return reply

    def works(self):
        """Is it the server who answers now?"""
        self.say({"imap": b"b SELECT INBOX", "pop3": b"STAT",
                  "submission": b"NOOP",
                  "sieve": b"LISTSCRIPTS"}[self.kind])
        line = self.line()
        while line.startswith(b"* "):
            line = self.line()
        return line.startswith({"imap": b"b OK", "pop3": b"+OK",
                                "submission": b"250", "sieve": b"OK"}
                               [self.kind])

    def close(self):
        self.socket.close()
