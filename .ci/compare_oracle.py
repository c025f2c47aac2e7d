#!/usr/bin/env python3
"""compare_oracle.py RUNTAPE ORACLE_DIR DATA_DIR [SEEDS]: replays logs with the program and with an independent fold of the same specification and
compares every field and decision of the consumers the program has; prints how many values were compared."""
import json, math, subprocess, sys, tempfile
from pathlib import Path

binary, oracle, data = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])
seeds = int(sys.argv[4]) if len(sys.argv) > 4 else 20
compared, wrong = 0, []


def same(a, b):
    if isinstance(a, bool) or isinstance(b, bool) or a is None or b is None or isinstance(a, str):
        return a == b
    return math.isclose(a, b, rel_tol=1e-9, abs_tol=1e-12)


def check(where, want, got):
    """Every leaf of `want` that `got` has a branch for."""
    global compared
    if isinstance(want, dict):
        for key, value in want.items():
            if isinstance(got, dict) and key in got:
                check(f"{where}/{key}", value, got[key])
            elif isinstance(got, dict) and where.endswith("lines"):
                wrong.append(f"{where}/{key}: {value} is missing")
        return
    compared += 1
    if not same(want, got):
        wrong.append(f"{where}: want {want}, got {got}")


def run(*args):
    return subprocess.run([binary, "replay", *args], check=True, capture_output=True, text=True).stdout


def compare(name, folder, want):
    global compared
    got = json.loads(run("--events", str(folder), "-o", "json"))
    if set(want["agents"]) != set(got["agents"]):
        wrong.append(f"{name}: agents differ: {set(want['agents']) ^ set(got['agents'])}")
    decisions = want.pop("decisions")
    check(name, want, got)
    lines = [json.loads(line) for line in run("--events", str(folder), "--decisions", "-o", "jsonl").splitlines()]
    have = {line["consumer"] for line in lines} | {"quarantine"} | ({"gates"} if any("gate" in a for a in got["agents"].values()) else set())
    want_list = [(d["cause"], d["consumer"], d["subject"], d["verdict"]) for d in decisions if d["consumer"] in have]
    got_list = [(d["cause"], d["consumer"], d["subject"], d["verdict"]) for d in lines if d["consumer"] in {"quarantine", "gates"} and d["subject_kind"] == "agent"]
    compared += len(want_list)
    if want_list != got_list:
        wrong.append(f"{name}: decisions differ: first {next(((a, b) for a, b in zip(want_list + [None], got_list + [None]) if a != b), None)}")


for log in ("one", "three"):
    compare(log, data / "real-agents" / log, json.loads((data / "real-agents" / f"{log}.expected.json").read_text()))
for seed in range(1, seeds + 1):
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([sys.executable, str(oracle / "make_vectors.py"), str(seed), folder], check=True)
        streams = sorted(str(p) for p in Path(folder).glob("*.jsonl"))
        want = json.loads(subprocess.run([sys.executable, str(oracle / "fold.py"), *streams], check=True, capture_output=True, text=True).stdout)
        compare(f"seed {seed}", folder, want)
print(f"compared {compared} values over 2 logs and {seeds} seeds: {len(wrong)} differ")
for line in wrong[:40]:
    print(" ", line)
sys.exit(1 if wrong or compared < 1000 else 0)
