#!/usr/bin/env python3
"""make.py [--check]: writes the dashboards beside it from the panels below; with --check says which file differs (exit 1).

A panel is one line: what it shows, its unit, and its queries with their legends. Everything that all panels share (data
source, job and instance, links from an exemplar to its run) stands once, at the end."""
import json
import sys
from pathlib import Path

HERE = Path(__file__).parent
SOURCE = {"type": "prometheus", "uid": "${DS_PROMETHEUS}"}
RECORDER = 'job=~"$job",instance=~"$instance"'
AGENT = RECORDER + ',agent=~"$agent"'


def q(expr, legend="{{agent}}", **more):
    """A query; A stands for the labels of the chosen agents, R for those of the recorder."""
    return {"expr": expr.replace("{A}", "{" + AGENT + "}").replace("A,", AGENT + ",").replace("{R}", "{" + RECORDER + "}").replace("R,", RECORDER + ","), "legend": legend, **more}


def panel(kind, title, says, unit, *queries, w=8, h=8, **more):
    return {"kind": kind, "title": title, "says": says, "unit": unit, "queries": queries, "w": w, "h": h, **more}


def p95(histogram, span):
    return f"histogram_quantile(0.95, sum by (agent, le) (rate({histogram}_bucket{{A}}[{span}])))"


AGENTS = [
    "What they do",
    panel("timeseries", "Runs per second by agent", "Runs recorded, averaged over five minutes.", "ops", q("sum by (agent) (rate(agent_runs_total{A}[5m]))", exemplar=True)),
    panel("timeseries", "Error rate", "Share of failed runs among the runs of the last five minutes.", "percentunit",
          q("sum by (agent) (rate(agent_errors_total{A}[5m])) / sum by (agent) (rate(agent_runs_total{A}[5m]))"), max=1),
    panel("timeseries", "Latency p95 [15m]", "95 % of the runs of the last 15 minutes were at most so slow.", "ms", q(p95("agent_latency_ms", "15m"), exemplar=True)),
    panel("timeseries", "Cost p95 [15m]", "95 % of the runs of the last 15 minutes cost at most so much.", "currencyUSD", q(p95("agent_cost_usd", "15m"), exemplar=True)),
    panel("timeseries", "Last reward", "Reward of the newest run that has one.", "short", q("agent_last_reward{A}")),
    panel("timeseries", "Last cost", "Cost of the newest run.", "currencyUSD", q("agent_last_cost_usd{A}")),
    panel("timeseries", "Last latency for $agent", "Latency of the newest run.", "ms", q("agent_last_latency_ms{A}")),
    panel("timeseries", "Tokens per second", "Tokens in and out, averaged over five minutes.", "short",
          q("sum by (agent, direction) (rate(agent_tokens_total{A}[5m]))", "{{agent}} {{direction}}")),
    panel("timeseries", "Silent for", "Time since the newest line of an agent.", "s", q("time() - agent_last_event_timestamp_seconds{A}")),
    "What they earn",
    panel("timeseries", "Sharpe of rewards", "Mean by deviation of the rewards in the window, per run; below the floor of the policy an agent is quarantined.", "short", q("agent_reward_sharpe{A}")),
    panel("timeseries", "Drawdown of rewards", "How far the sum of rewards lies below its peak, within the window.", "short", q("agent_reward_drawdown{A}")),
    panel("state-timeline", "Quarantine", "1 while an agent is quarantined.", "short", q("agent_quarantined{A}"), states={"0": ("free", "green"), "1": ("quarantined", "red")}),
    panel("timeseries", "Confidence", "By how much losses have cut the size of an agent.", "percentunit", q("agent_confidence_multiplier{A}"), max=1),
    panel("timeseries", "PnL of the window", "Sum of the realized PnL of the runs in the window.", "short", q("agent_rolling_pnl_bps{A}"), suffix=" bps"),
    panel("timeseries", "Sharpe of PnL", "Mean by deviation of the PnL of the runs in the window, per run.", "short", q("agent_pnl_bps_sharpe{A}")),
]

CONTROL = [
    "Who may trade",
    panel("bargauge", "Verdicts", "How many agents the desk allows, denies, or has on hold.", "short", q("sum by (verdict) (agent_verdict{A})", "{{verdict}}", instant=True), w=6),
    panel("bargauge", "Gate states", "How many agents stand where on the way to promotion.", "short", q("sum by (state) (agent_gate_state{A})", "{{state}}", instant=True), w=6),
    panel("state-timeline", "Verdict by agent", "0 denied or on hold, 1 allowed.", "short", q('agent_verdict{A,verdict="allow"}'), w=12, states={"0": ("not allowed", "red"), "1": ("allowed", "green")}),
    panel("timeseries", "Size", "What the size of an agent is multiplied by; 0 while it may not trade.", "percentunit", q("agent_size_multiplier{A}"), max=1),
    panel("timeseries", "Gate pass and fail rates", "Evaluations of the gates per second, by gate and result.", "ops",
          q("sum by (gate_type, result) (rate(agent_gate_evaluations_total{A}[5m]))", "{{gate_type}} {{result}}")),
    panel("timeseries", "Failure reasons", "Failed runs per second, by type of error.", "ops", q("sum by (error_type) (rate(agent_errors_total{A}[5m]))", "{{error_type}}")),
    panel("piechart", "Outcomes", "Runs of the last hour: succeeded, and failed by type of error.", "short",
          q("sum(increase(agent_runs_total{A}[1h])) - (sum(increase(agent_errors_total{A}[1h])) or vector(0))", "succeeded", instant=True),
          q("sum by (error_type) (increase(agent_errors_total{A}[1h]))", "{{error_type}}", instant=True)),
    panel("timeseries", "Checks denied by reason", "Orders that were asked about and denied, in each five minutes, by the first reason.", "short",
          q('sum by (reason) (increase(agent_checks_total{A,result="deny"}[5m]))', "{{reason}}")),
    panel("timeseries", "Runs per hour", "Runs of the last hour.", "short", q("sum by (agent) (increase(agent_runs_total{A}[1h]))")),
    "What it costs",
    panel("timeseries", "Daily spend", "What the fleet may still spend today, and what is reserved.", "currencyUSD",
          q("agent_budget_daily_usd{R} - agent_budget_remaining_usd{R}", "spent"), q("agent_budget_reserved_usd{R}", "reserved"), q("agent_budget_daily_usd{R}", "budget")),
    panel("gauge", "Budget utilisation", "Share of the day's budget that is spent or reserved.", "percentunit",
          q("1 - agent_budget_remaining_usd{R} / agent_budget_daily_usd{R}", "fleet", instant=True), max=1, steps=[(None, "green"), (0.8, "orange"), (0.98, "red")]),
    panel("timeseries", "Cost per run", "Mean cost of the runs of the last hour.", "currencyUSD",
          q("sum by (agent) (increase(agent_cost_usd_sum{A}[1h])) / (sum by (agent) (increase(agent_cost_usd_count{A}[1h])) > 0)")),
    panel("table", "Cost against reward", "What the runs of the last hour cost, and the mean reward of the window.", "short",
          q("sum by (agent) (increase(agent_cost_usd_total{A}[1h]))", "cost", instant=True, format="table"),
          q("sum by (agent) (agent_reward_mean{A})", "reward", instant=True, format="table")),
    panel("timeseries", "Utilisation of allocations", "Runs of the last 15 minutes by the runs that were given.", "percentunit",
          q("sum by (agent) (increase(agent_runs_total{A}[15m])) / (sum by (agent) (agent_allocation_runs{A}) > 0)")),
    panel("bargauge", "Durations", "Runs of the last hour by how long they took.", "short", q("sum by (le) (increase(agent_latency_ms_bucket{A}[1h]))", "{{le}} ms", instant=True, format="heatmap")),
]

RUNTAPE = [
    "Whether it keeps up",
    panel("stat", "Consumers", "1 for each consumer that folds; 0 for one that is down.", "short", q("runtape_consumer_up{R}", "{{consumer}}", instant=True), w=16, steps=[(None, "red"), (1, "green")]),
    panel("stat", "Parts failing", "What cannot be kept or read just now; see the runbook.", "short", q("sum by (part) (runtape_failing{R})", "{{part}}", instant=True), steps=[(None, "green"), (1, "red")]),
    panel("timeseries", "Lag", "How long a consumer has been behind the tape; beyond 5 s verdicts turn to hold.", "s", q("runtape_consumer_lag_seconds{R}", "{{consumer}}")),
    panel("timeseries", "Lines behind", "Lines on the tape that a consumer has not folded.", "short", q("runtape_consumer_lag_lines{R}", "{{consumer}}")),
    panel("timeseries", "Not durable yet", "Lines sealed whose sync is not known to be done.", "short", q("runtape_position{R} - runtape_durable_position{R}", "lines")),
    "What it reads",
    panel("timeseries", "Lines per second by stream", "Lines sealed, averaged over five minutes.", "ops", q("sum by (stream) (rate(runtape_lines_total{R}[5m]))", "{{stream}}")),
    panel("timeseries", "Rejects", "Malformed lines in each five minutes; rejects.jsonl says where and why.", "short", q("sum by (reason) (increase(runtape_malformed_lines_total{R}[5m]))", "{{reason}}")),
    panel("timeseries", "Duplicates, skewed, without agent", "Lines that were counted and not folded, or that moved no time, in each five minutes.", "short",
          q("increase(runtape_duplicates_total{R}[5m])", "duplicates"), q("increase(runtape_skewed_total{R}[5m])", "skewed"), q("increase(runtape_lines_without_agent_total{R}[5m])", "without agent")),
    panel("timeseries", "Waiting PnL", "Profits whose run has not been seen yet.", "short", q("runtape_waiting_pnl{R}", "waiting")),
    panel("timeseries", "Torn lines", "Bytes after the last newline of a stream: a line being written, or a writer that died.", "bytes", q("runtape_partial_line_bytes{R}", "{{stream}}")),
    panel("timeseries", "Files emptied or rewritten", "Content below what was sealed that is gone or different.", "short", q("sum by (reason) (increase(runtape_resets_total{R}[1h]))", "{{reason}}")),
    "What it takes",
    panel("timeseries", "Fold time p95", "Time to fold a batch of lines, by consumer.", "s", q("histogram_quantile(0.95, sum by (consumer, le) (rate(runtape_fold_seconds_bucket{R}[5m])))", "{{consumer}}")),
    panel("timeseries", "Scrape time p95", "Time to render a page of metrics.", "s", q("histogram_quantile(0.95, sum by (le) (rate(runtape_scrape_seconds_bucket{R}[5m])))", "scrape")),
    panel("timeseries", "Disk free", "Share of the file system that is still free, by what it holds.", "percentunit", q("runtape_disk_free_bytes{R} / runtape_disk_bytes{R}", "{{holds}}"), max=1),
    panel("timeseries", "Agents and files", "How many agents and files are known.", "short", q("runtape_agents{R}", "agents"), q("runtape_files{R}", "files")),
]


def query_of(index, query):
    out = {"datasource": SOURCE, "editorMode": "code", "expr": query["expr"], "legendFormat": query["legend"], "refId": chr(ord("A") + index)}
    out["instant" if query.get("instant") else "range"] = True
    out |= {key: query[key] for key in ("format", "exemplar") if key in query}
    return out


OPTIONS = {
    "timeseries": {"legend": {"displayMode": "table", "placement": "bottom", "showLegend": True, "calcs": ["lastNotNull", "max"]}, "tooltip": {"mode": "multi", "sort": "desc"}},
    "state-timeline": {"showValue": "never", "rowHeight": 0.85, "mergeValues": True, "legend": {"displayMode": "list", "placement": "bottom", "showLegend": True}, "tooltip": {"mode": "single"}},
    "bargauge": {"orientation": "horizontal", "displayMode": "gradient", "valueMode": "color", "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False}},
    "gauge": {"showThresholdMarkers": True, "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False}},
    "stat": {"colorMode": "background", "graphMode": "none", "textMode": "value_and_name", "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False}},
    "piechart": {"pieType": "donut", "legend": {"displayMode": "table", "placement": "right", "showLegend": True, "values": ["value", "percent"]}, "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False}},
    "table": {"showHeader": True, "cellHeight": "sm"},
}


def panel_of(ident, at, p):
    defaults = {"unit": p["unit"], "color": {"mode": "palette-classic"}, "mappings": [], "thresholds": {"mode": "absolute", "steps": [{"color": "green", "value": None}]}}
    if "suffix" in p:
        defaults["unit"] = "suffix:" + p["suffix"]
    if "max" in p:
        defaults |= {"min": 0, "max": p["max"]}
    if "steps" in p:
        defaults["thresholds"]["steps"] = [{"color": color, "value": value} for value, color in p["steps"]]
        defaults["color"] = {"mode": "thresholds"}
    if "states" in p:
        defaults["mappings"] = [{"type": "value", "options": {value: {"text": text, "color": color, "index": index} for index, (value, (text, color)) in enumerate(p["states"].items())}}]
    if p["kind"] == "timeseries":
        # A point that names the run behind it leads to its page.
        defaults["links"] = [{"title": "Run ${__data.fields.run_id}", "url": "${recorder}/runs/${__data.fields.run_id}", "targetBlank": True}] if any(q.get("exemplar") for q in p["queries"]) else []
        defaults["custom"] = {"drawStyle": "line", "lineWidth": 1, "fillOpacity": 8, "showPoints": "auto", "spanNulls": 300000}
    out = {
        "id": ident, "type": p["kind"], "title": p["title"], "description": p["says"], "datasource": SOURCE, "gridPos": {"x": at[0], "y": at[1], "w": p["w"], "h": p["h"]},
        "fieldConfig": {"defaults": defaults, "overrides": []}, "options": OPTIONS[p["kind"]], "targets": [query_of(*each) for each in enumerate(p["queries"])],
    }
    if p["kind"] == "table":
        renamed = {"Value #A": p["queries"][0]["legend"], "Value #B": p["queries"][1]["legend"]}
        out["transformations"] = [{"id": "merge", "options": {}}, {"id": "organize", "options": {"excludeByName": {"Time": True}, "renameByName": renamed, "indexByName": {}}}]
    return out


def laid_out(rows):
    panels, x, y, ident = [], 0, 0, 0
    for row in rows:
        ident += 1
        if isinstance(row, str):
            y += 8 if x else 0
            panels.append({"id": ident, "type": "row", "title": row, "collapsed": False, "gridPos": {"x": 0, "y": y, "w": 24, "h": 1}, "panels": []})
            x, y = 0, y + 1
            continue
        if x + row["w"] > 24:
            x, y = 0, y + 8
        panels.append(panel_of(ident, (x, y), row))
        x += row["w"]
    return panels


def choice(name, label, query):
    return {"name": name, "label": label, "type": "query", "datasource": SOURCE, "definition": query, "query": {"query": query, "refId": name}, "refresh": 2, "sort": 1,
            "multi": True, "includeAll": True, "allValue": ".+", "current": {"selected": True, "text": ["All"], "value": ["$__all"]}, "options": [], "hide": 0, "regex": "", "skipUrlSync": False}


def dashboard(uid, title, tags, rows, by):
    variables = [
        {"name": "DS_PROMETHEUS", "label": "Data source", "type": "datasource", "query": "prometheus", "current": {}, "options": [], "hide": 0, "refresh": 1, "regex": "", "includeAll": False, "multi": False, "skipUrlSync": False},
        choice("job", "Job", "label_values(runtape_build_info, job)"),
        choice("instance", "Instance", 'label_values(runtape_build_info{job=~"$job"}, instance)'),
    ]
    if by == "agent":
        variables.append(choice("agent", "Agent", "label_values(agent_runs_total{" + RECORDER + "}, agent)"))
    variables.append({"name": "recorder", "label": "Recorder", "type": "textbox", "query": "http://127.0.0.1:8273", "current": {"text": "http://127.0.0.1:8273", "value": "http://127.0.0.1:8273"}, "options": [], "hide": 0, "skipUrlSync": False})
    return {
        "uid": uid, "title": title, "tags": tags, "schemaVersion": 39, "version": 1, "editable": False, "graphTooltip": 1, "refresh": "10s", "time": {"from": "now-6h", "to": "now"}, "timezone": "browser",
        "timepicker": {}, "weekStart": "", "fiscalYearStartMonth": 0, "liveNow": False, "annotations": {"list": []},
        "links": [{"title": "Agents", "type": "dashboards", "tags": ["agents"], "asDropdown": False, "includeVars": True, "keepTime": True, "icon": "external link", "targetBlank": False, "tooltip": "", "url": ""}],
        "templating": {"list": variables}, "panels": laid_out(rows),
    }


FILES = {
    "agents_dashboard.json": dashboard("agents-telemetry", "Agents: Runs / Errors / Latency / Cost / Reward", ["agents", "telemetry"], AGENTS, "agent"),
    "control_dashboard.json": dashboard("agents-control", "Agents: Verdicts / Gates / Budget / Allocation", ["agents", "control"], CONTROL, "agent"),
    "runtape_dashboard.json": dashboard("runtape-recorder", "runtape: Lag / Lines / Rejects / Consumers", ["agents", "runtape"], RUNTAPE, None),
}

if __name__ == "__main__":
    differ = []
    for name, board in FILES.items():
        text = json.dumps(board, indent=1, ensure_ascii=False) + "\n"
        if "--check" in sys.argv[1:]:
            if (HERE / name).read_text() != text:
                differ.append(name)
        else:
            (HERE / name).write_text(text)
    if differ:
        sys.exit(f"differs from the panels of make.py: {', '.join(differ)}: run ops/grafana/make.py")
