"""One loop over the lines: decoded by orjson, folded in dicts and deques."""

import collections
import math
import statistics
import sys
import time

import orjson

import answer


class Agent:
    def __init__(self):
        self.runs = self.errors = 0
        self.cost = 0.0
        self.rewards = collections.deque(maxlen=500)
        self.latencies = collections.deque(maxlen=500)
        self.failed = collections.deque(maxlen=100)
        self.pnl = collections.deque(maxlen=500)

    def row(self, name):
        n = len(self.rewards)
        mean = math.fsum(self.rewards) / n
        std = math.sqrt(math.fsum((x - mean) ** 2 for x in self.rewards) / (n - 1)) if n > 1 else 0.0
        equity = peak = drawdown = 0.0
        for reward in self.rewards:
            equity += reward
            peak = max(peak, equity)
            drawdown = min(drawdown, equity - peak)
        latency = statistics.median(self.latencies)
        rate = sum(self.failed) / len(self.failed)
        newest = list(self.pnl)[-5:]
        last_5 = math.fsum(newest) if len(newest) == 5 else None
        pnl_sum = math.fsum(self.pnl)
        return (
            name, self.runs, self.errors, self.cost, n, mean, std, drawdown, latency, rate, len(self.pnl), pnl_sum, last_5,
        )


def main():
    start = time.perf_counter()
    agents = collections.defaultdict(Agent)
    owner = {}
    counts = collections.Counter()
    waiting = 0
    with open(sys.argv[1], "rb", buffering=1 << 18) as lines:
        for line in lines:
            event = orjson.loads(line)
            kind = event["kind"]
            counts[kind] += 1
            if kind == "run":
                agent = owner[event["run_id"]] = agents[event["agent"]]
                failed = event["errors"] > 0
                agent.runs += 1
                agent.errors += failed
                agent.cost += event["cost_usd"]
                agent.rewards.append(event["reward"])
                agent.latencies.append(event["latency_ms"])
                agent.failed.append(failed)
            elif kind == "pnl":
                agent = owner.get(event["run_id"])
                if agent is None:
                    waiting += 1
                else:
                    agent.pnl.append(event["realized_pnl_bps"])
    rows = [agent.row(name) for name, agent in agents.items()]
    answer.give(rows, counts.items(), waiting, time.perf_counter() - start)


main()
