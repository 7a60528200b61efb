"""What strangers call themselves reaches back ends and logs as a word, or not at
all: no control octet of theirs, no command, no attribute of XCLIENT.
"""

import base64
import pathlib
import re
import ssl
import tempfile

import pytest

from house import SERVER, Replica, make_certificate
from house import check_log as check_faults
from player import Player, log_in

ATTRIBUTES = "NAME ADDR PORT PROTO HELO LOGIN SESSION TTL"
UNKNOWN = b"[UNAVAILABLE]"
XTEXT = rb"(?:[!-*,-<>-~]|\+[0-9A-F]{2})+"
PRINTABLE = re.compile(rb"[ -~]*")


def plain(user, secret="secret"):
    return base64.b64encode(f"\0{user}\0{secret}".encode()).decode()


def serve(peer, keywords):
    """What a submission server hears of the proxy until the login, all of it."""
    heard = []
    peer.send(b"220 mbox ESMTP\r\n")
    while not heard or not heard[-1].startswith(b"AUTH "):
        heard.append(peer.line())
        peer.send({
            b"EHLO": f"250-mbox\r\n250-XCLIENT {keywords}\r\n"
                     "250 AUTH PLAIN\r\n".encode(),
            b"XCLIENT": b"220 mbox ESMTP\r\n",
            b"AUTH": b"235 2.7.0 in\r\n"}[heard[-1].split(b" ")[0]])
    return heard


def attributes(line):
    """Of an XCLIENT command, as RFC 5321 and Postfix would read it."""
    assert len(line) + 2 <= 512
    found = {}
    for word in line.split(b" ")[1:]:
        match = re.fullmatch(rb"([A-Z]+)=(\[UNAVAILABLE\]|" + XTEXT + rb")",
                             word)
        assert match, word
        found[match[1].decode()] = re.sub(
            rb"\+([0-9A-F]{2})", lambda code: bytes([int(code[1], 16)]),
            match[2])
    return found


def check_log(proxy, begin):
    """Nothing raw in what was logged since."""
    for line in proxy.log_path.read_bytes()[begin:].split(b"\n"):
        assert PRINTABLE.fullmatch(line), line


def introduce(proxy, servers, hello, keywords=ATTRIBUTES):
    """All that the server is told of a client that calls itself so."""
    begin = len(proxy.log_path.read_bytes())
    player = Player(proxy, servers)
    client = player.need_client()
    assert client.line().startswith(b"220 ")
    client.send(b"EHLO " + hello + b"\r\n")
    while (line := client.line()).startswith(b"250-"):
        pass
    if line.startswith(b"5"):
        client.close()
        check_log(proxy, begin)
        return None
    client.send(f"AUTH PLAIN {plain('bob')}\r\n".encode())
    server = player.need_server()
    heard = serve(server, keywords)
    for line in heard:
        assert PRINTABLE.fullmatch(line), line
    # What was said of the client counts after the next EHLO alone.
    for line, following in zip(heard, heard[1:]):
        if line.startswith(b"XCLIENT "):
            assert following.startswith((b"XCLIENT ", b"EHLO "))
    while not client.line().startswith(b"235 "):
        pass
    client.close()
    server.close()
    check_log(proxy, begin)
    return heard


def told(heard):
    found = {}
    for line in heard:
        if line.startswith(b"XCLIENT "):
            more = attributes(line)
            assert not found.keys() & more.keys()
            found.update(more)
    return found


@pytest.mark.parametrize("hello", [
    b"a+2Bb", b"a+b=c", b"a=b+3D", b"+", b"=", b"[192.0.2.1]",
    b"[IPv6:2001:db8::1]", b"<>'\"\\;,|`$(x)", b"x" * 250],
    ids=lambda hello: hello.decode()[:20])
def test_names_of_clients(stage, servers, hello):
    """Printable ones come whole, whatever they look like."""
    heard = introduce(stage.set("submission"), servers, hello)
    found = told(heard)
    assert found["HELO"] == hello
    assert heard[-2] == b"EHLO " + hello
    assert found["NAME"] == UNKNOWN
    assert found["ADDR"] == b"127.0.0.1"
    assert found["PROTO"] == b"ESMTP"
    # The user is whoever AUTH then says.
    assert "LOGIN" not in found


@pytest.mark.parametrize("hello", [
    b"\xc3\xa4.example", b"\xff", b"a\x80b", b"x" * 256, b"x" * 2000,
    b"+" * 200])
def test_names_that_are_not_told(stage, servers, hello):
    """No name for a host at all, or too long for any command."""
    heard = introduce(stage.set("submission"), servers, hello)
    assert told(heard).get("HELO", UNKNOWN) == UNKNOWN


@pytest.mark.parametrize("hello", [
    b"a\tb", b"a\x01b", b"a\x1b[2J", b"a\x7fb", b"a b", b"a\rb", b"a\nb",
    b"a\0b", b"a ADDR=192.0.2.1"])
def test_names_that_are_refused(stage, servers, hello):
    proxy = stage.set("submission")
    assert introduce(proxy, servers, hello) is None
    log_in(proxy, servers)


def test_two_commands(stage, servers):
    """Attributes that do not fit into 512 octets come in a second command, and
    EHLO once, after both."""
    hello = b"+" * 150
    heard = introduce(stage.set("submission"), servers, hello)
    assert [line.split(b" ")[0] for line in heard] == [
        b"EHLO", b"XCLIENT", b"XCLIENT", b"EHLO", b"AUTH"]
    assert told(heard)["HELO"] == hello
    assert {"NAME", "ADDR", "PORT", "PROTO", "SESSION", "TTL"} <= \
        told(heard).keys()


def test_xclient_of_a_client(stage, servers):
    """It is nobody's word but the proxy's."""
    proxy = stage.set("submission")
    Player(proxy, servers).play("""
S: 220 proxy.example.org ESMTP ready.
C: EHLO x\\r\\nXCLIENT ADDR=192.0.2.1\\r\\nNOOP
! client hears 250 .*
S~ 5.. .*
S: 250 2.0.0 Nothing happened.
""")
    log_in(proxy, servers)


@pytest.mark.parametrize("name", [
    "a\r\nXCLIENT ADDR=192.0.2.1", "a\x1b[2J", "\x01", "a b+c=d",
    'a" user="root" x="', "x" * 63], ids=repr)
def test_names_of_servers(stage, servers, name):
    """What a client asks for by SNI is compared and forgotten."""
    proxy = stage.set("submission")
    begin = len(proxy.log_path.read_bytes())
    player = Player(proxy, servers)
    player.do_raw("tls")
    player.client.tls(ssl._create_unverified_context(), server_hostname=name)
    player.play("""
S: 220 proxy.example.org ESMTP ready.
C: EHLO client.example
! client hears 250 .*
""" + f"C: AUTH PLAIN {plain('nobody')}\nS~ 535 .*\nC: QUIT\nS~ 221 .*\n")
    check_log(proxy, begin)




@pytest.mark.parametrize("name", [
    "bob\r\nX", "bob\x01", "\x1b[2J", "bob\n", "b\tb", "\u202ebob", "\ufeffbob",
    "x" * 300, 'bob" server="x', "bob' --", "bob\\"], ids=repr)
@pytest.mark.parametrize("service", ["imap", "pop3", "submission", "sieve"])
def test_names_of_users(stage, proxy, servers, service, name):
    """Nobody has them; the log shows them escaped."""
    front = proxy if service == "imap" else stage.set(service)
    begin = len(front.log_path.read_bytes())
    player = Player(front, servers)
    client = player.need_client()
    while not client.line().startswith((b"* OK ", b"+OK", b"220 ", b"OK")):
        pass
    client.send({
        "imap": f"a AUTHENTICATE PLAIN {plain(name)}\r\n",
        "pop3": f"AUTH PLAIN {plain(name)}\r\n",
        "submission": f"EHLO x\r\nAUTH PLAIN {plain(name)}\r\n",
        "sieve": f'AUTHENTICATE "PLAIN" "{plain(name)}"\r\n',
    }[service].encode())
    while not (line := client.line()).startswith((b"a NO ", b"-ERR", b"535 ",
                                                  b"NO")):
        assert not line.endswith(b"<closed>")
    assert PRINTABLE.fullmatch(line)
    client.close()
    assert servers.drop() == 0
    check_log(front, begin)


# Those who may change their own mail address may not change what servers hear.
STRANGE = "mallory\r\nRCPT TO:<everybody>"
ENTRY = f"""
dn: cn=mallory,o=x
objectClass: postcellAccount
uid:: {base64.b64encode(STRANGE.encode()).decode()}
uid: mallory
mail:: {base64.b64encode((STRANGE + "@x").encode()).decode()}
mail: mallory@example.org
postcellPoolName: mta
"""


@pytest.fixture
def strange(folder, make_proxy):
    """A proxy whose directory has an account with such names."""
    own = pathlib.Path(tempfile.mkdtemp(dir=folder))
    own.chmod(0o755)
    make_certificate(own, "server", [SERVER])
    replica = Replica(own, entries="\n" + ENTRY + ENTRY.replace(
        "cn=mallory", "cn=trudy").replace("mallory@", "trudy@").replace(
        "uid: mallory", "uid: trudy").replace("mta", "one"))
    proxy = make_proxy()
    proxy.conf.write_text(proxy.text.replace(
        f'replica = "{folder}/replica"', f'replica = "{own}/replica"'))
    yield proxy.start()
    assert proxy.stop() == 0
    replica.stop()
    check_faults(proxy.log())


@pytest.mark.parametrize("user, server, said", [
    ("mallory", "mta", "mallory@example.org"), ("trudy", "one", "trudy")])
def test_names_of_the_directory(strange, servers, user, server, said):
    Player(strange, servers).play(f"""
! hub lmtp
! mail
C: RCPT TO:<{user}@example.org>
! meets {server}
b: MAIL FROM:<a@example.org>
b: RCPT TO:<{said}>
B: 250 ok
B: 250 ok
S: 250 ok
C: RSET
b: RSET
S: 250 2.0.0 Forgotten.
""")
