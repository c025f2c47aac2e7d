"""What every benchmark here needs: processes measured from outside, medians of repeats, and tables in Markdown."""

import os
import pathlib
import shutil
import statistics
import subprocess
import sys
import tempfile

# For whoever allocates by glibc: large pages, where the kernel gives them on request.
LARGE_PAGES = {"GLIBC_TUNABLES": "glibc.malloc.hugetlb=1"}

REPOSITORY = pathlib.Path(__file__).resolve().parent.parent


class Missing(Exception):
    """Something a benchmark needs is not here; says what and how to get it."""


class Run:
    """A finished process: seconds by the wall and by the processors, peak memory in MB, and what it printed."""

    def __init__(self, wall, cpu, rss, printed):
        self.wall, self.cpu, self.printed = wall, cpu, printed
        self.rss = rss / 1000 if sys.platform == "linux" else rss / 1e6


def run(command, env=None):
    """Runs a command to its end; one that fails is an error."""
    command = [str(part) for part in command]
    with tempfile.TemporaryFile() as out, tempfile.NamedTemporaryFile("r") as took:
        spawn = [sys.executable, "-E", "-S", str(REPOSITORY / "benches/spawn.py"), took.name]
        subprocess.run([*spawn, *command], stdout=out, env={**os.environ, **LARGE_PAGES, **(env or {})}, check=True)
        wall, cpu, rss, code = (float(text) for text in took.read().split())
        if code:
            raise RuntimeError(f"{' '.join(command)}: exit code {code:.0f}")
        out.seek(0)
        return Run(wall, cpu, rss, out.read())


def interleaved(programs, repeats, say=lambda text: print(text, file=sys.stderr, flush=True)):
    """Calls every program once per repeat, one after the other: what slows the machine for a while slows them all. Programs by name; results by name, in order."""
    results = {name: [] for name in programs}
    for repeat in range(repeats):
        for name, program in programs.items():
            say(f"  {repeat + 1}/{repeats} {name}")
            results[name].append(program())
    return results


def median(values):
    return statistics.median(values)


def spread(values, digits=2):
    """`median [smallest-largest]`."""
    middle, low, high = (f"{value:.{digits}f}" for value in (median(values), min(values), max(values)))
    return middle if len(values) == 1 else f"{middle} [{low}-{high}]"


def ratio(theirs, ours):
    value = theirs / ours
    return f"{value:.1f}x" if value < 100 else f"{value:.0f}x"


def table(head, rows):
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    lines += ["| " + " | ".join(str(cell) for cell in row) + " |" for row in rows]
    return "\n".join(lines)


def runtape():
    """The release build, or the program that `RUNTAPE` names."""
    program = pathlib.Path(os.environ.get("RUNTAPE", REPOSITORY / "target/release/runtape"))
    if not program.exists():
        raise Missing(f"{program} is not there: build it with `cargo build --release`")
    return program.resolve()


def tool(name, package):
    path = shutil.which(name)
    if path is None:
        raise Missing(f"{name} is not installed: `apt-get install {package}`")
    return path


def crate(name):
    """A program of `benches/peers/crates`, built on the first call and whenever its sources changed."""
    manifest = REPOSITORY / "benches/peers/crates/Cargo.toml"
    target = work("crates")
    subprocess.run(
        ["cargo", "build", "--release", "--quiet", "--locked", "--manifest-path", manifest, "--target-dir", target], check=True
    )
    return target / "release" / name


def work(name):
    """A directory for what a benchmark makes, kept for the next time."""
    path = pathlib.Path(os.environ.get("RUNTAPE_BENCH_DIR", REPOSITORY / "target/benches")) / name
    path.mkdir(parents=True, exist_ok=True)
    return path


def python(requirements, packages):
    """A Python of its own with some packages, in the versions of a requirements file, installed once."""
    home = work("venv")
    pinned = [line for line in requirements.read_text().split() if line.split("==")[0] in packages]
    program, done = home / "bin/python3", home / "installed"
    have = done.read_text().split() if done.exists() else []
    if not set(pinned) <= set(have):
        subprocess.run([sys.executable, "-m", "venv", home], check=True)
        subprocess.run([program, "-m", "pip", "install", "-q", *pinned], check=True)
        done.write_text("\n".join(sorted({*have, *pinned})))
    return program


def machine():
    """One line about where this was measured."""
    model = "unknown processor"
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            model = next(line.split(":", 1)[1].strip() for line in file if line.startswith("model name"))
    except (OSError, StopIteration):
        pass
    return f"{os.cpu_count()} processors ({model}), {os.uname().sysname} {os.uname().release}"


def main(call):
    """Runs a benchmark; what is missing is said without a trace."""
    try:
        call()
    except Missing as missing:
        sys.exit(str(missing))
