"""TLS towards clients, as OpenSSL's own client and Python's see it."""

import base64
import contextlib
import os
import re
import socket
import ssl
import subprocess

import pytest

from house import (EC_KEY, HUB_LISTENERS, LISTENERS, NET, RSA_KEY, TIMEOUT,
                   check_log, wait_until)
from player import log_in


@pytest.fixture
def started(make_proxy):
    made = []

    def start(**options):
        made.append(make_proxy(**options).start())
        return made[-1]

    yield start
    for each in made:
        each.stop()
        check_log(each.log())


def openssl(*words):
    subprocess.run(["openssl", *map(str, words)], check=True,
                   capture_output=True)


def certify(folder, name, names=(), issuer=None, key_kind=EC_KEY):
    """folder/NAME.crt and NAME.key, for these names of DNS."""
    key, certificate = folder / f"{name}.key", folder / f"{name}.crt"
    san = ",".join(f"DNS:{each}" for each in names)
    openssl("req", "-x509", "-newkey", *key_kind, "-nodes", "-days", "30",
            "-subj",
            f"/CN={name}", "-keyout", key, "-out", certificate,
            *(["-addext", f"subjectAltName={san}"] if san else []),
            *(["-CA", issuer, "-CAkey", issuer.with_suffix(".key")]
              if issuer else []))
    return certificate


def join(certificate):
    """NAME.pem of NAME.crt and NAME.key."""
    key = certificate.with_suffix(".key")
    certificate.with_suffix(".pem").write_text(
        certificate.read_text() + key.read_text())
    certificate.unlink()
    key.unlink()


@contextlib.contextmanager
def connected(proxy, name=None, alpn=None, listener="tls", own=None,
              version=None):
    """A connection with TLS; own: the client's certificate."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    if version:
        context.minimum_version = context.maximum_version = version
    if alpn:
        context.set_alpn_protocols(alpn)
    if own:
        context.load_cert_chain(own, own.with_suffix(".key"))
    with socket.create_connection(
            (proxy.address, LISTENERS[listener]), TIMEOUT) as plain:
        if listener == "starttls":
            file = plain.makefile("rb")
            file.readline()
            plain.sendall(b"1 STARTTLS\r\n")
            file.readline()
        with context.wrap_socket(plain, server_hostname=name) as connection:
            yield connection


def subject(connection):
    """CN of what the server showed."""
    shown = ssl.DER_cert_to_PEM_cert(connection.getpeercert(binary_form=True))
    text = subprocess.run(
        ["openssl", "x509", "-noout", "-subject", "-nameopt", "RFC2253"],
        input=shown, text=True, check=True, capture_output=True).stdout
    return text.strip().removeprefix("subject=CN=")


def served(proxy, name=None, **options):
    with connected(proxy, name, **options) as connection:
        if options.get("listener") != "starttls":
            assert connection.recv(4096).startswith(b"* OK")
        return subject(connection)


# Names

@pytest.fixture
def folder_of_names(tmp_path):
    folder = tmp_path / "names"
    folder.mkdir()
    certify(folder, "one", ["one.example.org", "uno.example.org"])
    join(certify(folder, "wild", ["*.example.org"]))
    certify(folder, "old.example.net")
    (folder / "remark.txt").write_text("not a certificate")
    (folder / ".hidden.pem").write_text("nor this")
    return folder


@pytest.mark.parametrize("listener", ["tls", "starttls"])
def test_names(started, folder_of_names, listener):
    proxy = started(tls=f'certificates = "{folder_of_names}"')
    for name, expected in [
            (None, "proxy"), ("one.example.org", "one"),
            ("UNO.example.ORG", "one"), ("two.example.org", "wild"),
            ("a.two.example.org", "proxy"), ("example.org", "proxy"),
            ("old.example.net", "old.example.net"),
            ("a.old.example.net", "proxy"), ("strange_name", "proxy")]:
        assert served(proxy, name, listener=listener) == expected, name


def test_changed_files_are_noticed(started, servers, folder_of_names):
    """A file that appears, changes or goes, and sessions live on."""
    proxy = started(tls=f'certificates = "{folder_of_names}"\nwatch_time = 1')
    with connected(proxy) as old:
        assert old.recv(4096).startswith(b"* OK")
        assert served(proxy, "new.example.com") == "proxy"
        certify(folder_of_names, "new", ["new.example.com"])
        wait_until(lambda: served(proxy, "new.example.com") == "new", "new")
        join(certify(folder_of_names, "other", ["new.example.com"]))
        wait_until(lambda: proxy.events("reload_refused"), "refusal")
        assert "other.pem: is for new.example.com, and so is" in proxy.log()
        assert served(proxy, "new.example.com") == "new"
        for ending in ("crt", "key"):
            (folder_of_names / f"new.{ending}").unlink()
        wait_until(lambda: served(proxy, "new.example.com") == "other",
                   "other")
        old.sendall(b"1 CAPABILITY\r\n")
        assert b"1 OK" in old.recv(4096)
    log_in(proxy, servers)


def test_faulty_file_changes_nothing(started, folder_of_names):
    proxy = started(tls=f'certificates = "{folder_of_names}"')
    broken = folder_of_names / "broken.pem"
    broken.write_text("-----BEGIN CERTIFICATE-----\nAAAA\n")
    certify(folder_of_names, "good", ["good.example.com"])
    proxy.reload()
    wait_until(lambda: proxy.events("reload_refused"), "refusal")
    assert f"{broken}: not a usable certificate in PEM" in proxy.log()
    assert served(proxy, "good.example.com") == "proxy"
    assert served(proxy, "one.example.org") == "one"
    broken.unlink()
    proxy.reload()
    wait_until(lambda: served(proxy, "good.example.com") == "good", "new one")


# Kinds of keys

def shown(proxy, version, name, signatures):
    """CN of what a client that understands only these signatures is shown."""
    text = s_client(proxy, "-crlf", version, "-sigalgs", signatures,
                    *(["-servername", name] if name else ["-noservername"]))
    found = re.search(r"^subject=CN ?= ?(.*)$", text, re.MULTILINE)
    return found[1] if found else None


RSA, ECDSA = "RSA-PSS+SHA256:RSA+SHA256", "ECDSA+SHA256"


@pytest.mark.parametrize("version", ["-tls1_2", "-tls1_3"])
def test_certificates_of_two_kinds(started, tmp_path, version):
    """Clients that know one kind of signature only, for the default, a name
    with both, and names that only one certificate has."""
    folder = tmp_path / "names"
    folder.mkdir()
    certify(folder, "rsa", ["both.example.org", "old.example.org"],
            key_kind=RSA_KEY)
    certify(folder, "ecdsa", ["both.example.org", "new.example.org"])
    alt = certify(tmp_path, "alt", key_kind=RSA_KEY)
    proxy = started(tls=f'certificates = "{folder}"\n'
                        f'alt_certificate = "{alt}"\n'
                        f'alt_key = "{alt.with_suffix(".key")}"')
    both = f"{RSA}:{ECDSA}"
    for name, signatures, expected in [
            (None, RSA, "alt"), (None, ECDSA, "proxy"),
            ("nobody.example.org", RSA, "alt"),
            ("both.example.org", RSA, "rsa"),
            ("both.example.org", ECDSA, "ecdsa"),
            ("old.example.org", both, "rsa"),
            ("new.example.org", both, "ecdsa"),
            ("old.example.org", ECDSA, None),
            ("new.example.org", RSA, None)]:
        assert shown(proxy, version, name, signatures) == expected, name


def test_two_of_one_kind(started, make_proxy, tmp_path):
    alt = certify(tmp_path, "alt")
    proxy = make_proxy(tls=f'alt_certificate = "{alt}"\n'
                           f'alt_key = "{alt.with_suffix(".key")}"')
    proxy.start(wait=False)
    assert proxy.process.wait(TIMEOUT) == 78
    assert f"{alt}: has the same kind of key as " in proxy.log()
    proxy.process = None


# ALPN

@pytest.mark.parametrize("listener", ["tls", "starttls"])
@pytest.mark.parametrize("offered, chosen", [
    (None, None), (["imap"], "imap"), (["h2", "imap", "pop3"], "imap")])
def test_alpn(started, listener, offered, chosen):
    proxy = started()
    with connected(proxy, alpn=offered, listener=listener) as connection:
        assert connection.selected_alpn_protocol() == chosen


@pytest.mark.parametrize("listener", ["tls", "starttls"])
@pytest.mark.parametrize("offered", [["http/1.1"], ["pop3", "IMAP", "ima",
                                                    "imaps"]])
def test_other_protocols_are_refused(started, servers, listener, offered):
    proxy = started()
    with pytest.raises(ssl.SSLError, match="(?i)no.application.protocol"):
        with connected(proxy, alpn=offered, listener=listener):
            pass
    wait_until(lambda: proxy.counters()["tls_failed"] == 1, "count")
    log_in(proxy, servers)


def test_alpn_of_others(started):
    """POP3 and ManageSieve have their names, submission has none."""
    started(options="".join(
        f'listen {name} {{ addresses = {{ "127.0.{NET}.250" }}\n'
        f"port = {port}\ntls = implicit }}\n"
        for name, port in [("pop3", 14110), ("sieve", 14190),
                           ("submission", 14587)]))
    for port, offered, chosen in [(14110, ["pop3"], "pop3"),
                                  (14190, ["managesieve"], "managesieve"),
                                  (14587, ["http/1.1"], None)]:
        context = ssl._create_unverified_context()
        context.set_alpn_protocols(offered)
        with context.wrap_socket(socket.create_connection(
                (f"127.0.{NET}.250", port), TIMEOUT)) as connection:
            assert connection.selected_alpn_protocol() == chosen


# The end of the handshake

@pytest.mark.parametrize("listener, begin, command, answer", [
    ("tls", None, b"a NOOP\r\n", rb"a OK "),
    ("starttls", b"a STARTTLS\r\n", b"b NOOP\r\n", rb"b OK "),
    ("smtp-starttls", b"EHLO x\r\nSTARTTLS\r\n", b"NOOP\r\n", rb"250 "),
])
def test_a_command_with_the_end_of_the_handshake(proxy, listener, begin,
                                                 command, answer):
    """Both in one segment: nothing comes afterwards that would wake anybody."""
    port = {**LISTENERS, **HUB_LISTENERS}[listener]
    with socket.create_connection((proxy.address, port), TIMEOUT) as client:
        if begin:
            client.sendall(begin)
            said = b""
            while not re.search(rb"(^a OK|^220 2\.0\.0) .*\n", said, re.M):
                said += client.recv(65536)
        arrived, sent = ssl.MemoryBIO(), ssl.MemoryBIO()
        tls = ssl._create_unverified_context().wrap_bio(arrived, sent)

        def wait_for(step):
            while True:
                try:
                    return step()
                except ssl.SSLWantReadError:
                    client.sendall(sent.read())
                    octets = client.recv(65536)
                    assert octets, "the proxy closed"
                    arrived.write(octets)

        wait_for(tls.do_handshake)
        tls.write(command)
        client.sendall(sent.read())
        said = b""
        while not re.search(rb"^" + answer, said, re.M):
            said += wait_for(lambda: tls.read(65536))


# Tickets

def s_client(proxy, *words):
    """What OpenSSL's client says of one connection."""
    done = subprocess.run(
        ["openssl", "s_client", "-connect",
         f"{proxy.address}:{LISTENERS['tls']}", *map(str, words)],
        input="1 LOGOUT\n", text=True, capture_output=True, timeout=TIMEOUT)
    return done.stdout + done.stderr


def begin(proxy, version, file):
    text = s_client(proxy, "-crlf", "-ign_eof", version, "-sess_out", file)
    assert "\nNew, " in text, text
    assert file.exists()


def resumes(proxy, version, file):
    text = s_client(proxy, "-crlf", "-ign_eof", version, "-sess_in", file)
    assert "* BYE" in text, text
    return "\nReused, " in text


def ticket_key():
    return base64.b64encode(os.urandom(80)).decode() + "\n"


@pytest.mark.parametrize("version", ["-tls1_2", "-tls1_3"])
def test_resumed_at_any_relay(started, tmp_path, version):
    """Without a key file all relays of a proxy have the same keys."""
    proxy = started(relays=4)
    begin(proxy, version, tmp_path / "session")
    assert all(resumes(proxy, version, tmp_path / "session")
               for _ in range(8))


@pytest.mark.parametrize("version", ["-tls1_2", "-tls1_3"])
def test_resumed_at_any_proxy(started, tmp_path, version):
    """With it, all proxies; a new key is taken up, an old one is forgotten."""
    keys, session = tmp_path / "tickets", tmp_path / "session"
    old, new = ticket_key(), ticket_key()
    keys.write_text("# keys\n" + old)
    proxies = [started(relays=2, tls=f'ticket_keys = "{keys}"\n'
                                     f"watch_time = {watch_time}")
               for watch_time in (0, 1)]
    begin(proxies[0], version, session)
    assert resumes(proxies[1], version, session)
    keys.write_text(new + old)
    proxies[0].reload()
    wait_until(lambda: all(proxy.events("reload") for proxy in proxies),
               "reload, asked for or not")
    assert resumes(proxies[1], version, session)
    begin(proxies[0], version, session)
    keys.write_text(new)
    proxies[0].reload()
    proxies[1].reload()
    wait_until(lambda: all(len(proxy.events("reload")) > 1
                           and proxy.relays(3) for proxy in proxies),
               "reload")
    wait_until(lambda: resumes(proxies[1], version, session),
               "session of the new key")
    keys.write_text(ticket_key())
    proxies[1].reload()
    wait_until(lambda: not resumes(proxies[1], version, session),
               "end of the key")


def test_faulty_ticket_keys(started, tmp_path):
    keys = tmp_path / "tickets"
    keys.write_text(ticket_key())
    proxy = started(tls=f'ticket_keys = "{keys}"')
    keys.write_text("# one\n" + ticket_key()[3:])
    proxy.reload()
    wait_until(lambda: proxy.events("reload_refused"), "refusal")
    assert f"{keys}:2: not the base64 of 80 octets" in proxy.log()
    assert served(proxy) == "proxy"


# Versions and ciphers

def test_versions_and_ciphers(started):
    proxy = started(tls="ciphers = ECDHE-ECDSA-AES256-GCM-SHA384\n"
                        "ciphersuites = TLS_CHACHA20_POLY1305_SHA256")
    with connected(proxy, version=ssl.TLSVersion.TLSv1_2) as connection:
        assert connection.cipher()[0] == "ECDHE-ECDSA-AES256-GCM-SHA384"
    with connected(proxy, version=ssl.TLSVersion.TLSv1_3) as connection:
        assert connection.cipher()[0] == "TLS_CHACHA20_POLY1305_SHA256"
    assert "alert protocol version" in s_client(
        proxy, "-tls1_1", "-cipher", "ALL:@SECLEVEL=0")


def test_oldest_version(started):
    proxy = started(tls="protocol_min = TLSv1.3")
    with connected(proxy) as connection:
        assert connection.version() == "TLSv1.3"
    with pytest.raises(ssl.SSLError, match="(?i)protocol version"):
        with connected(proxy, version=ssl.TLSVersion.TLSv1_2):
            pass


@pytest.mark.parametrize("line, complaint", [
    ("ciphers = nonsense", "nonsense: not a list of ciphers"),
    ("ciphersuites = nonsense", "nonsense: not a list of ciphersuites"),
    ('certificates = "/nonexistent"', "/nonexistent: No such file"),
    ('client_ca = "/nonexistent"', "/nonexistent: no usable CA"),
    ('ticket_keys = "/nonexistent"', "/nonexistent: No such file"),
    ("client_certificate = ask", "tls { client_ca } is not set"),
    ('alt_key = "x"', "alt_certificate, alt_key } go together"),
])
def test_faults(make_proxy, line, complaint):
    proxy = make_proxy(tls=line)
    proxy.start(wait=False)
    assert proxy.process.wait(TIMEOUT) == 78
    assert complaint in proxy.log()
    proxy.process = None


# Certificates of clients

@pytest.fixture
def clients(tmp_path):
    """CA, a certificate of it, and one of somebody else."""
    authority = certify(tmp_path, "authority")
    return authority, certify(tmp_path, "bob", issuer=authority), \
        certify(tmp_path, "mallory")


def greeted(proxy, own):
    """Does a client with that certificate see the greeting?"""
    try:
        with connected(proxy, own=own) as connection:
            return connection.recv(4096).startswith(b"* OK")
    except (ssl.SSLError, ConnectionResetError):
        return False


@pytest.mark.parametrize("wish, none, good, bad", [
    ("none", True, True, True),
    ("ask", True, True, False),
    ("require", False, True, False),
])
def test_client_certificates(started, clients, wish, none, good, bad):
    authority, bob, mallory = clients
    proxy = started(tls=f'client_ca = "{authority}"\n'
                        f"client_certificate = {wish}")
    assert (greeted(proxy, None), greeted(proxy, bob),
            greeted(proxy, mallory)) == (none, good, bad)
    wait_until(lambda: len(proxy.events("session_end")) == 3, "ends")
    shown = [re.search('certificate="(.*?)"', line)
             for line in proxy.events("session_end")]
    assert [match[1] for match in shown if match] == (
        [] if wish == "none" else ["CN=bob"])


def test_listener_without_client_certificates(started, clients):
    authority, bob, _ = clients
    proxy = started(
        tls=f'client_ca = "{authority}"\nclient_certificate = require',
        options=f'listen imap {{ addresses = {{ "127.0.{NET}.250" }}\n'
                "port = 14500\ntls = implicit\nclient_certificate = none }\n")
    assert not greeted(proxy, None)
    context = ssl._create_unverified_context()
    with context.wrap_socket(socket.create_connection(
            (f"127.0.{NET}.250", 14500), TIMEOUT)) as connection:
        assert connection.recv(4096).startswith(b"* OK")
