"""Tests of runtape.py: ``python3 -m unittest`` in this directory. A tiny server stands for the real one."""
from __future__ import annotations

import asyncio
import http.server
import json
import logging
import math
import os
import tempfile
import threading
import time
import unittest
from typing import Any, Dict, List, Tuple

from runtape import Permission, Recorder, RecordingError, may_trade


class Server:
    """Answers what it is told to, and remembers what it was asked."""

    def __init__(self) -> None:
        self.answers: Dict[str, Tuple[int, Any]] = {"/api/v1/events": (200, {"appended": 1})}
        self.asked: List[Tuple[str, Dict[str, str], bytes]] = []
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                outer.asked.append((self.path, dict(self.headers), body))
                status, answer = outer.answers.get(self.path, (404, {"error": {"code": "unknown_path"}}))
                data = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
                self.send_response(status)
                if status == 302:
                    self.send_header("Location", "http://127.0.0.1:1/elsewhere")
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *args: Any) -> None:
                pass

        self.http = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = "http://127.0.0.1:%d" % self.http.server_address[1]
        threading.Thread(target=self.http.serve_forever, daemon=True).start()

    def close(self) -> None:
        self.http.shutdown()
        self.http.server_close()


class Case(unittest.TestCase):
    def setUp(self) -> None:
        logging.disable(logging.CRITICAL)
        self.addCleanup(logging.disable, logging.NOTSET)
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.dir = directory.name

    def recorder(self, **options: Any) -> Recorder:
        recorder = Recorder(**options)
        self.addCleanup(recorder.close)
        return recorder

    def server(self) -> Server:
        server = Server()
        self.addCleanup(server.close)
        return server

    def lines(self, stream: str = "runs") -> List[Dict[str, Any]]:
        with open(os.path.join(self.dir, stream + ".jsonl"), encoding="utf-8") as file:
            return [json.loads(line) for line in file]


class Directory(Case):
    def test_a_run_is_one_line(self) -> None:
        recorder = self.recorder(events_dir=self.dir)
        with recorder.run("a", strategy="s", model="m") as run:
            run.tokens(100, 10, cached=40)
            run.tokens(50, 5)
            run.cost(0.25)
            run.reward(0.5)
            run.note(phase="live")
        line = self.lines()[0]
        self.assertEqual(1, len(self.lines()))
        wanted = {"kind": "run", "agent": "a", "strategy": "s", "model": "m", "tokens_in": 150, "tokens_out": 15,
                  "cached_tokens": 40, "cost_usd": 0.25, "errors": 0, "reward": 0.5, "phase": "live"}
        self.assertEqual(wanted, {key: line[key] for key in wanted})
        self.assertGreaterEqual(line["latency_ms"], 0)
        self.assertEqual({"run_id", "ts", "event_id", "latency_ms"}, set(line) - set(wanted))

    def test_a_run_that_raises_is_one_line_and_goes_on_raising(self) -> None:
        recorder = self.recorder(events_dir=self.dir)
        with self.assertRaises(ZeroDivisionError):
            with recorder.run("a"):
                1 / 0
        self.assertEqual([(1, "ZeroDivisionError")], [(l["errors"], l["error_type"]) for l in self.lines()])

    def test_a_function_is_a_run_each_time_it_is_called(self) -> None:
        recorder = self.recorder(events_dir=self.dir)

        @recorder.run("a")
        def decide(depth: int, run: Any = None) -> int:
            """Decides."""
            run.reward(depth)
            return decide(depth - 1) + 1 if depth else 0

        self.assertEqual((2, "Decides."), (decide(2), decide.__doc__))
        self.assertEqual([0, 1, 2], [line["reward"] for line in self.lines()])
        self.assertEqual(3, len({line["run_id"] for line in self.lines()}))

    def test_a_coroutine_is_measured_to_its_end(self) -> None:
        recorder = self.recorder(events_dir=self.dir)

        @recorder.run("a")
        async def decide(run: Any = None) -> int:
            await asyncio.sleep(0.02)
            run.reward(1)
            raise TimeoutError

        with self.assertRaises(TimeoutError):
            asyncio.run(decide())
        line = self.lines()[0]
        self.assertEqual((1, "TimeoutError", 1), (line["errors"], line["error_type"], line["reward"]))
        self.assertGreaterEqual(line["latency_ms"], 15)

    def test_signals_and_profits(self) -> None:
        recorder = self.recorder(events_dir=self.dir, stream="desk")
        with recorder.run("a", run_id="r") as run:
            self.assertTrue(run.signal("ETH-USD", "LONG", 0.7, notional_usd=100))
        recorder.pnl("r", 12.5)
        alpha, ran, pnl = self.lines("desk")
        self.assertEqual(["alpha", "run", "pnl"], [alpha["kind"], ran["kind"], pnl["kind"]])
        self.assertEqual({"r"}, {alpha["run_id"], ran["run_id"], pnl["run_id"]})
        self.assertEqual((0.7, 100, 12.5), (alpha["score_final"], alpha["notional_usd"], pnl["realized_pnl_bps"]))
        self.assertNotIn("agent", pnl)

    def test_a_rotated_file_is_left_alone(self) -> None:
        recorder = self.recorder(events_dir=self.dir)
        recorder.record({"agent": "a", "reward": 1})
        os.rename(os.path.join(self.dir, "runs.jsonl"), os.path.join(self.dir, "runs.jsonl.1"))
        recorder.record({"agent": "a", "reward": 2})
        recorder.record({"agent": "a", "reward": 3})
        self.assertEqual([2, 3], [line["reward"] for line in self.lines()])

    def test_what_cannot_be_written_is_counted(self) -> None:
        recorder = self.recorder(events_dir=os.path.join(self.dir, "absent"))
        with recorder.run("a"):
            pass
        self.assertFalse(recorder.record({"agent": "a", "reward": math.nan}))
        self.assertFalse(recorder.record({"agent": "a", "reward": object()}))
        self.assertEqual((3, 0), (recorder.lost, recorder.written))
        strict = self.recorder(events_dir=os.path.join(self.dir, "absent"), strict=True)
        with self.assertRaises(RecordingError):
            strict.record({"agent": "a", "reward": 1})
        with self.assertRaises(ZeroDivisionError):
            with strict.run("a"):
                1 / 0

    def test_threads_do_not_mix_lines(self) -> None:
        recorder = self.recorder(events_dir=self.dir)

        def work() -> None:
            for _ in range(50):
                recorder.record({"agent": "a", "reward": 1, "note": "x" * 500})

        threads = [threading.Thread(target=work) for _ in range(8)]
        [thread.start() for thread in threads]
        [thread.join() for thread in threads]
        self.assertEqual((400, 400), (len(self.lines()), recorder.written))

    def test_a_recorder_without_a_place_is_a_mistake(self) -> None:
        for options in ({}, {"events_dir": "x", "stream": "control"}, {"events_dir": "x", "stream": "a/b"}):
            with self.assertRaises(ValueError):
                Recorder(**options)


class Http(Case):
    def test_lines_go_to_the_server(self) -> None:
        server = self.server()
        recorder = self.recorder(url=server.url + "/", token="secret")
        self.assertTrue(recorder.record({"agent": "a", "reward": 1}))
        path, headers, body = server.asked[0]
        self.assertEqual(("/api/v1/events", "Bearer secret"), (path, headers["Authorization"]))
        self.assertEqual(b"\n", body[-1:])
        self.assertNotIn("secret", repr(recorder))

    def test_what_a_server_that_is_down_does_not_take_is_spooled(self) -> None:
        server = self.server()
        recorder = self.recorder(url=server.url, events_dir=self.dir)
        for status in (500, 503, 507, 429, 401):
            server.answers["/api/v1/events"] = (status, {"error": {"code": "x"}})
            self.assertTrue(recorder.record({"agent": "a", "reward": status}))
        down = self.recorder(url="http://127.0.0.1:1", events_dir=self.dir)
        self.assertTrue(down.record({"agent": "a", "reward": 1}))
        self.assertEqual((5, 0, 0), (recorder.spooled, recorder.written, recorder.lost))
        self.assertEqual(6, len(self.lines()))
        # Both carry the same event_id, should the server have taken it all the same.
        self.assertEqual(json.loads(server.asked[0][2])["event_id"], self.lines()[0]["event_id"])

    def test_what_a_server_refuses_is_not_spooled(self) -> None:
        server = self.server()
        recorder = self.recorder(url=server.url, events_dir=self.dir)
        for status in (400, 403):
            server.answers["/api/v1/events"] = (status, {"error": {"code": "x"}})
            self.assertFalse(recorder.record({"agent": "a", "reward": -1}))
        self.assertEqual((2, 0), (recorder.lost, recorder.spooled))
        self.assertFalse(os.path.exists(os.path.join(self.dir, "runs.jsonl")))

    def test_a_check_allows_only_what_was_allowed(self) -> None:
        server = self.server()
        recorder = self.recorder(url=server.url)
        for answer, want in [
            ((200, {"verdict": "allow", "size_multiplier": 0.5, "reasons": [], "position": 7}),
             Permission("allow", True, 0.5, (), 7)),
            ((200, {"verdict": "deny", "size_multiplier": 0, "reasons": ["notional"]}),
             Permission("deny", reasons=("notional",))),
            ((200, {"verdict": "hold", "reasons": ["not_ready"]}), Permission("hold", reasons=("not_ready",))),
            ((200, {"verdict": "allow", "size_multiplier": "much"}), Permission("deny", reasons=("bad_answer",))),
            ((200, {"verdict": "allow", "size_multiplier": -1}), Permission("deny", reasons=("bad_answer",))),
            ((200, {"verdict": "yes"}), Permission("deny", reasons=("bad_answer",))),
            ((200, []), Permission("deny", reasons=("bad_answer",))),
            ((200, b"not json"), Permission("deny", reasons=("bad_answer",))),
            ((503, {"error": {"code": "behind"}}), Permission("deny", reasons=("behind",))),
            ((500, b"oops"), Permission("deny", reasons=("http_500",))),
            ((302, b""), Permission("deny", reasons=("http_302",))),
        ]:
            server.answers["/api/v1/checks"] = answer
            got = recorder.check("a", symbol="ETH-USD", notional_usd=100)
            self.assertEqual(want, got, answer)
            self.assertEqual(want.verdict == "allow", bool(got))
        asked = json.loads(server.asked[0][2])
        self.assertEqual(("a", "ETH-USD", 100), (asked["agent"], asked["symbol"], asked["notional_usd"]))
        self.assertIn("event_id", asked)
        self.assertEqual(("unreachable",), self.recorder(url="http://127.0.0.1:1").check("a").reasons)
        self.assertEqual(("no_server",), self.recorder(events_dir=self.dir).check("a").reasons)
        self.assertEqual(("bad_answer",), recorder.check("a", notional_usd=math.inf).reasons)

    def test_reservations(self) -> None:
        server = self.server()
        recorder = self.recorder(url=server.url)
        server.answers["/api/v1/reservations"] = (200, {"granted": True, "position": 3})
        self.assertTrue(recorder.reserve("a", "r", 0.5))
        refused = {"granted": False, "decision": {"verdict": "denied", "reason": {"rule": "budget"}}}
        server.answers["/api/v1/reservations"] = (200, refused)
        reservation = recorder.reserve("a", "r", 0.5)
        self.assertEqual((False, "budget"), (bool(reservation), reservation.reason))
        server.answers["/api/v1/reservations"] = (200, {"granted": "true"})
        self.assertFalse(recorder.reserve("a", "r", 0.5))
        self.assertFalse(self.recorder(url="http://127.0.0.1:1").reserve("a", "r", 0.5))
        server.answers["/api/v1/releases"] = (200, {"released": True})
        self.assertTrue(recorder.release("r", "a"))
        server.answers["/api/v1/releases"] = (500, b"")
        self.assertFalse(recorder.release("r"))


class Controls(Case):
    def test_whatever_is_wrong_denies(self) -> None:
        path = os.path.join(self.dir, "controls.json")
        later, row = time.time() + 60, {"verdict": "allow", "live": True, "size_multiplier": 0.5}
        good = {"valid_until": later, "agents": {"a": row}}

        def rows(row: Dict[str, Any]) -> str:
            return json.dumps({**good, "agents": {"a": row}})

        for text, verdict, reason in [
            (json.dumps(good), "allow", None),
            (json.dumps({**good, "valid_until": time.time() - 1}), "deny", "controls_expired"),
            (json.dumps({**good, "agents": {"b": row}}), "deny", "unknown_agent"),
            (rows({**row, "verdict": "hold", "reasons": ["behind"]}), "hold", "behind"),
            (rows({"verdict": "allow"}), "deny", "controls_unreadable"),
            (rows({**row, "size_multiplier": math.nan}), "deny", "controls_unreadable"),
            (json.dumps({**good, "valid_until": math.nan}), "deny", "controls_expired"),
            (json.dumps({**good, "valid_until": "soon"}), "deny", "controls_unreadable"),
            ("[]", "deny", "controls_unreadable"),
            ("{", "deny", "controls_unreadable"),
            ("[" * 100000, "deny", "controls_unreadable"),
            ("", "deny", "controls_unreadable"),
        ]:
            with open(path, "w", encoding="utf-8") as file:
                file.write(text)
            got = may_trade("a", path)
            self.assertEqual((verdict, () if reason is None else (reason,)), (got.verdict, got.reasons), text[:80])
            self.assertEqual((verdict == "allow", verdict == "allow"), (bool(got), got.live))
        os.remove(path)
        self.assertEqual(("controls_unreadable",), may_trade("a", path).reasons)
        self.assertEqual(("controls_unreadable",), self.recorder(events_dir=self.dir).may_trade("a").reasons)


if __name__ == "__main__":
    unittest.main()
