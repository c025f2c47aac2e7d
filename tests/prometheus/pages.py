"""pages.py TEXT OPENMETRICS: reads both pages of one moment with the parsers of the Prometheus project and prints, as JSON,
how many samples they share, where they differ, and every exemplar."""
import json
import sys

from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics
from prometheus_client.parser import text_string_to_metric_families as text

# What the process itself takes at the moment of a page.
TAKEN = {("limit", name) for name in ("memory_bytes", "descriptors", "connections", "address_connections", "bodies_kib")}
# These move between one page and the next.
MOVING = ("runtape_scrape_seconds", "runtape_fold_seconds", "runtape_consumer_lag_seconds", "runtape_durable_position", "runtape_disk_free_bytes", "runtape_consumer_snapshot_position")


def samples(families):
    found, exemplars = {}, []
    for family in families:
        for sample in family.samples:
            key = (sample.name, tuple(sorted(sample.labels.items())))
            assert key not in found, f"{key} twice"
            found[key] = sample.value
            if sample.exemplar:
                exemplar = sample.exemplar
                exemplars.append({"name": sample.name, "labels": sample.labels, "exemplar": exemplar.labels, "value": exemplar.value})
    return {key: value for key, value in found.items() if not key[0].startswith(MOVING) and not TAKEN.intersection(key[1])}, exemplars


plain, none = samples(text(open(sys.argv[1], encoding="utf-8", newline="").read()))
assert not none
full, exemplars = samples(openmetrics(open(sys.argv[2], encoding="utf-8", newline="").read()))
json.dump(
    {
        "same": sum(plain.get(key) == value for key, value in full.items()),
        "differ": [str(key) for key, value in full.items() if plain.get(key) != value],
        "text_only": sorted({key[0] for key in plain.keys() - full.keys()}),
        "agents": sorted({dict(labels)["agent"] for _, labels in full if "agent" in dict(labels)}),
        "streams": sorted({dict(labels)["stream"] for _, labels in full if "stream" in dict(labels)}),
        "exemplars": exemplars,
    },
    sys.stdout,
)
