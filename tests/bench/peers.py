"""The proxies that are compared: each alone on one core, with one worker."""

import os
import pathlib
import signal
import subprocess
import time

BACK_PORTS = {"imap": 20143, "pop3": 20110, "submission": 20587,
              "lmtp": 20024}
PORTS = {"imap": 20143, "imaps": 20993, "pop3": 20110, "pop3s": 20995,
         "submission": 20587, "lmtp": 20024}
SESSIONS = 9400  # descriptors for both sides fit below a limit of 20,000
PROXY_CORE, LOAD_CORE = "0", str(min(1, (os.cpu_count() or 1) - 1))


def wait_until(condition, what, timeout=20):
    end = time.monotonic() + timeout
    while time.monotonic() < end:
        if condition():
            return
        time.sleep(0.02)
    raise SystemExit(f"bench: in {timeout} s there was no {what}")


FIRST = ["chrt", "-r", "5"]  # before all else that the machine does
prefix = []  # FIRST, where that was asked for


def run_pinned(core, command, **options):
    return subprocess.Popen(
        [*prefix, "taskset", "-c", core, *map(str, command)], **options)


class Peer:
    """A proxy under measurement; subclasses say how it is set up."""

    name = ""
    services = frozenset()  # keys of PORTS, and "starttls"
    bulk_port = PORTS["imap"]  # for plain bulk
    relays = 1
    holds = True  # idle sessions are worth counting
    patience = 1  # share of the logins that it gets

    def __init__(self, folder, address, back, build, users):
        self.folder = pathlib.Path(folder) / self.name
        self.folder.mkdir(parents=True)
        self.folder.chmod(0o755)
        self.address, self.back = address, back
        self.build, self.users = pathlib.Path(build), users
        self.certificate = self.folder.parent / "proxy.pem"
        self.key = self.folder.parent / "proxy.key"
        self.processes = []

    def start(self):
        self.launch()
        return self

    def run(self, *command):
        with open(self.folder / "log", "ab") as log:
            process = run_pinned(PROXY_CORE, command, stdout=log, stderr=log,
                                 stdin=subprocess.DEVNULL)
        self.processes.append(process)

    def write(self, name, text):
        path = self.folder / name
        path.write_text(text)
        return path

    def stop(self):
        for process in reversed(self.processes):
            process.send_signal(signal.SIGTERM)
        for process in self.processes:
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self.processes = []

    # ---- what it costs ----

    def pids(self):
        """All processes of it, children included."""
        children = {}
        for entry in os.listdir("/proc"):
            if entry.isdigit():
                try:
                    parent = stat_fields(entry)[1]
                except OSError:
                    continue
                children.setdefault(int(parent), []).append(int(entry))
        found = [process.pid for process in self.processes]
        for pid in found:
            found += children.get(pid, [])
        return found

    def cpu(self):
        """Seconds of CPU since its start, those of ended children included."""
        tick = os.sysconf("SC_CLK_TCK")
        total = 0.0
        for pid in self.pids():
            try:
                for task in os.listdir(f"/proc/{pid}/task"):
                    path = f"/proc/{pid}/task/{task}/schedstat"
                    total += int(pathlib.Path(path).read_text().split()[0]) / 1e9
                fields = stat_fields(pid)
                # Of children that were waited for: cutime, cstime.
                total += (int(fields[13]) + int(fields[14])) / tick
            except OSError:
                pass
        return total

    def memory(self):
        """Octets of proportional set size."""
        total = 0
        for pid in self.pids():
            try:
                text = pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text()
            except OSError:
                continue
            for line in text.splitlines():
                if line.startswith("Pss:"):
                    total += int(line.split()[1]) * 1024
        return total


def stat_fields(pid):
    """Fields of /proc/PID/stat from the state on."""
    text = pathlib.Path(f"/proc/{pid}/stat").read_text()
    return text.rpartition(")")[2].split()


class Haproxy(Peer):
    """TCP mode: it passes connections on and knows no users; the limit.

    Left to itself it does not splice what this bench sends, so that bulk has a
    port where it always does.
    """

    name = "haproxy"
    services = frozenset(PORTS)
    bulk_port = 20144

    def launch(self):
        (self.folder / "both.pem").write_text(
            self.certificate.read_text() + self.key.read_text())
        text = (f"global\n nbthread 1\n"
                f" maxconn {SESSIONS}\n maxpipes 100\n"
                "defaults\n mode tcp\n"
                " timeout connect 5s\n timeout client 1h\n timeout server 1h\n")
        for service, port in PORTS.items():
            tls = ""
            if service in ("imaps", "pop3s"):
                tls = f" ssl crt {self.folder}/both.pem"
            back = BACK_PORTS[service.rstrip("s")]
            text += (f"listen {service}\n bind {self.address}:{port}{tls}\n"
                     f" server sink {self.back}:{back}\n")
        text += (f"listen bulk\n bind {self.address}:{self.bulk_port}\n"
                 " option splice-request\n option splice-response\n"
                 f" server sink {self.back}:{BACK_PORTS['imap']}\n")
        self.run("/usr/sbin/haproxy", "-db", "-f",
                 self.write("haproxy.cfg", text))


# As nginx names them.
PROTOCOLS = {"imap": "imap", "imaps": "imap", "pop3": "pop3", "pop3s": "pop3",
             "submission": "smtp"}


class Nginx(Peer):
    """The mail module; its HTTP helper is nginx, in the same worker."""

    name = "nginx"
    services = frozenset({"imap", "imaps", "pop3", "pop3s", "submission",
                          "starttls"})

    def launch(self):
        helper = f"{self.address}:20080"
        servers = ""
        for service, port in PORTS.items():
            if service in self.services:
                tls = " ssl" if service.endswith("s") else ""
                starttls = "" if tls else "starttls on; "
                servers += (f"server {{ listen {self.address}:{port}{tls};"
                            f" protocol {PROTOCOLS[service]}; {starttls}}}\n")
        conf = self.write("nginx.conf", f"""
load_module /usr/lib/nginx/modules/ngx_mail_module.so;
daemon off;
user nobody nogroup;
worker_processes 1;
worker_rlimit_nofile 20000;
pid {self.folder}/pid;
error_log {self.folder}/error.log notice;
events {{ worker_connections 19500; }}
http {{
	access_log off;
	client_body_temp_path {self.folder}/b; proxy_temp_path {self.folder}/p;
	fastcgi_temp_path {self.folder}/f; uwsgi_temp_path {self.folder}/u;
	scgi_temp_path {self.folder}/s;
	map $http_auth_protocol $back_port {{
		imap {BACK_PORTS['imap']}; pop3 {BACK_PORTS['pop3']};
		smtp {BACK_PORTS['submission']};
	}}
	server {{
		listen {helper};
		location / {{
			add_header Auth-Status OK;
			add_header Auth-Server {self.back};
			add_header Auth-Port $back_port;
			return 204;
		}}
	}}
}}
mail {{
	auth_http {helper}/;
	ssl_certificate {self.certificate};
	ssl_certificate_key {self.key};
	ssl_protocols TLSv1.2 TLSv1.3;
	imap_capabilities IMAP4rev1 SASL-IR;
	{servers}
}}
""")
        self.run("/usr/sbin/nginx", "-c", conf)


class Dovecot(Peer):
    """Its proxy, login processes in high-performance mode."""

    name = "dovecot"
    services = frozenset({*PORTS, "starttls"})

    def launch(self):
        port = (f"%{{if;%s;eq;imap;{BACK_PORTS['imap']};"
                f"%{{if;%s;eq;pop3;{BACK_PORTS['pop3']};"
                f"%{{if;%s;eq;submission;{BACK_PORTS['submission']};"
                f"{BACK_PORTS['lmtp']}}}}}}}")
        login = "".join(f"""
service {name}-login {{
	service_count = 0
	process_min_avail = 1
	process_limit = 1
	client_limit = {SESSIONS}
	vsz_limit = 0
	inet_listener {name} {{
		port = {PORTS[name]}
	}}
	inet_listener {name}s {{
		port = {PORTS.get(name + 's', 0)}
		ssl = yes
	}}
}}
""" for name in ("imap", "pop3", "submission"))
        conf = self.write("dovecot.conf", f"""
base_dir = {self.folder}/run
state_dir = {self.folder}/state
log_path = {self.folder}/dovecot.log
protocols = imap pop3 submission lmtp
hostname = proxy.example.org
listen = {self.address}
ssl = yes
ssl_cert = <{self.certificate}
ssl_key = <{self.key}
disable_plaintext_auth = no
auth_mechanisms = plain
default_client_limit = {SESSIONS * 4}
lmtp_proxy = yes
passdb {{
	driver = static
	args = proxy=y nopassword=y host={self.back} port={port}
}}
userdb {{
	driver = static
	args = uid=65534 gid=65534 home=/nonexistent
}}
{login}
service lmtp {{
	process_min_avail = 4
	process_limit = 4
	inet_listener lmtp {{
		port = {PORTS['lmtp']}
	}}
}}
""")
        self.run("/usr/sbin/dovecot", "-F", "-c", conf)


class Perdition(Peer):
    """A process for each session; plain alone, since its TLS predates 1.3."""

    name = "perdition"
    holds = False
    patience = 0.1
    services = frozenset({"imap", "pop3"})

    def launch(self):
        conf = self.write("perdition.conf", "")
        for program, service in (("imap4", "imap"), ("pop3", "pop3")):
            self.run(f"/usr/sbin/perdition.{program}", "--no_daemon", "-f",
                     conf, "--no_lookup", "-b", self.address, "-l",
                     PORTS[service], "-s", self.back, "-p",
                     BACK_PORTS[service], "-M", "", "-u", "nobody", "-g",
                     "nogroup", "--ssl_mode", "none", "--pid_file",
                     f"{self.folder}/{service}.pid", "-F", "-")


class Postcell(Peer):
    """proxyd with one relay, and a replicad that loaded the users."""

    name = "postcell"
    services = frozenset({*PORTS, "starttls"})
    relays = 1

    def launch(self):
        replica = self.folder / "replica"
        conf = self.write("replicad.conf", f"""
replica = "{replica}"
user = ""
map_size_max = 1024
source = ldif
ldif_file = "{self.users}"
""")
        self.run(self.build / "postcell-replicad", "-c", conf)
        wait_until(lambda: self.has_user(replica), "replica", 120)
        (self.folder / "empty").mkdir(exist_ok=True)
        listeners = ""
        for service, port in PORTS.items():
            tls = "implicit" if service.endswith("s") else "starttls"
            if service == "lmtp":
                tls = "none"
            listeners += (f'listen {service} {{ addresses = '
                          f'{{ "{self.address}" }}\n port = {port}\n'
                          f' tls = {tls}\n plaintext = yes }}\n')
        conf = self.write("proxyd.conf", f"""
host_name = "proxy.example.org"
replica = "{replica}"
start_wait = 0
run_dir = "{self.folder}/run"
user = "nobody"
chroot = "{self.folder}/empty"
relays = {self.relays}
tls {{
	certificate = "{self.certificate}"
	key = "{self.key}"
}}
limits {{ sessions = {SESSIONS} }}
{listeners}
""")
        self.run(self.build / "postcell-proxyd", "-c", conf)

    def has_user(self, replica):
        return subprocess.run(
            [self.build / "postcellctl", "--replica", replica, "replica",
             "get", "u000000"], capture_output=True).returncode == 0


class PostcellTwo(Postcell):
    """The same with a second relay, on the same core: what that costs."""

    name = "2 relays"
    holds = False
    services = frozenset({"imap", "imaps"})
    relays = 2


PEERS = {peer.name: peer
         for peer in (Postcell, Haproxy, Nginx, Dovecot, Perdition,
                      PostcellTwo)}
