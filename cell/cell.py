#!/usr/bin/python3
"""A whole mail cell on this machine, of real servers, on loopback.

    cell/cell.py [--folder DIR] [--build DIR] [--net 127.0.N] COMMAND

    start           start what does not run yet, wait until a login works
    start NAME      start one server again
    stop [NAME]     end the cell, or one of its servers
    restart NAME
    status          what runs
    help            how to use the cell that runs

Nothing outside the folder is changed, but for a run folder below /tmp, which
goes with the cell. Of a cell that was stopped only the logs are left. For the
scenarios, class Cell is a library.
"""

import signal
import sys

sys.dont_write_bytecode = True
if __name__ == "__main__":
    # Until there is something to clean up, also while all this is read.
    signal.signal(signal.SIGINT, signal.SIG_DFL)

import argparse
import concurrent.futures
import contextlib
import fcntl
import json
import os
import pathlib
import secrets
import shlex
import shutil
import time

import balancer
import daemons
import dovecot
import exchanger
import imap
import kerberos
import knot
import postfix
import proxies
import slapd
import tls
import users
from layout import (ADMIN_DN, BALANCERS, DIRECTORIES, DOMAIN, EXCHANGERS, HOST,
                    HUB_PORT, KDCS, METRICS_PORT, OBSERVERS, PEOPLE, PORTS,
                    PROXIES, PUBLISHERS, REALM, REPLICAS, ROOT, SERVERS,
                    SSO_PORTS, SUFFIX, WEB_PORT, Layout)
from process import Interruption, Processes, Trouble, wait_until
from server import check_free

DEFAULT_NET = "127.0.31"
DEFAULT_FOLDER = ROOT / "build" / "cell"
START_TIME = 30  # s until all servers answer
PATIENCE = 3  # s until somebody wants to know what is waited for
LOGIN_TIME = 15  # s until a login through the generic name works
LOG_TAIL = 15  # lines of a log shown when a server failed
# What the name of a fact does not say; in front of it.
REMARKS = {
    "CELL_HOST": "The generic name, and its addresses: the proxies'.",
    "CELL_IMAP": "Ports, the same on each proxy.",
    "CELL_SSO_IMAP": "Where proxies verify logins themselves: by password, ticket "
                     "or certificate.",
    "CELL_SMTP": "Mail from hubs without a login; metrics and /healthz; autoconfig.",
    "CELL_BALANCERS": "Addresses, each with the ports from CELL_IMAP to CELL_SIEVE.",
    "CELL_HOSTS": "As /etc/hosts, for programs that run with libnss_wrapper.so.",
    "CELL_CERTIFICATE": "Of the first user, with its key.",
    "CELL_USERS": "Lines of login, TAB, password.",
    "CELL_CTL": "postcellctl as on the host of the first proxy.",
    "CELL_PIDS": "Folder of NAME.pid for each process.",
}
RUN_MARK = "postcell-cell"  # file in a run folder that names its cell


class Cell:
    def __init__(self, folder, net=None, build=None, say=lambda text: None):
        folder = pathlib.Path(folder).resolve()
        self.settings = load_settings(folder)
        self.layout = Layout(folder, net or self.settings.get("net",
                                                              DEFAULT_NET))
        self.layout.build = pathlib.Path(
            build or self.settings.get("build", ROOT / "build")).resolve()
        self.processes = Processes(self.layout.pids)
        self.say = say

    # -- the whole ----------------------------------------------------------

    def start(self):
        """Leaves a running cell alone, but for what of it does not run."""
        with self.locked():
            if self.is_complete():
                self.start_missing()
                # The others may be failed, for as long as they need to return.
                published = 1
            else:
                self.end()
                self.clear()
                self.make()
                self.launch(self.servers())
                published = len(PROXIES)
            self.found_realm_beside(lambda: self.welcome(published))
            self.wait_for_ticket()
            self.write_env()

    def welcome(self, published):
        self.await_servers(self.servers())
        self.wait_for_login(published)
        self.log_everybody_in()

    def found_realm_beside(self, work):
        """Once in the life of a cell, and while other servers begin: passwords
        need no realm, and whoever has a keytab reads it when it is asked for."""
        if "realm" in self.settings:
            work()
            return
        servers = self.servers()
        for server in servers:
            if server.name in DIRECTORIES:
                self.wait_for_server(server)
        founding = kerberos.Founding(self.layout, servers)
        try:
            work()
            founding.finish(START_TIME)
        finally:
            founding.abandon()
        self.settings["realm"] = REALM
        save_settings(self.layout.folder, self.settings)

    def stop(self):
        """True when there was one."""
        if not self.layout.folder.exists():
            return False
        there = bool(self.settings)
        with self.locked():
            self.end()
            self.clear(kept=[self.layout.log])
        with contextlib.suppress(OSError):
            self.layout.folder.rmdir()
        return there

    def end(self):
        """Also what a crashed cell left."""
        self.layout.env.unlink(missing_ok=True)
        names = self.processes.names()
        # Clients before servers: Dovecot waits for those of its sockets.
        for stage in ((*BALANCERS, *PROXIES, *OBSERVERS, *PUBLISHERS),
                      (*REPLICAS, *EXCHANGERS), SERVERS, names):
            self.processes.stop([name for name in names if name in stage])
        self.remove_run_folder()

    def clear(self, kept=()):
        for path in self.layout.folder.iterdir():
            if path in kept:
                continue
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink()

    @contextlib.contextmanager
    def locked(self):
        self.layout.folder.mkdir(parents=True, exist_ok=True)
        folder = os.open(self.layout.folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            try:
                fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise Trouble(f"another start or stop is at work in "
                              f"{self.layout.folder}") from None
            yield
        finally:
            os.close(folder)

    def servers(self):
        """All of them, in the order in which they are started."""
        directories = [slapd.Slapd(self.layout, self.settings, name)
                       for name in DIRECTORIES]
        backends = [dovecot.Dovecot(self.layout, self.settings, name)
                    for name in SERVERS]
        replicas = [daemons.Replica(self.layout, self.settings, name)
                    for name in REPLICAS]
        fronts = [proxies.Proxy(self.layout, self.settings, name)
                  for name in PROXIES]
        observers = [proxies.Observer(self.layout, self.settings, name)
                     for name in OBSERVERS]
        publishers = [daemons.Publisher(self.layout, self.settings, name)
                      for name in PUBLISHERS]
        realm = [kind(self.layout, self.settings, host)
                 for kind in (kerberos.KeyReplica, kerberos.Kdc,
                              kerberos.Kpasswdd) for host in KDCS]
        return [*directories, knot.Knot(self.layout, self.settings),
                *backends, *replicas, *realm, *fronts, *observers, *publishers,
                self.exchanger(), *self.balancers()]

    def balancers(self):
        return ([balancer.Balancer(self.layout, self.settings)]
                if balancer.is_used() else [])

    def exchanger(self):
        kind = postfix.Postfix if postfix.is_used() else exchanger.Exchanger
        return kind(self.layout, self.settings)

    def server(self, name):
        for server in self.servers():
            if server.name == name:
                return server
        names = " ".join(server.name for server in self.servers())
        raise Trouble(f"there is no server {name!r}; there are {names}")

    # -- one server ---------------------------------------------------------

    def start_server(self, name):
        server = self.server(name)
        self.require_cell()
        if not self.processes.pid(name):
            self.start_servers([server])

    def stop_server(self, name):
        self.server(name)
        self.require_cell()
        self.processes.stop([name])

    def restart_server(self, name):
        self.stop_server(name)
        self.start_server(name)

    def status(self):
        """(name, pid or None, endpoints as text) of each server."""
        return [(server.name, self.processes.pid(server.name),
                 sorted({f"{address}:{port}"
                         for address, port, _ in server.endpoints}))
                for server in self.servers()]

    def require_cell(self):
        if not self.settings:
            raise Trouble(f"there is no cell in {self.layout.folder}; "
                          "make cell starts one")

    # -- setting up ---------------------------------------------------------

    def make(self):
        layout = self.layout
        os.umask(0o022)  # the users that servers become must get in
        for folder in (layout.log, layout.conf, layout.data, layout.pids):
            folder.mkdir(mode=0o755)
        self.make_run_folder()
        self.make_certificates()
        self.settings = new_settings(layout)
        kerberos.write_client_conf(layout, layout.servers_krb5_conf)
        kerberos.write_people_conf(layout)
        for server in self.servers():
            server.make()
        dovecot.make_store(layout)
        slapd.fill([server for server in self.servers()
                    if isinstance(server, slapd.Slapd)], self.settings)
        users.write_list(layout.users)
        layout.hosts.write_text("".join(
            f"{layout.addresses[name]} {HOST}\n" for name in PROXIES))
        # The last file: with it the folder is whole.
        save_settings(layout.folder, self.settings)

    def make_run_folder(self):
        """Short, for sockets, and open to the users that servers become."""
        run = pathlib.Path(f"/tmp/postcell-{secrets.token_hex(4)}")
        # The link first: whatever happens next, the folder will be found.
        os.symlink(run, self.layout.folder / "run")
        run.mkdir(mode=0o700)
        (run / RUN_MARK).write_text(f"{self.layout.folder}\n")
        run.chmod(0o711)

    def remove_run_folder(self):
        link = self.layout.folder / "run"
        if not link.is_symlink():
            return
        run = pathlib.Path(os.readlink(link))
        with contextlib.suppress(FileNotFoundError):
            # A part of it where there was no room for more.
            if f"{self.layout.folder}\n".startswith(
                    (run / RUN_MARK).read_text()):
                shutil.rmtree(run)
        with contextlib.suppress(OSError):
            run.rmdir()  # which was made, and not marked yet
        link.unlink()

    def make_certificates(self):
        layout = self.layout
        tls.begin(layout.tls)
        tls.make_authority(layout.tls, layout.ca)
        shutil.copy(layout.ca, layout.run / "ca.pem")
        people = layout.tls / "people.pem"
        tls.make_authority(layout.tls, people, "people")
        tls.make_personal_certificate(layout.tls, people,
                                      users.all_users()[0].uid,
                                      layout.certificate)
        for name in (*PROXIES, *SERVERS, *DIRECTORIES):
            own = f"{name}.{DOMAIN}"
            host, names = (HOST, [own]) if name in PROXIES else (own, [])
            tls.make_certificate(layout.tls, layout.ca, name, host, names,
                                 [layout.addresses[name]])

    # -- starting -----------------------------------------------------------

    def is_complete(self):
        """Nothing is missing but processes, and some of these are there."""
        return (self.settings.get("net") == self.layout.net
                and "realm" in self.settings
                and (self.layout.folder / "run" / RUN_MARK).exists()
                and any(self.processes.pid(server.name)
                        for server in self.servers()))

    def start_missing(self):
        """Also replaces programs that were built anew since they started."""
        missing = []
        for server in self.servers():
            pid = self.processes.pid(server.name)
            if pid and self.processes.is_outdated(
                    server.name, server.command()[0]):
                self.processes.stop([server.name])
                pid = None
            if not pid:
                missing.append(server)
        self.say("the cell runs already" if not missing else
                 "the cell runs in part")
        self.launch(missing)

    def start_servers(self, servers):
        self.launch(servers)
        self.await_servers(servers)

    def launch(self, servers):
        for server in servers:
            # What a killed server forked may still hold its ports.
            self.processes.stop([server.name])
            server.prepare()
            for endpoint in server.endpoints:
                check_free(endpoint)
        for server in servers:
            self.processes.start(server.name, server.command(), server.log,
                                 server.environment)

    def await_servers(self, servers):
        start = time.monotonic()
        for server in servers:
            self.wait_for_server(server)
        names = [server.name for server in servers]
        what = " ".join(names) if len(names) < 4 else f"{len(names)} servers"
        if names:
            self.say(f"{what} up after {time.monotonic() - start:.1f} s")

    def wait_for_server(self, server):
        def settled():
            return not self.processes.pid(server.name) or server.is_up()

        up = wait_until(settled, PATIENCE) and server.is_up()
        if not up and self.processes.pid(server.name):
            self.say(f"waiting for {server.name}; its log is "
                     f"{shown(server.log)}")
            up = wait_until(settled, START_TIME) and server.is_up()
        pid = self.processes.pid(server.name)
        if not pid or not up:
            what = "does not answer" if pid else "ended"
            raise Trouble(f"{server.name} {what}; {tail(server.log)}")

    def wait_for_login(self, published):
        """Through the generic name, as a stranger's mail program does it, once
        so many proxies have it."""
        self.say(f"waiting for a login through {HOST}")
        user = users.all_users()[0]
        fault = ["no attempt"]

        def works():
            addresses = knot.resolve(self.layout, HOST)
            try:
                for address in addresses:
                    self.login(address, user.login, user.password,
                               timeout=LOGIN_TIME / 3).logout()
            except (OSError, imap.Imap.error) as error:
                fault[0] = str(error)
                return False
            return len(addresses) >= published

        if not wait_until(works, LOGIN_TIME, pause=0.1):
            raise Trouble(f"no login through {HOST} within {LOGIN_TIME} s "
                          f"({fault[0]}); the logs are in {self.layout.log}")

    def log_everybody_in(self):
        """Each on the own server, which then knows the password for a while
        even if no directory server can be asked; keys are made of it."""
        def attempt(number_and_user):
            number, user = number_and_user
            if Interruption.pending:
                return None
            name = list(PROXIES)[number % len(PROXIES)]
            try:
                self.login(self.layout.addresses[name], user.login,
                           user.password, timeout=LOGIN_TIME).logout()
                return None
            except (OSError, imap.Imap.error) as error:
                return f"{user.login} cannot log in: {error}"

        everybody = users.all_users()
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            faults = [fault for fault in pool.map(attempt,
                                                  enumerate(everybody))
                      if fault]
        for fault in faults:
            self.say(fault)
        self.say(f"{len(everybody) - len(faults)} of {len(everybody)} users "
                 "logged in")

    def wait_for_ticket(self):
        """A user's, and then the proxies' own, by which they log in whom they
        have verified."""
        user = users.all_users()[0]
        kerberos.wait_for_ticket(self.layout, user, LOGIN_TIME)
        fault = [None]

        def works(address):
            try:
                self.login(address, user.login, user.password,
                           ports=SSO_PORTS, timeout=LOGIN_TIME).logout()
                return True
            except (OSError, imap.Imap.error) as error:
                fault[0] = error
                return False

        for name in PROXIES:
            if not wait_until(lambda: works(self.layout.addresses[name]),
                              LOGIN_TIME, pause=0.1):
                raise Trouble(f"no login by {name}'s own ticket within "
                              f"{LOGIN_TIME} s ({fault[0]}); the logs are in "
                              f"{self.layout.log}")

    def login(self, address, user, password, ports=None, **options):
        """A session on a proxy, or on a server by its own address."""
        host = HOST
        for name in SERVERS:
            if self.layout.addresses[name] == address:
                host = f"{name}.{DOMAIN}"
        port = (ports or PORTS)["imaps" if options.get("implicit") else "imap"]
        session = imap.Imap(address, port, host, self.layout.ca, **options)
        try:
            session.login_plain(user, password)
        except Exception:
            session.shutdown()
            raise
        return session

    # -- facts --------------------------------------------------------------

    def facts(self):
        layout = self.layout
        facts = {
            "CELL_DOMAIN": DOMAIN,
            "CELL_HOST": HOST,
            "CELL_IPS": " ".join(layout.addresses[name] for name in PROXIES),
            "CELL_CA": layout.ca,
        }
        for prefix, ports in ("", PORTS), ("SSO_", SSO_PORTS):
            facts.update((f"CELL_{prefix}{kind.upper()}", port)
                         for kind, port in ports.items())
        facts.update({
            "CELL_SMTP": HUB_PORT,
            "CELL_METRICS": METRICS_PORT,
            "CELL_WEB": WEB_PORT,
            "CELL_BALANCERS": " ".join(each.address
                                       for each in self.balancers()),
            "CELL_HOSTS": layout.hosts,
            "CELL_CERTIFICATE": layout.certificate,
            "CELL_LDAP_URIS": " ".join(layout.ldap_uris),
            "CELL_LDAP_SUFFIX": SUFFIX,
            "CELL_PEOPLE": PEOPLE,
            "CELL_ADMIN_DN": ADMIN_DN,
            "CELL_ADMIN_PW": self.settings["admin_password"],
            "CELL_REALM": REALM,
            "KRB5_CONFIG": layout.krb5_conf,
            "KRB5CCNAME": f"FILE:{layout.folder / 'ccache'}",
            "CELL_DNS": layout.dns,
            "CELL_USERS": layout.users,
            "CELL_SERVERS": " ".join(SERVERS),
            "CELL_CTL": shlex.join(daemons.control_command(layout)),
            "CELL_PIDS": layout.pids,
        })
        return {name: str(value) for name, value in facts.items()}

    def write_env(self):
        """Whole or not at all: whoever sees the file sees a cell that works."""
        text = "# The facts of the cell that runs; a shell can source them.\n"
        for name, value in self.facts().items():
            if name in REMARKS:
                text += f"# {REMARKS[name]}\n"
            text += f"{name}={shlex.quote(value)}\n"
        partial = self.layout.env.with_suffix(".new")
        partial.write_text(text)
        partial.replace(self.layout.env)

    def how_to(self, *templates):
        user = users.all_users()[0]
        text = "".join((ROOT / "cell" / f"{name}.in").read_text()
                       for name in templates)
        return text.format(**self.facts(), user=user.login,
                           password=user.password,
                           count=len(users.all_users()),
                           env=shown(self.layout.env),
                           log=shown(self.layout.log),
                           cell=self.command_line())

    def command_line(self):
        """This program for this cell, as short as it can be typed."""
        words = [shown(ROOT / "cell" / "cell.py")]
        if self.layout.folder != DEFAULT_FOLDER:
            words += ["--folder", shown(self.layout.folder)]
        return shlex.join(words)


def shown(path):
    """As short as it can be typed here."""
    near = os.path.relpath(path)
    return str(path) if near.startswith("..") else near


def new_settings(layout):
    settings = {f"{name}_password": secrets.token_hex(12)
                for name in ("admin", "probe", *slapd.identities())}
    settings.update({f"{name}_tsig": secrets.token_bytes(32).hex()
                     for name in PUBLISHERS})
    return dict(settings, net=layout.net, build=str(layout.build))


def load_settings(folder):
    try:
        return json.loads((folder / "settings.json").read_text())
    except (OSError, ValueError):
        return {}


def save_settings(folder, settings):
    path = folder / "settings.json"
    path.touch(mode=0o600)
    path.write_text(json.dumps(settings, indent=1) + "\n")


def tail(path):
    try:
        lines = path.read_text(errors="replace").splitlines()[-LOG_TAIL:]
    except OSError:
        lines = []
    return "\n".join([f"the end of {path}:", *(f"    {line}" for line in lines)])


# -- the command ------------------------------------------------------------


def start_all(cell):
    begin = time.monotonic()
    try:
        cell.start()
    except BaseException:
        # Half a cell helps nobody; its logs stay.
        Interruption.ignore()
        if cell.settings and cell.layout.env.exists():
            raise
        with contextlib.suppress(Trouble):
            cell.stop()
        raise
    cell.say(f"the cell is up after {time.monotonic() - begin:.1f} s")
    print(cell.how_to("howto"), end="")
    print(f"More to try, Kerberos among it:\n    {cell.command_line()} help")


def stop_all(cell):
    if cell.stop():
        cell.say(f"the cell has ended; its logs are in {shown(cell.layout.log)}")
    else:
        cell.say(f"there is no cell in {shown(cell.layout.folder)}")


def show_help(cell):
    cell.require_cell()
    print(cell.how_to("howto", "more"), end="")


def show_status(cell):
    cell.require_cell()
    for name, pid, endpoints in cell.status():
        print(f"{name:9} {f'pid {pid}' if pid else 'down':12} "
              f"{' '.join(endpoints)}")


COMMANDS = {
    # command: (what it does without a name, with one)
    "start": (start_all, Cell.start_server),
    "stop": (stop_all, Cell.stop_server),
    "restart": (None, Cell.restart_server),
    "status": (show_status, None),
    "help": (show_help, None),
}


def main():
    parser = argparse.ArgumentParser(
        description="A whole mail cell on this machine.")
    parser.add_argument("--folder", default=DEFAULT_FOLDER)
    parser.add_argument("--build", default=None)
    parser.add_argument("--net", default=None, metavar="127.0.N")
    parser.add_argument("command", choices=COMMANDS)
    parser.add_argument("name", nargs="?")
    arguments = parser.parse_args()
    whole, single = COMMANDS[arguments.command]
    action = single if arguments.name else whole
    if action is None:
        parser.error(f"{arguments.command} "
                     + ("takes no name" if whole else "needs a name"))

    Interruption.listen()
    cell = Cell(arguments.folder, arguments.net, arguments.build,
                say=lambda text: print(f"cell: {text}", flush=True))
    action(cell, *([arguments.name] if arguments.name else []))


if __name__ == "__main__":
    try:
        main()
    except (Trouble, ValueError) as trouble:
        sys.exit(f"cell: {trouble}")
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        sys.exit(f"cell: {where}{error.strerror}; a cell writes into its "
                 "folder and below /tmp")
    except KeyboardInterrupt:
        print("cell: interrupted", file=sys.stderr)
        sys.exit(130)
