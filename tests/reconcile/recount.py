"""recount.py DIR: signals and prices of a directory to realized profit, as plainly as can be: every signal looks through all prices after it.
Prints one JSON object per signal that is closed, by run_id."""
import json
import sys
from datetime import datetime
from pathlib import Path

FEE, SLIPPAGE, HORIZON, STOP = 1.5, 0.5, 6 * 3600.0, 60.0


def seconds(text):
    return datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()


def read(name):
    path = Path(sys.argv[1]) / f"{name}.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()]


# The order of the tape: by time, then by name of the stream.
events = sorted([(seconds(a["ts"]), "alpha", n, a) for n, a in enumerate(read("alpha"))]
                + [(seconds(p["ts"]), "prices", n, p) for n, p in enumerate(read("prices"))], key=lambda e: e[:3])
for place, (signal_time, kind, _, signal) in enumerate(events):
    side = {"LONG": 1, "SHORT": -1}.get(signal.get("direction", "").upper(), 0)
    if kind != "alpha" or side == 0:
        continue
    entry = leave = None
    for time, kind, _, event in events[place + 1:]:
        if event["symbol"] != signal["symbol"]:
            continue
        if kind == "alpha":
            other = {"LONG": 1, "SHORT": -1}.get(event["direction"].upper(), 0)
            if event["agent"] == signal["agent"] and other != side and leave is None:
                if entry is None:
                    break
                leave = time
            continue
        if entry is None:
            entry = (time, event["price"])
            continue
        gross = side * (event["price"] / entry[1] - 1) * 1e4
        if leave is not None or gross <= -STOP or time >= entry[0] + HORIZON:
            print(json.dumps({"run_id": signal["run_id"], "entry_price": entry[1], "exit_price": event["price"],
                              "realized_pnl_bps": gross - 2 * (FEE + SLIPPAGE), "agent": signal["agent"], "notional_usd": signal["notional_usd"]}))
            break
