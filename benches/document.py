"""Runs benchmarks and writes what they print into docs/performance.md, between the marks of each part. Without arguments all parts, else those named; one that
fails leaves its part as it was, and is told at the end."""

import pathlib
import subprocess
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
PAGE = HERE.parent / "docs/performance.md"

PARTS = {
    "replay": ["peers/replay/run.py", "--repeats", "3"],
    "live": ["peers/live/run.py"],
    "scrape": ["peers/scrape/run.py"],
    "append": ["peers/append/run.py"],
    "agents": ["scale/run.py", "agents"],
    "windows": ["scale/run.py", "windows"],
    "size": ["scale/run.py", "size", "--sizes", "0.1", "1", "10"],
    "restart": ["scale/run.py", "restart", "--restart-size", "10"],
    "files": ["scale/run.py", "files"],
}

# A part that takes longer has gone wrong. The first call also builds and writes logs.
LIMIT = 900


def replaced(page, part, table):
    begin, end = f"<!-- {part} -->\n", f"<!-- end of {part} -->\n"
    if begin not in page or end not in page:
        raise ValueError(f"{PAGE} has no marks for {part}")
    before, rest = page.split(begin, 1)
    _, after = rest.split(end, 1)
    return f"{before}{begin}{table.strip()}\n{end}{after}"


def main():
    given = sys.argv[1:] or list(PARTS)
    unknown = [part for part in given if part not in PARTS]
    if unknown:
        sys.exit(f"no part {unknown[0]}; there are {', '.join(PARTS)}")
    failed = []
    for part in given:
        script, *arguments = PARTS[part]
        print(f"{part}: {script} {' '.join(arguments)}", file=sys.stderr, flush=True)
        start = time.monotonic()
        try:
            done = subprocess.run(
                [sys.executable, HERE / script, *arguments], stdout=subprocess.PIPE, text=True, check=True, timeout=LIMIT
            )
        except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
            failed.append(f"{part}: {error}")
            continue
        PAGE.write_text(replaced(PAGE.read_text(), part, done.stdout))
        print(f"{part}: done in {time.monotonic() - start:.0f} s", file=sys.stderr, flush=True)
    if failed:
        sys.exit("\n".join(failed))


main()
