"""What schemathesis cannot know of the API: how lines are written, and that a wait for what never comes takes its full time."""
import json

import schemathesis


@schemathesis.serializer("application/x-ndjson")
def ndjson(ctx, value):
    if isinstance(value, bytes):
        return value
    lines = value if isinstance(value, list) else [value]
    return "\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines).encode("utf-8", "surrogatepass")


@schemathesis.hook
def before_call(ctx, case, kwargs):
    wait = (case.query or {}).get("wait")
    if str(wait).isdigit() and 0 < int(wait) <= 2**53:
        case.query["wait"] = 0
