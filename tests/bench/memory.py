"""Memory of a process; apart from paired.py, which loads torch."""

from pathlib import Path


def peak_bytes() -> int:
    """Most memory that this process has held so far (resident); `ru_maxrss` would be that of the process that started
    it, if that held more."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * int(next(line.split()[1] for line in lines if line.startswith("VmHWM:")))
