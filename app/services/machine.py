"""Facts about this machine for the first page and the doctor."""

from __future__ import annotations

import platform
import shutil
import subprocess
from dataclasses import dataclass
from functools import cache
from pathlib import Path


@dataclass(frozen=True, slots=True)
class MachineFacts:
    """Chip and system in words; memory and free disk in bytes."""

    chip: str
    system: str
    memory: int
    available_memory: int
    free_disk: int


def machine_facts(folder: Path | None = None) -> MachineFacts:
    """This machine now; `folder` names the disk that counts (the home folder by default)."""
    import psutil

    memory = psutil.virtual_memory()
    return MachineFacts(
        chip=chip_name(),
        system=f"{platform.system().replace('Darwin', 'macOS')} {_release()}",
        memory=memory.total,
        available_memory=memory.available,
        free_disk=shutil.disk_usage(folder or Path.home()).free,
    )


@cache
def chip_name() -> str:
    """The processor's name, as the system's own window shows it."""
    if platform.system() == "Darwin":
        command = ["/usr/sbin/sysctl", "-n", "machdep.cpu.brand_string"]
        try:
            return subprocess.run(command, capture_output=True, text=True, timeout=2).stdout.strip()
        except (OSError, subprocess.TimeoutExpired):
            return platform.machine()
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def _release() -> str:
    return platform.mac_ver()[0] or platform.release()
