"""Starts and ends a lab: its servers are processes in one folder, on ports of their own of the loopback."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import kombu
import openstack
import pymysql
from keystoneauth1.adapter import Adapter
from requests.adapters import HTTPAdapter

from lab import conf
from sim.inputs.scenario import Case, Scenario

ROOT = Path(__file__).parents[1]
BIN = Path(sys.prefix) / "bin"
# In /usr/sbin Debian keeps a wrapper that changes the user: it comes after.
PATHS = os.pathsep.join([str(BIN), "/usr/lib/rabbitmq/bin", os.environ.get("PATH", ""), "/usr/sbin"])
START_S = 180
PRIORITY = -10
THREADS = 128  # requests at once that a client sends
PROGRAMS = ("mariadbd", "rabbitmq-server", "qemu-img")
SERVERS = ("mariadb", "rabbitmq", "distribution", "epmd", "glance", "cinder")


class Broken(Exception):
    """The lab does not start, or something that it needs is missing."""


@dataclass(frozen=True)
class Lab:
    """A cloud that runs in `folder`."""

    folder: Path
    ports: dict[str, int]
    scenario: Scenario
    start_s: float

    @property
    def broker(self) -> str:
        return f"amqp://guest:guest@127.0.0.1:{self.ports['rabbitmq']}//"

    def block_storage(self) -> Any:
        """The SDK's client of Cinder: without Keystone, Cinder refuses the SDK's discovery of versions."""
        endpoint = f"http://127.0.0.1:{self.ports['cinder']}/v3"
        session = self.connection().session
        session.session.mount("http://", HTTPAdapter(pool_maxsize=THREADS))
        return Adapter(session, endpoint_override=endpoint)

    def connection(self) -> Any:
        """The SDK's connection to Glance, as an administrator of project `lab`."""
        endpoint = f"http://127.0.0.1:{self.ports['glance']}/v2"
        return openstack.connect(
            auth_type="admin_token",
            auth={"endpoint": endpoint, "token": "lab:lab"},
            load_yaml_config=False,
            load_envvars=False,
        )

    def query(self, sql: str, database: str = "cinder") -> list[dict[str, Any]]:
        """Rows of a database of the lab."""
        where = {"host": "127.0.0.1", "port": self.ports["mariadb"], "user": "lab", "password": "lab"}
        cursor = pymysql.cursors.DictCursor
        connection = pymysql.connect(**where, database=database, cursorclass=cursor, autocommit=True)
        with closing(connection) as one, one.cursor() as found:
            found.execute(sql)
            return list(found.fetchall())

    def end(self, name: str) -> None:
        """Ends a server."""
        _end(int((self.folder / "pids" / name).read_text()))

    def restart(self, name: str) -> None:
        """Starts a server again that was ended or killed."""
        _spawn(self.folder, name, *_commands(self.folder, self.scenario, self.ports)[name])

    def volume_services(self) -> list[str]:
        """The servers that read limits of caches."""
        return [f"4-cinder-volume-{node}" for node in conf.nodes(self.scenario)]


@contextmanager
def running(
    case: Case, folder: Path, say: Callable[[str], None] = print, plugin: Path | None = None
) -> Iterator[Lab]:
    """A lab of a scenario in a new folder. Its end ends all its processes; the files stay.

    `plugin`: the source of a package that is installed for it.
    """
    conf.check(case)
    if folder.exists() and any(folder.iterdir()):
        raise Broken(f"{folder}: is not empty: remove it, or give another folder")
    _prefer(os.getpid())
    start = time.monotonic()
    (folder / "pids").mkdir(parents=True)
    owner = (folder / "owner").open("w")
    owner.write(str(os.getpid()))
    owner.flush()
    fcntl.flock(owner, fcntl.LOCK_EX)  # for as long as this process lives
    try:
        ports = dict(zip(SERVERS, free_ports(len(SERVERS)), strict=True))
        reflinks = _storage(folder, case.scenario, say)
        for name in ("logs", "images", "state/locks", "state/staging", "state/glance"):
            (folder / name).mkdir(parents=True)
        for node in conf.nodes(case.scenario):
            (folder / "state" / node).mkdir()
            (folder / "conversion" / node).mkdir(parents=True)
        conf.write(folder, case.scenario, ports, reflinks)
        if plugin is not None:
            _install(folder, plugin)
        _start(folder, case.scenario, ports)
        lab = Lab(folder, ports, case.scenario, time.monotonic() - start)
        (folder / "lab.json").write_text(json.dumps({"ports": ports, "start_s": lab.start_s}))
        yield lab
    finally:
        _clean(folder)
        owner.close()


def missing() -> str:
    """What this machine lacks for a lab, or nothing."""
    lacking = [name for name in PROGRAMS if shutil.which(name, path=PATHS) is None]
    packages = "Debian's packages mariadb-server, rabbitmq-server and qemu-utils"
    return f"no {', '.join(lacking)}: the lab needs {packages}" if lacking else ""


def stop(folder: Path) -> None:
    """Ends a lab that another process keeps, or what such a process left behind when it was killed."""
    if not (folder / "owner").exists():
        raise Broken(f"{folder}: no lab was started here")
    with (folder / "owner").open() as owner:
        try:
            fcntl.flock(owner, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.kill(int(owner.read()), signal.SIGTERM)
            fcntl.flock(owner, fcntl.LOCK_EX)  # until it has ended
        _clean(folder)


def _clean(folder: Path) -> None:
    """Ends every process of a lab and unmounts its arrays."""
    for path in sorted((folder / "pids").glob("*"), reverse=True):
        pid = int(path.read_text())
        if f"LAB={folder}".encode() in _environment(pid).split(b"\0"):
            _end(pid)
        path.unlink(missing_ok=True)
    ports = folder / "ports.json"
    if ports.exists():
        port = json.loads(ports.read_text())["epmd"]
        subprocess.run(["epmd", "-port", str(port), "-kill"], capture_output=True)
    for mounted in sorted((folder / "arrays").glob("*/")):
        if os.path.ismount(mounted):
            subprocess.run(["umount", mounted], check=True)


def _prefer(pid: int) -> None:
    """Gives a process a high priority, so that other programs on the machine change its times little.

    Linux shares the processors among sessions first (autogroups), and each server is a session of its own.
    """
    with suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, pid, PRIORITY)
        Path(f"/proc/{pid}/autogroup").write_text(str(PRIORITY))


def _environment(pid: int) -> bytes:
    with suppress(OSError):
        return Path(f"/proc/{pid}/environ").read_bytes()
    return b""


def _end(pid: int, seconds: float = 20) -> None:
    """The process group of a server that the lab started."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError):
            os.killpg(pid, number)
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            with suppress(ChildProcessError):
                os.waitpid(pid, os.WNOHANG)
            try:
                os.killpg(pid, 0)
            except ProcessLookupError:
                return
            time.sleep(0.05)


def free_ports(count: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    try:
        return [int(one.getsockname()[1]) for one in sockets]
    finally:
        for one in sockets:
            one.close()


def _storage(folder: Path, scenario: Scenario, say: Callable[[str], None]) -> bool:
    """A file system with reflinks for each array. Where none can be mounted: folders, and no reflinks."""
    reflinks = True
    for name, backend in scenario.backends.items():
        array = folder / "arrays" / name
        array.mkdir(parents=True)
        (pool,) = backend.pools.values()
        size = round((pool.capacity_gib or 64) * conf.GIB)
        image = array.with_suffix(".xfs")
        with image.open("wb") as file:
            file.truncate(size)
        commands = (
            ["mkfs.xfs", "-q", "-m", "reflink=1", image],
            ["mount", "-o", "loop,discard", image, array],
        )
        try:
            for command in commands:
                _run(folder, command)
        except (Broken, OSError) as error:
            say(f"array {name}: a plain folder with full copies, because nothing can be mounted: {error}")
            image.unlink()
            reflinks = False
    return reflinks


def _run(folder: Path, command: list[Any], **more: str) -> str:
    done = subprocess.run(
        [str(part) for part in command], capture_output=True, text=True, env=_env(folder, more), cwd="/"
    )
    if done.returncode:
        raise Broken(f"{command[0]}: {(done.stderr or done.stdout).strip()[-2000:]}")
    return done.stdout


def _env(folder: Path, more: dict[str, str]) -> dict[str, str]:
    return {
        **os.environ,
        "PATH": PATHS,
        "PYTHONPATH": os.pathsep.join((str(ROOT), str(folder / "plugins"))),
        "PYTHONWARNINGS": "ignore",
        "OS_GLANCE_CONFIG_DIR": str(folder),
        "HOME": str(folder),
        "LAB": str(folder),
        **more,
    }


def _spawn(folder: Path, name: str, command: list[Any], more: dict[str, str]) -> None:
    with (folder / "logs" / f"{name}.out").open("ab") as log:
        process = subprocess.Popen(
            [str(part) for part in command],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env=_env(folder, more),
            cwd="/",
            start_new_session=True,
        )
    (folder / "pids" / name).write_text(str(process.pid))
    _prefer(process.pid)


def _commands(
    folder: Path, scenario: Scenario, ports: dict[str, int]
) -> dict[str, tuple[list[Any], dict[str, str]]]:
    """Each server's command and environment."""
    user = ["--user=root"] if os.geteuid() == 0 else []
    glance = {
        "LAB_STREAMS": str(scenario.glance.streams or ""),
        "LAB_STREAM_MIB_S": str(scenario.glance.stream_mib_s or ""),
    }
    found: dict[str, tuple[list[Any], dict[str, str]]] = {
        "0-mariadb": (
            [
                *(
                    "mariadbd",
                    "--no-defaults",
                    *user,
                    f"--datadir={folder}/mariadb",
                    f"--tmpdir={folder}/state",
                ),
                *(
                    f"--port={ports['mariadb']}",
                    "--bind-address=127.0.0.1",
                    f"--socket={folder}/mariadb.socket",
                ),
                *(
                    f"--pid-file={folder}/mariadb.pid",
                    f"--init-file={folder}/start.sql",
                    "--skip-name-resolve",
                ),
                *(
                    "--innodb-flush-log-at-trx-commit=0",
                    "--innodb-flush-method=nosync",
                    "--max-connections=500",
                ),
            ],
            {},
        ),
        "1-rabbitmq": (["rabbitmq-server"], _rabbitmq(folder, ports)),
        "2-glance": ([sys.executable, "-m", "lab.glance_server", ports["glance"]], glance),
        "3-cinder-api": ([BIN / "cinder-api", "--config-file", folder / "cinder.conf"], {}),
        "3-cinder-scheduler": ([BIN / "cinder-scheduler", "--config-file", folder / "cinder.conf"], {}),
    }
    for node in conf.nodes(scenario):
        command = [BIN / "cinder-volume", "--config-file", folder / f"cinder-{node}.conf"]
        found[f"4-cinder-volume-{node}"] = (command, {})
    for name, (command, _) in found.items():
        if "-cinder-" in name:
            command += ["--log-file", f"{name[2:]}.log"]
    return found


def _rabbitmq(folder: Path, ports: dict[str, int]) -> dict[str, str]:
    home = folder / "rabbitmq"
    return {
        "RABBITMQ_NODENAME": f"lab-{ports['rabbitmq']}@localhost",
        "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
        "RABBITMQ_NODE_PORT": str(ports["rabbitmq"]),
        "RABBITMQ_DIST_PORT": str(ports["distribution"]),
        "RABBITMQ_MNESIA_BASE": str(home),
        "RABBITMQ_LOG_BASE": str(folder / "logs"),
        "RABBITMQ_CONF_ENV_FILE": str(home / "none"),
        "RABBITMQ_CONFIG_FILE": str(home / "none"),
        "RABBITMQ_ENABLED_PLUGINS_FILE": str(home / "plugins"),
        "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "+S 1:1 -kernel inet_dist_use_interface {127,0,0,1}",
        "ERL_EPMD_PORT": str(ports["epmd"]),
        "ERL_EPMD_ADDRESS": "127.0.0.1",
    }


def _start(folder: Path, scenario: Scenario, ports: dict[str, int]) -> None:
    (folder / "ports.json").write_text(json.dumps(ports))
    (folder / "rabbitmq").mkdir()
    (folder / "rabbitmq/plugins").write_text("[].\n")
    (folder / "start.sql").write_text(
        "CREATE DATABASE IF NOT EXISTS cinder;\nCREATE DATABASE IF NOT EXISTS glance;\n"
        "CREATE USER IF NOT EXISTS lab@'%' IDENTIFIED BY 'lab';\nGRANT ALL ON *.* TO lab@'%';\n"
    )
    if lacking := missing():
        raise Broken(lacking)
    commands = _commands(folder, scenario, ports)

    def spawn(name: str) -> None:
        _spawn(folder, name, *commands[name])

    spawn("1-rabbitmq")
    install = ["mariadb-install-db", "--no-defaults", f"--datadir={folder}/mariadb", "--skip-test-db"]
    install += ["--auth-root-authentication-method=normal"]
    _run(folder, install + (["--user=root"] if os.geteuid() == 0 else []))
    spawn("0-mariadb")
    _wait(folder, "0-mariadb", lambda: listens(ports["mariadb"]))
    with ThreadPoolExecutor() as pool:
        cinder = [BIN / "cinder-manage", "--config-file", folder / "cinder.conf", "db", "sync"]
        glance = [BIN / "glance-manage", "--config-file", folder / "glance-api.conf", "db", "sync"]
        syncs = [pool.submit(_run, folder, command) for command in (cinder, glance)]
        for sync in syncs:
            sync.result()
    _wait(folder, "1-rabbitmq", lambda: listens(ports["rabbitmq"]))
    for name in list(commands)[2:]:
        spawn(name)
    _wait(folder, "2-glance", lambda: listens(ports["glance"]))
    _wait(folder, "3-cinder-api", lambda: listens(ports["cinder"]))
    _prepare(Lab(folder, ports, scenario, 0))


def _install(folder: Path, plugin: Path) -> None:
    """Into a folder that the lab's processes look into, without a network; the build writes beside a copy."""
    source = shutil.copytree(plugin, folder / "source" / plugin.name)
    options = ["--no-deps", "--no-build-isolation", "--no-index", "--target", folder / "plugins"]
    _run(folder, [sys.executable, "-m", "pip", "install", *options, source])


def listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True


def _wait(folder: Path, name: str, ready: Callable[[], bool]) -> None:
    end = time.monotonic() + START_S
    while not ready():
        pid = int((folder / "pids" / name).read_text())
        ended = os.waitpid(pid, os.WNOHANG) != (0, 0)
        if ended or time.monotonic() > end:
            log = (folder / "logs" / f"{name}.out").read_text(errors="replace")
            raise Broken(f"{name} {'ended' if ended else 'does not answer'}:\n{log[-3000:]}")
        time.sleep(0.1)


def _prepare(lab: Lab) -> None:
    """Volume types, users' quotas, and reports of all pools to the scheduler."""
    volume = lab.block_storage()
    for name in lab.scenario.tiers:
        body = {"volume_type": {"name": name, "extra_specs": {"volume_backend_name": name}}}
        _accepted(volume.post("/types", json=body, raise_exc=False))
    quota = {"quota_set": {"volumes": -1, "gigabytes": -1}}
    _accepted(volume.put("/os-quota-sets/lab", json=quota, raise_exc=False))
    ready(lab)


def ready(lab: Lab) -> None:
    """Waits until the scheduler and all cinder-volumes listen, and all pools have reported."""
    volume, expected = lab.block_storage(), len(lab.scenario.backends)
    topics = [("3-cinder-scheduler", "cinder-scheduler")]
    for node, names in conf.nodes(lab.scenario).items():
        for name in names:
            topics.append((f"4-cinder-volume-{node}", f"cinder-volume.{conf.host(lab.scenario, node, name)}"))
    for server, topic in topics:  # a call before the server listens would wait for a minute
        _wait(lab.folder, server, partial(consumed, lab, topic))

    def reported() -> bool:
        return len(volume.get("/scheduler-stats/get_pools").json().get("pools", [])) == expected

    _wait(lab.folder, "3-cinder-scheduler", reported)


def consumed(lab: Lab, topic: str) -> bool:
    """Whether a server takes messages from the queue of a topic."""
    with kombu.Connection(lab.broker) as connection, connection.channel() as channel:
        try:
            return bool(channel.queue_declare(topic, passive=True).consumer_count)
        except connection.channel_errors:
            return False


def _accepted(answer: Any) -> None:
    if not answer.ok:
        raise Broken(f"cinder-api refuses {answer.request.method} {answer.url}: {answer.text}")
