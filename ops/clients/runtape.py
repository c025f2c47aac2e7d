"""Records what a trading agent does, and asks whether it may trade. One file, no dependencies, Python 3.9 and later.

    from runtape import Recorder

    recorder = Recorder(events_dir="events", url="http://127.0.0.1:8273")

    with recorder.run("momentum-eth", model="gpt-4o-mini") as run:
        answer = ask_the_model()
        run.tokens(answer.tokens_in, answer.tokens_out)
        run.signal("ETH-USD", "LONG", score=0.7)

Recording never raises into the caller, unless ``strict=True``: what could not be written is counted in
``Recorder.lost`` and logged. Permissions fail closed: whatever goes wrong is a deny, with the reason.
"""
from __future__ import annotations

import contextlib
import functools
import inspect
import json
import logging
import math
import os
import threading
import time
import urllib.error
import urllib.request
import uuid
from dataclasses import dataclass, field
from datetime import datetime, timezone
from types import TracebackType
from typing import Any, Callable, Dict, List, Mapping, Optional, Tuple, Type, TypeVar, Union, cast

__all__ = ["Recorder", "Run", "Permission", "Reservation", "may_trade", "RecordingError"]

log = logging.getLogger("runtape")
Json = Dict[str, Any]
Function = TypeVar("Function", bound=Callable[..., Any])


class RecordingError(Exception):
    """A line could not be recorded; raised with ``strict=True`` only."""


@dataclass(frozen=True)
class Permission:
    """Whether an agent may trade, and why not. True in a condition only when it may."""

    verdict: str
    live: bool = False
    size_multiplier: float = 0.0
    reasons: Tuple[str, ...] = ()
    position: Optional[int] = None

    def __bool__(self) -> bool:
        return self.verdict == "allow"


@dataclass(frozen=True)
class Reservation:
    """Whether a budget was reserved. True in a condition only when it was."""

    granted: bool
    run_id: str
    reason: str = ""
    position: Optional[int] = None

    def __bool__(self) -> bool:
        return self.granted


def _deny(reason: str) -> Permission:
    return Permission("deny", reasons=(reason,))


def may_trade(agent: str, path: Union[str, "os.PathLike[str]"] = "events/.runtape/controls.json") -> Permission:
    """Reads ``controls.json``, for a process without a network. Past ``valid_until`` nobody keeps it: a deny."""
    try:
        with open(path, encoding="utf-8") as file:
            controls = json.load(file)
        if not time.time() < controls["valid_until"]:
            return _deny("controls_expired")
        row = controls["agents"].get(agent)
        if row is None:
            return _deny("unknown_agent")
        if row["verdict"] != "allow":
            return Permission(str(row["verdict"]), reasons=_texts(row.get("reasons")))
        multiplier = float(row["size_multiplier"])
        if not 0.0 <= multiplier < math.inf:
            return _deny("controls_unreadable")
        return Permission("allow", row["live"] is True, multiplier, _texts(row.get("reasons")))
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        log.warning("runtape: cannot read %s: %s", path, error)
        return _deny("controls_unreadable")


def _texts(given: Any) -> Tuple[str, ...]:
    return tuple(str(item) for item in given) if isinstance(given, (list, tuple)) else ()


@dataclass
class Run:
    """One run of an agent, while it happens. Everything set here is on its one line."""

    recorder: "Recorder"
    agent: str
    run_id: str
    strategy: Optional[str] = None
    fields: Json = field(default_factory=dict)

    def tokens(self, tokens_in: int, tokens_out: int, cached: int = 0) -> None:
        """Adds tokens of a call; ``cached`` ones are part of ``tokens_in``."""
        for name, value in (("tokens_in", tokens_in), ("tokens_out", tokens_out), ("cached_tokens", cached)):
            self._add(name, value)

    def cost(self, usd: float) -> None:
        """Adds what a call cost. A run without any is priced by its tokens."""
        self._add("cost_usd", usd)

    def error(self, kind: Union[str, BaseException], count: int = 1) -> None:
        """Adds an error, also one that was survived."""
        self._add("errors", count)
        self.fields["error_type"] = kind if isinstance(kind, str) else type(kind).__name__

    def reward(self, value: float) -> None:
        self.fields["reward"] = value

    def note(self, **fields: Any) -> None:
        """Sets other fields of the line: ``phase``, ``outcome``, ``capital_usd``, ..."""
        self.fields.update(fields)

    def signal(self, symbol: str, direction: str, score: Optional[float] = None, **fields: Any) -> bool:
        """Records what the run wants to do, at once: an alpha line."""
        return self.recorder.signal(
            self.agent, symbol, direction, score, run_id=self.run_id, strategy=self.strategy, **fields
        )

    def _add(self, name: str, value: float) -> None:
        # Whatever was handed over must not stop the trading code; the line is judged when it is written.
        try:
            self.fields[name] = self.fields.get(name, 0) + value
        except TypeError:
            self.fields[name] = value


class Recorder:
    """Writes lines into an events directory, to a server, or both: with a ``url`` and an ``events_dir`` the server is
    asked first, and what it does not take is spooled into the directory, where it finds it. A request waits for the
    disk, and for ``timeout`` at most: a loop that must not wait gives the directory only."""

    def __init__(
        self,
        events_dir: Union[str, "os.PathLike[str]", None] = None,
        url: Optional[str] = None,
        token: Optional[str] = None,
        stream: str = "runs",
        timeout: float = 5.0,
        strict: bool = False,
    ) -> None:
        if events_dir is None and url is None:
            raise ValueError("neither events_dir nor url is given; want one of them, or both")
        if not stream or stream == "control" or stream.startswith(".") or "/" in stream or "\0" in stream:
            raise ValueError("stream %r is no stream of yours; want a plain name as 'runs'" % stream)
        self.path = None if events_dir is None else os.path.join(os.fspath(events_dir), stream + ".jsonl")
        self.controls = None if events_dir is None else os.path.join(os.fspath(events_dir), ".runtape", "controls.json")
        self.url = None if url is None else url.rstrip("/")
        self.strict = strict
        self.written = 0
        self.spooled = 0
        self.lost = 0
        self._token = token
        self._timeout = timeout
        self._lock = threading.Lock()
        self._fd: Optional[int] = None
        self._id: Optional[Tuple[int, int]] = None

    def __repr__(self) -> str:
        return "Recorder(path=%r, url=%r)" % (self.path, self.url)

    # Recording

    def run(self, agent: str, strategy: Optional[str] = None, model: Optional[str] = None,
            run_id: Optional[str] = None) -> "_Running":
        """A context manager that yields a :class:`Run`, and a decorator whose function (``async`` or not) may take it
        as ``run=``. It measures the time, and writes exactly one line, also when the body raises, which goes on."""
        return _Running(self, agent, strategy, model, run_id)

    def signal(self, agent: str, symbol: str, direction: str, score: Optional[float] = None, **fields: Any) -> bool:
        """Records a signal; whether it was written."""
        line = {"kind": "alpha", "agent": agent, "symbol": symbol, "direction": direction, "score_final": score}
        return self.record({**line, **fields})

    def pnl(self, run_id: str, bps: float, agent: Optional[str] = None, **fields: Any) -> bool:
        """Records realized profit of a run, days later as well; whether it was written."""
        return self.record({"kind": "pnl", "run_id": run_id, "agent": agent, "realized_pnl_bps": bps, **fields})

    def record(self, line: Mapping[str, Any]) -> bool:
        """Records any line; whether it was written. ``ts`` and ``event_id`` are given where they are missing."""
        try:
            given = {key: value for key, value in line.items() if value is not None}
            given.setdefault("ts", datetime.now(timezone.utc).isoformat(timespec="microseconds"))
            given.setdefault("event_id", str(uuid.uuid4()))
            # A newline inside would be two lines, and NaN is no JSON: the first cannot come out of dumps.
            data = json.dumps(given, allow_nan=False, separators=(",", ":")).encode("utf-8") + b"\n"
            self._write(data)
            return True
        except Exception as error:
            with self._lock:
                self.lost += 1
            log.error("runtape: a line was lost: %s", error)
            if self.strict:
                raise RecordingError("a line was lost: %s" % error) from error
            return False

    def _write(self, data: bytes) -> None:
        if self.url is not None:
            try:
                self._request("POST", "/api/v1/events", data, "application/x-ndjson")
                with self._lock:
                    self.written += 1
                return
            except urllib.error.HTTPError as error:
                # What the server refuses for what it says must not come in by the directory.
                if error.code < 500 and error.code not in (401, 408, 429):
                    raise
                self._no_server(error)
            except (OSError, ValueError) as error:
                self._no_server(error)
        with self._lock:
            self._append(data)
            if self.url is None:
                self.written += 1
            else:
                self.spooled += 1

    def _no_server(self, error: Exception) -> None:
        if self.path is None:
            raise error
        log.warning("runtape: the server did not take a line, it goes to %s: %s", self.path, error)

    def _append(self, data: bytes) -> None:
        """One write, so that lines of several processes never mix; into the file that has the name now."""
        assert self.path is not None
        try:
            there = os.stat(self.path)
            current: Optional[Tuple[int, int]] = (there.st_dev, there.st_ino)
        except FileNotFoundError:
            current = None
        if self._fd is None or current != self._id:
            self._close()
            self._fd = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | getattr(os, "O_CLOEXEC", 0), 0o644)
            opened = os.fstat(self._fd)
            self._id = (opened.st_dev, opened.st_ino)
        written = os.write(self._fd, data)
        if written != len(data):
            # The torn line is closed, so that the next one stands alone.
            with contextlib.suppress(OSError):
                os.write(self._fd, b"\n")
            raise OSError("only %d of %d bytes were written to %s" % (written, len(data), self.path))

    def _close(self) -> None:
        if self._fd is not None:
            with contextlib.suppress(OSError):
                os.close(self._fd)
            self._fd = None

    def close(self) -> None:
        with self._lock:
            self._close()

    def __enter__(self) -> "Recorder":
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()

    # Asking

    def check(self, agent: str, **order: Any) -> Permission:
        """Asks about one order (``symbol``, ``notional_usd``, ``expected_edge_bps``, ``spread_bps``, ``slippage_bps``,
        ``data_age_sec``, ``paper``, ``reduce``). Any error is a deny."""
        if self.url is None:
            return _deny("no_server")
        try:
            answer = self._ask("/api/v1/checks", {"agent": agent, **order})
            verdict = answer["verdict"]
            if verdict not in ("allow", "deny", "hold"):
                return _deny("bad_answer")
            multiplier = float(answer.get("size_multiplier") or 0.0)
            if verdict == "allow" and not 0.0 <= multiplier < math.inf:
                return _deny("bad_answer")
            reasons, position = _texts(answer.get("reasons")), answer.get("position")
            allowed = verdict == "allow"
            live = allowed and order.get("paper") is not True
            return Permission(verdict, live, multiplier if allowed else 0.0, reasons, position)
        except Exception as error:
            return _deny(_reason(error))

    def may_trade(self, agent: str) -> Permission:
        """What ``controls.json`` says of an agent. Any error is a deny."""
        return _deny("no_events_dir") if self.controls is None else may_trade(agent, self.controls)

    def reserve(self, agent: str, run_id: str, amount_usd: float) -> Reservation:
        """Reserves budget before a run costs anything. Any error is a refusal."""
        try:
            answer = self._ask("/api/v1/reservations", {"agent": agent, "run_id": run_id, "amount_usd": amount_usd})
            granted = answer["granted"] is True
            reason = "" if granted else _why(answer.get("decision"))
            return Reservation(granted, run_id, reason, answer.get("position"))
        except Exception as error:
            return Reservation(False, run_id, _reason(error))

    def release(self, run_id: str, agent: Optional[str] = None) -> bool:
        """Gives a reservation back that no run settles; whether it was released. One that is not expires."""
        try:
            asked = {"run_id": run_id, "agent": agent}
            answer = self._ask("/api/v1/releases", {key: value for key, value in asked.items() if value is not None})
            return answer["released"] is True
        except Exception as error:
            log.warning("runtape: the reservation of %s was not released: %s", run_id, error)
            return False

    def _ask(self, path: str, question: Json) -> Json:
        if self.url is None:
            raise ValueError("a question needs a server; want Recorder(url=...)")
        asked = {"event_id": str(uuid.uuid4()), **question}
        answer = self._request("POST", path, json.dumps(asked, allow_nan=False).encode("utf-8"), "application/json")
        if not isinstance(answer, dict):
            raise ValueError("the server answered %r; want an object" % (answer,))
        return answer

    def _request(self, method: str, path: str, body: bytes, kind: str) -> Any:
        headers = {"Content-Type": kind, "Accept": "application/json"}
        if self._token is not None:
            headers["Authorization"] = "Bearer " + self._token
        request = urllib.request.Request((self.url or "") + path, data=body, headers=headers, method=method)
        # No proxy of the environment, no redirect: the token is for this server only.
        with _OPENER.open(request, timeout=self._timeout) as response:
            return json.loads(response.read())


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *args: Any, **kwargs: Any) -> None:
        return None


_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}), _NoRedirect)


def _reason(error: BaseException) -> str:
    """A word for a denial: the server's own code, or what kept it from answering."""
    if isinstance(error, urllib.error.HTTPError):
        with contextlib.suppress(Exception):
            return str(json.loads(error.read())["error"]["code"])
        return "http_%d" % error.code
    if isinstance(error, OSError):
        return "unreachable"
    if isinstance(error, (ValueError, KeyError, TypeError, AttributeError)):
        return "bad_answer"
    return type(error).__name__


def _why(decision: Any) -> str:
    """The rule of a decision, or its verdict."""
    for item in decision if isinstance(decision, list) else [decision]:
        if isinstance(item, dict):
            reason = item.get("reason")
            rule = reason.get("rule") if isinstance(reason, dict) else reason
            return str(rule or item.get("verdict") or "refused")
    return "refused"


class _Running(contextlib.ContextDecorator):
    """What ``Recorder.run`` gives: entered, or put on a function."""

    def __init__(self, recorder: Recorder, agent: str, strategy: Optional[str], model: Optional[str],
                 run_id: Optional[str]) -> None:
        self._make = (recorder, agent, strategy, model, run_id)
        self._open: List[Tuple[Run, float]] = []

    def __enter__(self) -> Run:
        recorder, agent, strategy, model, run_id = self._make
        run = Run(recorder, agent, run_id or str(uuid.uuid4()), strategy)
        if model is not None:
            run.fields["model"] = model
        self._open.append((run, time.monotonic()))
        return run

    def __exit__(self, kind: Optional[Type[BaseException]], error: Optional[BaseException],
                 trace: Optional[TracebackType]) -> None:
        run, start = self._open.pop()
        latency = (time.monotonic() - start) * 1000.0
        if kind is not None:
            run.error(kind.__name__)
        line = {"kind": "run", "run_id": run.run_id, "agent": run.agent, "strategy": run.strategy,
                "latency_ms": round(latency, 3), "errors": 0, **run.fields}
        try:
            run.recorder.record(line)
        except RecordingError:
            # The caller's own exception is the one that matters.
            if kind is None:
                raise

    def __call__(self, function: Function) -> Function:
        """A run of its own for each call; the function gets it where it has a parameter ``run``."""
        code = getattr(function, "__code__", None)
        names = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount] if code is not None else ()

        @functools.wraps(function)
        def recorded(*args: Any, **kwargs: Any) -> Any:
            with _Running(*self._make) as run:
                if "run" in names:
                    kwargs.setdefault("run", run)
                return function(*args, **kwargs)

        @functools.wraps(function)
        async def recorded_async(*args: Any, **kwargs: Any) -> Any:
            with _Running(*self._make) as run:
                if "run" in names:
                    kwargs.setdefault("run", run)
                return await function(*args, **kwargs)

        return cast(Function, recorded_async if inspect.iscoroutinefunction(function) else recorded)
