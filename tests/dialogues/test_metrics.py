"""Metrics as Prometheus reads them, and the word on our health."""

import contextlib
import http.client
import os
import pathlib
import re
import signal
import socket
import subprocess
import time

import pytest
from prometheus_client.parser import text_string_to_metric_families

from exposition import parse
from house import (BUILD, NET, ROOT, SERVER, TIMEOUT, Replica, check_log,
                   make_certificate, process_status, wait_until)
from player import GOOD_LOGIN, Player, log_in

ADDRESS, PORT = f"127.0.{NET}.220", 14909
OPTIONS = f'metrics {{ address = "{ADDRESS}"\nport = {PORT}\n' \
          "stale_time = 10 }\n"


@pytest.fixture
def started(make_proxy):
    made = []

    def start(options=OPTIONS, **more):
        made.append(make_proxy(options=options, **more).start())
        wait_until(lambda: ask("/healthz")[0], "metrics")
        return made[-1]

    yield start
    for each in made:
        each.stop()
        check_log("\n".join(line for line in each.log().splitlines()
                            if "child_died" not in line))


def ask(path, port=PORT, method="GET"):
    """Status, headers and text; status 0 where nobody answers."""
    connection = http.client.HTTPConnection(ADDRESS, port, timeout=TIMEOUT)
    try:
        connection.request(method, path)
        answer = connection.getresponse()
        return answer.status, dict(answer.getheaders()), \
            answer.read().decode()
    except (ConnectionError, http.client.HTTPException):
        return 0, {}, ""
    finally:
        connection.close()


def families(*where):
    status, headers, text = ask("/metrics", *where)
    assert status == 200
    assert headers["Content-Type"].startswith("text/plain; version=0.0.4")
    return parse(text)


def value(name, /, *where, **labels):
    found = [number for family in families(*where).values()
             for (sample, pairs), number in family.samples.items()
             if sample == name and labels.items() <= dict(pairs).items()]
    assert len(found) == 1, (name, labels, found)
    return found[0]


def check_names(names, page):
    """Each has its paragraph, and what is ours begins so."""
    text = (ROOT / "man" / page).read_text()
    for name in names:
        assert re.fullmatch(r"postcell_(proxy|replica|cell)_[a-z0-9_]+", name)
        assert re.search(rf"^\.It Li (.* )?{name}( |$)", text, re.MULTILINE), \
            f"{name} has no paragraph in {page}"


def test_format(started, servers):
    """Strictly, and by Prometheus' own parser for Python."""
    started()
    check_names(families(), "postcell-proxyd.8")
    text = ask("/metrics")[2]
    assert len(list(text_string_to_metric_families(text))) == \
        text.count("# TYPE ")


@pytest.mark.parametrize("text", [
    "", "a 1\n", "# HELP a A.\n# TYPE a gauge\n", "# TYPE a gauge\na 1\n",
    "# HELP a A.\n# TYPE a gauge\na 1", "# HELP a A.\n# TYPE a gauge\na x\n",
    "# HELP a A.\n# TYPE a gauge\na 1\na 2\n",
    "# HELP a A.\n# TYPE a gauge\nb 1\n",
    "# HELP a A.\n# TYPE a counter\na 1\n",
    "# HELP a_total A.\n# TYPE a_total counter\na_total 1.5\n",
    '# HELP a A.\n# TYPE a gauge\na{b="c""} 1\n',
    '# HELP a A.\n# TYPE a gauge\na{b="c\\d"} 1\n',
    '# HELP a A.\n# TYPE a gauge\na{b="c",b="d"} 1\n',
    '# HELP a A.\n# TYPE a histogram\na_bucket{le="1"} 1\na_count 1\n'
    "a_sum 1\n",
    '# HELP a A.\n# TYPE a histogram\na_bucket{le="1"} 2\n'
    'a_bucket{le="+Inf"} 1\na_count 1\na_sum 1\n',
    '# HELP a A.\n# TYPE a histogram\na_bucket{le="+Inf"} 1\na_count 2\n'
    "a_sum 1\n",
])
def test_the_parser_is_strict(text):
    with pytest.raises(AssertionError):
        parse(text)


def test_services(started, servers, folder):
    """Each service counts for itself; what cannot be is not shown."""
    proxy = started()
    log_in(proxy, servers)
    player = Player(proxy, servers)
    player.play("""
! hub lmtp
! mail
! recipient ann one
C: DATA
b: DATA
B: 354 go
S: 354 End data with <CR><LF>.<CR><LF>
C: text
C: .
b: text
b: .
B: 250 2.0.0 stored
S: 250 2.0.0 stored
""")
    for service, name, expected in [
            ("imap", "connections_total", 1), ("lmtp", "connections_total", 1),
            ("smtp", "connections_total", 0), ("imap", "logins_total", 1),
            ("lmtp", "messages_total", 1), ("smtp", "messages_total", 0),
            ("lmtp", "client_received_bytes_total", 9)]:
        assert value(f"postcell_proxy_{name}", service=service) == expected
    shown = families()
    services = {name: {dict(labels)["service"] for _, labels in
                       shown[f"postcell_proxy_{name}"].samples}
                for name in ("logins_total", "messages_total", "sessions")}
    assert services == {"logins_total": {"imap"},
                        "messages_total": {"lmtp", "smtp"},
                        "sessions": {"imap", "lmtp", "smtp"}}
    status = proxy.ask("status")["services"]
    assert status["imap"]["logins"] == 1 and status["lmtp"]["messages"] == 1
    conf = proxy.folder / "ctl.conf"
    conf.write_text(f'run_dir = "{proxy.folder}/run"\n'
                    f'replica = "{folder}/replica"\n')
    text = subprocess.run([BUILD / "postcellctl", "-c", conf, "status"],
                          check=True, capture_output=True, text=True).stdout
    assert re.search(r"^service +imap, \d sessions, \d logged in, 1 logins, "
                     r"0 failed, 0 messages$", text, re.MULTILINE)
    assert re.search(r"^service +lmtp, .* 1 messages$", text, re.MULTILINE)


def test_sessions_and_logins(started, servers):
    started_at = time.time()
    proxy = started()
    player = Player(proxy, servers)
    for line in GOOD_LOGIN.split("\n")[1:7]:
        player.play_line(line)
    for name in ("sessions", "sessions_logged_in", "logins_total"):
        assert value(f"postcell_proxy_{name}", service="imap") == 1
    assert value("postcell_proxy_sessions", service="lmtp") == 0
    player.client.close()
    player.server.close()
    player = Player(proxy, servers)
    player.play("S~ \\* OK .*\nC: 1 LOGIN nobody x\nS~ 1 NO .*\n")
    wait_until(lambda: value("postcell_proxy_sessions", service="imap") == 0,
               "end")
    failures = "postcell_proxy_login_failures_total"
    assert value(failures, service="imap", reason="unknown") == 1
    assert value(failures, service="imap", reason="refused") == 0
    assert value("postcell_proxy_relays_serving") == 2
    assert value("postcell_proxy_limit", limit="sessions") == 10000
    expiry = value("postcell_proxy_certificate_expiry_timestamp_seconds",
                   file=str(proxy.certificate))
    assert abs(expiry - started_at - 30 * 86400) < 86400
    assert value("postcell_replica_complete") == 1
    assert value("postcell_replica_accounts") > 5
    assert value("postcell_cell_host_state", kind="server", name="mbox-plain",
                 state="up") == 1
    assert value("postcell_cell_host_state", kind="server", name="mbox-down",
                 state="down") == 1


def test_phases(started, servers):
    proxy = started()
    name = "postcell_proxy_login_phase_seconds"
    Player(proxy, servers).play("! listener starttls\nS~ \\* OK .*\n"
                                "C: 1 STARTTLS\nS~ 1 OK .*\n! client tls\n")
    for _ in range(3):
        log_in(proxy, servers)
    wait_until(lambda: value(f"{name}_count", phase="tls") == 1, "handshake")
    for phase, count in [("tls", 1), ("authenticate", 3), ("connect", 3),
                         ("login", 3)]:
        assert value(f"{name}_count", phase=phase) == count
        assert 0 <= value(f"{name}_sum", phase=phase) < 60


def test_counters_outlive_relays(started, servers):
    """What only grows does so over a reload, and over a killed relay."""
    proxy = started()
    log_in(proxy, servers)
    proxy.reload()
    wait_until(lambda: ask("/healthz")[0] == 200
               and value("postcell_proxy_generation") == 2
               and value("postcell_proxy_relays") == 2, "reload")
    assert value("postcell_proxy_logins_total", service="imap") == 1
    assert value("postcell_proxy_login_phase_seconds_count",
                 phase="login") == 1
    log_in(proxy, servers)
    for pid in proxy.relays():
        os.kill(pid, signal.SIGKILL)
    wait_until(lambda: value("postcell_proxy_relays_serving") == 2, "relays")
    assert value("postcell_proxy_logins_total", service="imap") == 2


def test_health_follows_relays(started, make_proxy):
    proxy = started()
    assert ask("/healthz")[::2] == (200, "ok\n")
    assert ask("/healthz", method="HEAD")[::2] == (200, "")
    proxy.stop()
    assert ask("/healthz")[0] == 0


def test_health_follows_replica(make_proxy, folder):
    """Of one whose replicad does not see its source any more."""
    own = folder / "stale"
    own.mkdir()
    make_certificate(own, "server", [SERVER])
    replica = Replica(own)
    proxy = make_proxy(options=OPTIONS)
    proxy.conf.write_text(proxy.text.replace(
        f'replica = "{folder}/replica"', f'replica = "{own}/replica"'))
    proxy.start()
    try:
        wait_until(lambda: ask("/healthz")[0] == 200, "health")
    finally:
        replica.stop()
    wait_until(lambda: ask("/healthz")[0] == 503, "illness", 30)
    assert ask("/healthz")[2] == \
        "the replica is stale: no directory server in step\n"
    assert value("postcell_replica_connected") == 0
    proxy.stop()


def test_no_relay_serves(make_proxy, folder, replica):
    """A proxy that cannot serve says so, and why."""
    proxy = make_proxy(options=OPTIONS)
    proxy.conf.write_text(proxy.text.replace(
        f'replica = "{folder}/replica"', f'replica = "{folder}/none"'))
    proxy.start(wait=False)
    wait_until(lambda: ask("/healthz")[::2] == (503, "no relay serves\n"),
               "word on our health")
    assert value("postcell_replica_readable") == 0
    proxy.stop()


@pytest.mark.parametrize("request_text, status", [
    (b"GET /nothing HTTP/1.1\r\nHost: x\r\n\r\n", b"404"),
    (b"POST /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n",
     b"501"),
    (b"GET /metrics\r\n" + b"X: y\r\n" * 5000 + b"\r\n", b""),
    (b"\0\xff\r\n\r\n", b""),
], ids=["unknown", "post", "long", "octets"])
def test_strange_requests(started, servers, request_text, status):
    proxy = started()
    with socket.create_connection((ADDRESS, PORT), TIMEOUT) as connection:
        answer = b""
        with contextlib.suppress(OSError):
            connection.sendall(request_text)
            connection.shutdown(socket.SHUT_WR)
            while octets := connection.recv(4096):
                answer += octets
        assert status in answer[:20]
    # Relays that have just started do not serve yet.
    wait_until(lambda: ask("/healthz")[0] == 200, "good health")
    log_in(proxy, servers)


def test_port_is_given_up(started, servers):
    """By a reload, though an old relay lives on."""
    proxy = started()
    player = Player(proxy, servers)
    for line in GOOD_LOGIN.split("\n")[1:7]:
        player.play_line(line)
    proxy.conf.write_text(proxy.text.replace(OPTIONS, ""))
    proxy.reload()
    wait_until(lambda: ask("/healthz")[0] == 0, "closed port")
    assert proxy.sessions()
    player.client.close()
    player.server.close()


# Of postcell-replicad

REPLICA_PORT = 14910


@pytest.fixture
def followed(folder, request):
    """A replica, whose replicad tells of it."""
    own = folder / request.node.name
    replica = Replica(own, more=f"""
metrics {{
	address = "{ADDRESS}"
	port = {REPLICA_PORT}
	stale_time = 10
}}
""")
    yield replica
    replica.stop()
    assert "runtime error" not in replica.log.read_text()


def metrics_process(replica):
    children = pathlib.Path(f"/proc/{replica.process.pid}/task/"
                            f"{replica.process.pid}/children").read_text()
    (child,) = children.split()
    return int(child)


def test_replica(followed):
    check_names(families(REPLICA_PORT), "postcell-replicad.8")
    assert value("postcell_replica_complete", REPLICA_PORT) == 1
    assert value("postcell_replica_accounts", REPLICA_PORT) > 5
    assert value("postcell_replica_source_info", REPLICA_PORT,
                 source=str(followed.path.parent / "cell.ldif")) == 1
    assert value("postcell_cell_host_state", REPLICA_PORT, kind="server",
                 name="mbox-plain", state="up") == 1
    assert ask("/healthz", REPLICA_PORT)[::2] == (200, "ok\n")


def test_replica_has_no_privileges(followed):
    """The process that strangers reach has nothing of its parent's."""
    pid = metrics_process(followed)
    status = process_status(pid)
    assert status["NoNewPrivs"].strip() == "1"
    mapped = pathlib.Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    assert mapped[1] == b"--metrics-process"


def test_replica_process_that_dies(followed):
    pid = metrics_process(followed)
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: "event=child_died" in followed.log.read_text(), "log")
    wait_until(lambda: ask("/healthz", REPLICA_PORT)[0] == 200, "another one")
    assert metrics_process(followed) != pid


def test_replica_process_ends_with_its_parent(followed):
    pid = metrics_process(followed)
    followed.process.kill()
    followed.process.wait(TIMEOUT)
    wait_until(lambda: ask("/healthz", REPLICA_PORT)[0] == 0, "end")
    wait_until(lambda: not pathlib.Path(f"/proc/{pid}").exists()
               or "Z" in process_status(pid)["State"], "end")


def test_replica_port_that_is_taken(followed, folder):
    """It says so and does not start."""
    conf = folder / "second.conf"
    text = (followed.path.parent / "replicad.conf").read_text()
    conf.write_text(text.replace(str(followed.path), str(folder / "second")))
    done = subprocess.run([BUILD / "postcell-replicad", "-c", conf],
                          capture_output=True, text=True, timeout=TIMEOUT)
    assert done.returncode == 69
    assert "event=not_started" in done.stderr
    assert "Address already in use" in done.stderr
