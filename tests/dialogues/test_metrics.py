"""Metrics as Prometheus reads them, and the word on our health."""

import contextlib
import http.client
import os
import re
import signal
import socket
import time

import pytest
from prometheus_client.parser import text_string_to_metric_families

from house import (NET, ROOT, SERVER, TIMEOUT, Replica, check_log, make_certificate,
                   wait_until)
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


def ask(path, method="GET"):
    """Status, headers and text; status 0 where nobody answers."""
    connection = http.client.HTTPConnection(ADDRESS, PORT, timeout=TIMEOUT)
    try:
        connection.request(method, path)
        answer = connection.getresponse()
        return answer.status, dict(answer.getheaders()), \
            answer.read().decode()
    except (ConnectionError, http.client.HTTPException):
        return 0, {}, ""
    finally:
        connection.close()


def families():
    status, headers, text = ask("/metrics")
    assert status == 200
    assert headers["Content-Type"].startswith("text/plain; version=0.0.4")
    return {each.name: each for each in text_string_to_metric_families(text)}


def value(name, /, **labels):
    found = [sample.value for family in families().values()
             for sample in family.samples
             if sample.name == name and labels.items() <= sample.labels.items()]
    assert len(found) == 1, (name, labels, found)
    return found[0]


def test_format(started, servers):
    """By the rules that promtool checks."""
    started()
    text = ask("/metrics")[2]
    seen = set()
    for name, family in families().items():
        assert family.documentation, name
        assert family.documentation.endswith("."), name
        assert re.fullmatch(r"postcell_(proxy|replica|cell)_[a-z0-9_]+", name)
        assert family.type in ("counter", "gauge", "histogram"), name
        # The parser takes _total off the names of counters.
        assert (family.type == "counter") == (f"# TYPE {name}_total" in text)
        assert not re.search("_(ms|milli|kib|bits|minutes)", name)
        for sample in family.samples:
            key = (sample.name, *sorted(sample.labels.items()))
            assert key not in seen, key
            seen.add(key)
    heads = re.findall(r"^# TYPE (\S+)", text, re.MULTILINE)
    assert len(heads) == len(set(heads)) == len(families())
    page = (ROOT / "man" / "postcell-proxyd.8").read_text()
    for head in heads:
        assert re.search(rf"^\.It Li (.* )?{head}( |$)", page, re.MULTILINE), \
            f"{head} has no paragraph"


def test_sessions_and_logins(started, servers):
    started_at = time.time()
    proxy = started()
    player = Player(proxy, servers)
    for line in GOOD_LOGIN.split("\n")[1:7]:
        player.play_line(line)
    assert value("postcell_proxy_sessions") == 1
    assert value("postcell_proxy_sessions_logged_in") == 1
    assert value("postcell_proxy_logins_total") == 1
    player.client.close()
    player.server.close()
    player = Player(proxy, servers)
    player.play("S~ \\* OK .*\nC: 1 LOGIN nobody x\nS~ 1 NO .*\n")
    wait_until(lambda: value("postcell_proxy_sessions") == 0, "end")
    failures = "postcell_proxy_login_failures_total"
    assert value(failures, reason="unknown") == 1
    assert value(failures, reason="refused") == 0
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
        buckets = [sample for sample in families()[name].samples
                   if sample.name.endswith("_bucket")
                   and sample.labels["phase"] == phase]
        bounds = [float(sample.labels["le"]) for sample in buckets]
        counts = [sample.value for sample in buckets]
        assert bounds == sorted(bounds) and bounds[-1] == float("inf")
        assert counts == sorted(counts) and counts[-1] == count


def test_counters_outlive_relays(started, servers):
    """What only grows does so over a reload, and over a killed relay."""
    proxy = started()
    log_in(proxy, servers)
    proxy.reload()
    wait_until(lambda: ask("/healthz")[0] == 200
               and value("postcell_proxy_generation") == 2
               and value("postcell_proxy_relays") == 2, "reload")
    assert value("postcell_proxy_logins_total") == 1
    assert value("postcell_proxy_login_phase_seconds_count",
                 phase="login") == 1
    log_in(proxy, servers)
    for pid in proxy.relays():
        os.kill(pid, signal.SIGKILL)
    wait_until(lambda: value("postcell_proxy_relays_serving") == 2, "relays")
    assert value("postcell_proxy_logins_total") == 2


def test_health_follows_relays(started, make_proxy):
    proxy = started()
    assert ask("/healthz")[::2] == (200, "ok\n")
    assert ask("/healthz", "HEAD")[::2] == (200, "")
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
