"""`python -m tests.bench [NAME]`: paired measurements, written between the marks of docs/performance.md.

A bench is a module of this folder with a function `report(device) -> str`: Markdown without a heading.
"""

import argparse
import importlib
import importlib.util
import os
import platform
import re
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import torch

NAMES = (
    "orchestration", "sharing", "scheduling", "swinir", "dists", "metric_fit", "data", "judging", "packing",
    "aggregate_full", "start_up",
)  # fmt: skip
"""In the order of docs/performance.md."""
ON_GPU = ("swinir", "dists", "metric_fit", "data", "judging")
"""Those that differ on a GPU."""
DOCUMENT = Path("docs/performance.md")
PACKAGES = ("torch", "timm", "pyiqa", "spandrel", "ray", "mlflow", "numpy")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", choices=[*NAMES, []], help="all unless given")
    parser.add_argument("--device", default="cpu", help="cpu, or cuda for the benches that differ there")
    parser.add_argument("--print", action="store_true", help="print only: leave the document as it is")
    given = parser.parse_args()
    names = given.names or (NAMES if given.device == "cpu" else ON_GPU)
    if len(names) > 1:  # each in a process of its own: memory and threads of one are none of another's business
        for name in names:
            print(f"{name} ...", flush=True)
            more = ["--print"] if given.print else []
            subprocess.run([sys.executable, "-m", "tests.bench", name, "--device", given.device, *more], check=True)
        return
    found = importlib.import_module(f"tests.bench.{names[0]}").report(given.device)
    section = f"`python -m tests.bench {names[0]}` on {machine(given.device)}\n\n{found.strip()}"
    print(section)
    if not given.print:
        replace(f"{names[0]} on {given.device}", section)


def machine(device: str) -> str:
    """What it runs on and with."""
    cores = len(os.sched_getaffinity(0))
    name = torch.cuda.get_device_name() if device.startswith("cuda") else f"{cores} cores ({_processor()})"
    found = ", ".join(f"{package} {version(package)}" for package in PACKAGES if _installed(package))
    return f"{name}, Python {platform.python_version()}, {found}."


def replace(name: str, text: str, file: Path = DOCUMENT) -> None:
    """Puts text between the marks of a bench; those of a GPU are made behind those of the CPU."""
    begin, end = f"<!-- bench: {name} -->", f"<!-- end of {name} -->"
    document = file.read_text(encoding="utf-8")
    if begin not in document:
        on_cpu = f"<!-- end of {name.split(' on ')[0]} on cpu -->"
        document = document.replace(on_cpu, f"{on_cpu}\n\n{begin}\n{end}")
    if begin not in document or end not in document:
        raise SystemExit(f"{file}: has no lines {begin} and {end} to write between")
    pattern = f"{re.escape(begin)}.*{re.escape(end)}"
    document = re.sub(pattern, lambda _: f"{begin}\n\n{text}\n\n{end}", document, flags=re.DOTALL)
    file.write_text(document, encoding="utf-8")


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.machine())


def _installed(package: str) -> bool:
    return importlib.util.find_spec(package) is not None


if __name__ == "__main__":
    main()
