"""schemas.py DASHBOARD...: reads dashboards through the classes that Grafana generates from its own schemas, and prints what does not come back."""
import json
import sys

from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models.dashboard import Dashboard

# Kept by Grafana beside the query, and in no schema.
UNKNOWN = {"definition"}
register_default_plugins()
compared = 0


def lost(have, read, path):
    global compared
    if isinstance(have, dict):
        for key, value in have.items():
            if key in UNKNOWN or value in ({}, [], "", None, False):
                continue
            if not isinstance(read, dict) or key not in read:
                yield f"{path}/{key} is in no schema"
            else:
                yield from lost(value, read[key], f"{path}/{key}")
    elif isinstance(have, list):
        if not isinstance(read, list) or len(have) != len(read):
            yield f"{path} has another length"
        else:
            for index, pair in enumerate(zip(have, read)):
                yield from lost(*pair, f"{path}[{index}]")
    else:
        compared += 1
        if have != read:
            yield f"{path}: {have!r} comes back as {read!r}"


found = []
for name in sys.argv[1:]:
    with open(name) as file:
        board = json.load(file)
    found += lost(board, json.loads(json.dumps(Dashboard.from_json(board), cls=JSONEncoder)), name)
print(f"{compared} values compared")
sys.exit("\n".join(found) or 0)
