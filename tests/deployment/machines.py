"""Machines that boot: systemd containers on one bridge, made from one cached tree of Debian packages. Needs root.

A stand-in for the Ubuntu image: systemd as PID 1, networkd, the packages a node installs (so that booting needs no network), and
cloud-init's one file that a node reads. The data volume is a folder of the host, mounted where the node expects it.
"""

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "quantcloud" / "nodes"
DEBIAN = "http://deb.debian.org/debian"
IMAGE = "systemd-sysv,dbus,ca-certificates,iproute2,procps,libpam-systemd"
PACKAGES = (
    "python3 python3-venv python3-boto3 unzip sqlite3 jq curl openssl logrotate nginx-light redis-server postgresql chrony "
    "certbot python3-certbot-dns-route53 gpg"
)
DATA = "/var/lib/quantcloud"
BOOT_WITHIN_S = 60.0
# Machines that shared a control group would take each other's units for their own.
_OWN_GROUP = """
for hierarchy in /sys/fs/cgroup /sys/fs/cgroup/systemd /sys/fs/cgroup/unified; do
    [ -e $hierarchy/cgroup.procs ] || continue
    mkdir -p $hierarchy/quantcloud-$0
    echo $$ > $hierarchy/quantcloud-$0/cgroup.procs
done
exec "$@"
"""


class MachineFailed(AssertionError):
    """What was run, how it ended, what it said."""


def run(*command: str, timeout: float = 60.0) -> str:
    done = subprocess.run(command, capture_output=True, text=True, timeout=timeout, check=False)
    if done.returncode:
        raise MachineFailed(f"{' '.join(command)}: exit code {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout


def base_tree() -> Path:
    """Made once, some minutes, and kept outside the repository."""
    base, marker = CACHE / "base", CACHE / "base.made"
    if not marker.exists():
        shutil.rmtree(base, ignore_errors=True)
        CACHE.mkdir(parents=True, exist_ok=True)
        run("debootstrap", "--variant=minbase", f"--include={IMAGE}", "bookworm", str(base), DEBIAN, timeout=1200)
        _install(base)
        _as_an_image(base)
        marker.touch()
    return base


def _install(base: Path) -> None:
    """Without starting what is installed."""
    policy = base / "usr/sbin/policy-rc.d"
    policy.write_text("#!/bin/sh\nexit 101\n")
    policy.chmod(0o755)
    shutil.copy("/etc/resolv.conf", base / "etc/resolv.conf")
    install = ("apt-get", "-o", "Acquire::Retries=5", "install", "-q", "-y", "--no-install-recommends", *PACKAGES.split())
    run("chroot", str(base), "env", "DEBIAN_FRONTEND=noninteractive", *install, timeout=1200)
    policy.unlink()


def _as_an_image(base: Path) -> None:
    """As a cloud image: the network by networkd, and none of the packages' own servers running."""
    run("systemctl", f"--root={base}", "enable", "systemd-networkd.service")
    run("systemctl", f"--root={base}", "disable", "redis-server.service", "nginx.service", "postgresql.service", "certbot.timer")
    run("systemctl", f"--root={base}", "mask", "console-getty.service", "systemd-networkd-wait-online.service")
    (base / "etc/machine-id").write_text("")


class Bridge:
    def __init__(self, name: str, address: str) -> None:
        self.name, self.address = name, address

    def __enter__(self) -> "Bridge":
        with suppress(MachineFailed):
            run("ip", "link", "del", self.name)
        run("ip", "link", "add", self.name, "type", "bridge")
        run("ip", "address", "add", f"{self.address}/20", "dev", self.name)
        run("ip", "link", "set", self.name, "up")
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(MachineFailed):
            run("ip", "link", "del", self.name)


class Machine:
    """``environment``: what every unit is given beside its own, as an image made for the AWS double would have it."""

    def __init__(self, name: str, address: str, bridge: Bridge, folder: Path, environment: Mapping[str, str]) -> None:
        self.name, self.address, self._bridge = name, address, bridge
        self._folder = folder / name
        self.root = self._folder / "root"
        self.data = self._folder / "data"
        self._environment = environment
        self._nspawn: subprocess.Popen[bytes] | None = None

    def make(self) -> None:
        """A new disk on top of the cached tree, and an empty data volume."""
        for part in ("upper", "work", "root", "data"):
            (self._folder / part).mkdir(parents=True)
        layers = f"lowerdir={base_tree()},upperdir={self._folder / 'upper'},workdir={self._folder / 'work'}"
        run("mount", "-t", "overlay", "overlay", "-o", layers, str(self.root))
        network = f"[Match]\nName=host0\n[Network]\nAddress={self.address}/20\nGateway={self._bridge.address}\n"
        words = " ".join(f'"{name}={value}"' for name, value in self._environment.items())
        self._write("etc/systemd/network/10-host0.network", network)
        self._write("etc/systemd/system.conf.d/double.conf", f"[Manager]\nDefaultEnvironment={words}\n")
        self._write("var/lib/cloud/data/instance-id", f"i-{self.name}\n")
        self._write("etc/hostname", f"{self.name}\n")
        self._write("etc/resolv.conf", "")  # no name can be asked for, and that is known at once
        self._write("etc/hosts", f"127.0.0.1 localhost\n{self._bridge.address} double\n")

    def _write(self, path: str, text: str) -> None:
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.unlink(missing_ok=True)
        file.write_text(text)

    def start(self, *, whole: bool = True) -> None:
        """Returns when it is up; not ``whole``: as soon as something can be run in it."""
        command = [
            "systemd-nspawn",
            "--quiet",
            "--directory",
            str(self.root),
            "--machine",
            self.name,
            "--register=no",
            "--keep-unit",
        ]
        command += ["--network-bridge", self._bridge.name, "--bind", f"{self.data}:{DATA}", "--boot"]
        console = (self._folder / "console.log").open("ab")
        with console:
            grouped = ["bash", "-ec", _OWN_GROUP, self.name, *command]
            self._nspawn = subprocess.Popen(grouped, stdin=subprocess.DEVNULL, stdout=console, stderr=console)
        self.until("it is up", (lambda: self.is_settled) if whole else (lambda: bool(self._state())), BOOT_WITHIN_S)

    @property
    def is_settled(self) -> bool:
        """Everything that is to start has started."""
        return self._state() in ("running", "degraded")

    def _state(self) -> str:
        """Empty where there is nobody to ask yet. The command's exit code is another for each state."""
        return self.try_run("bash", "-c", "systemctl is-system-running || true").strip()

    def stop(self) -> None:
        """As a power cut would, when it does not go by itself."""
        if self._nspawn is not None:
            with suppress(MachineFailed, subprocess.TimeoutExpired):
                self.run("systemctl", "poweroff", timeout=10)
            try:
                self._nspawn.wait(30)
            except subprocess.TimeoutExpired:
                self._nspawn.kill()
                self._nspawn.wait()
            self._nspawn = None

    def remove(self) -> None:
        self.stop()
        with suppress(MachineFailed):
            run("umount", str(self.root))
        for hierarchy in ("/sys/fs/cgroup", "/sys/fs/cgroup/systemd", "/sys/fs/cgroup/unified"):
            group = Path(hierarchy) / f"quantcloud-{self.name}"
            for folder in sorted(group.rglob("*/"), reverse=True) if group.exists() else ():
                with suppress(OSError):
                    folder.rmdir()
            with suppress(OSError):
                group.rmdir()

    @property
    def is_off(self) -> bool:
        return self._nspawn is not None and self._nspawn.poll() is not None

    def reboot(self) -> None:
        """As ``systemctl reboot`` in it; returns when it is up again."""
        with suppress(MachineFailed):
            self.run("systemctl", "reboot", timeout=30)
        if self._nspawn is not None:
            self._nspawn.wait(60)
        self.start()

    def _leader(self) -> int | None:
        if self._nspawn is None or self._nspawn.poll() is not None:
            raise MachineFailed(f"{self.name} is not running: see {self._folder / 'console.log'}")
        children = Path(f"/proc/{self._nspawn.pid}/task/{self._nspawn.pid}/children").read_text().split()
        return int(children[0]) if children else None

    def run(self, *command: str, timeout: float = 60.0) -> str:
        """In the machine, as root. Raises MachineFailed."""
        leader = self._leader()
        if leader is None:
            raise MachineFailed(f"{self.name} is between two boots")
        plain = ("env", "-i", "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root")
        return run("nsenter", "-t", str(leader), "-m", "-u", "-i", "-n", "-p", *plain, *command, timeout=timeout)

    def try_run(self, *command: str) -> str:
        with suppress(MachineFailed, subprocess.TimeoutExpired):
            return self.run(*command)
        return ""

    def as_unit(self, *command: str, timeout: float = 900.0) -> str:
        """As the agents of AWS run things: a unit of its own; what it said. Raises MachineFailed with that."""
        try:
            return self.run("systemd-run", "--quiet", "--wait", "--pipe", "--collect", *command, timeout=timeout)
        except MachineFailed as error:
            raise MachineFailed(f"{self.name}: {error}") from None

    def kill(self, unit: str, number: signal.Signals = signal.SIGKILL) -> None:
        """Its main process: as an out-of-memory kill would, or with another signal."""
        self.run("systemctl", "kill", "--kill-whom=main", f"--signal={number.value}", unit)

    def main_pid(self, unit: str) -> int:
        return int(self.run("systemctl", "show", "--property=MainPID", "--value", unit) or 0)

    def failed_units(self) -> list[str]:
        lines = self.run("systemctl", "list-units", "--failed", "--plain", "--no-legend").splitlines()
        return [line.split()[0] for line in lines]

    def until(self, what: str, condition: Callable[[], bool], within_s: float = 30.0) -> None:
        ends = time.monotonic() + within_s
        while not condition():
            if time.monotonic() > ends:
                raise MachineFailed(f"{self.name}: not within {within_s:.0f} s: {what}")
            time.sleep(0.1)
