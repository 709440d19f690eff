"""A server under load: `python -m benchmarks.serve RUN` starts `funneltune serve`, asks it, and writes a record.

First one client alone: lists of 1,000 named candidates, by value alone and by each named ranking. Then many clients at
once, each asking again as soon as it is answered. Clients and server share the machine's cores.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import random
import signal
import subprocess
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import machine

CANDIDATES, WARM_UP = 1000, 20
PAIRS, TOP = 50, 20
SHARES = {"/rank": 0.7, "/score": 0.2, "/suggest": 0.1}
PACKAGES = ("torch", "transformers", "fastapi", "uvicorn", "starlette")
Body = dict[str, Any] | None


class Client:
    """One keep-alive connection."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def ask(self, path: str, body: Body = None) -> tuple[int, bytes]:
        """Status and body."""
        if self.streams is None:
            self.streams = await asyncio.open_connection("127.0.0.1", self.port)
        reader, writer = self.streams
        content = b"" if body is None else json.dumps(body).encode()
        head = f"{'GET' if body is None else 'POST'} {path} HTTP/1.1\r\nhost: 127.0.0.1\r\n"
        if body is not None:
            head += f"content-type: application/json\r\ncontent-length: {len(content)}\r\n"
        writer.write(f"{head}\r\n".encode() + content)
        told = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
        size = int(told.partition("content-length: ")[2].partition("\r\n")[0])
        if "connection: close" in told:
            self.streams = None
        return int(told.split(" ", 2)[1]), await reader.readexactly(size)


class Asking:
    """What clients ask: queries, shoppers and items of the run's log, drawn at random."""

    def __init__(self, queries: list[str], users: list[str], items: list[str]) -> None:
        self.queries, self.users, self.items = queries, users, items

    @classmethod
    async def of(cls, client: Client) -> Asking:
        """From the server itself."""
        _, told = await client.ask("/suggest?most=100")
        found = json.loads(told)
        query = found["queries"][0]["key"]
        _, told = await client.ask("/rank", {"query": query, "candidates": "all", "top": 1000})
        items = [one["item"] for one in json.loads(told)["ranked"]]
        return cls([one["key"] for one in found["queries"]], [one["key"] for one in found["users"]], items)

    def one(self, rng: random.Random) -> tuple[str, Body]:
        """A request of the mixture."""
        path = rng.choices(list(SHARES), list(SHARES.values()))[0]
        query, user = rng.choice(self.queries), rng.choice(self.users)
        if path == "/rank":
            return path, {"query": query, "user": user, "top": TOP}
        if path == "/score":
            pairs = [{"query": query, "user": user, "item": item} for item in rng.sample(self.items, PAIRS)]
            return path, {"pairs": pairs}
        return f"{path}?query={query[:2].strip() or 'a'}", None

    def candidates(self, rng: random.Random) -> dict[str, Any]:
        """A list of many named candidates."""
        return {"query": rng.choice(self.queries), "items": rng.sample(self.items, len(self.items)), "top": TOP}


async def alone(port: int, asking: Asking, repeats: int, ranking: str = "") -> dict[str, Any]:
    """One client: milliseconds from a request to its list."""
    client, rng, seconds = Client(port), random.Random(0), []
    for n in range(WARM_UP + repeats):
        body = {**asking.candidates(rng), "ranking": ranking}
        begun = time.perf_counter()
        status, _ = await client.ask("/rank", body)
        if n >= WARM_UP:
            seconds.append(time.perf_counter() - begun)
        assert status == 200
    return {"candidates": len(asking.items), **quantiles(seconds)}


async def together(port: int, pid: int, asking: Asking, clients: int, seconds: float) -> dict[str, Any]:
    """Many clients: latencies by route, statuses, and the server's memory while it goes on."""
    took: dict[str, list[float]] = defaultdict(list)
    statuses: Counter[str] = Counter()
    memory: list[tuple[float, float]] = []
    begun = time.perf_counter()

    async def client(number: int) -> None:
        one, rng = Client(port), random.Random(number)
        while time.perf_counter() - begun < seconds:
            path, body = asking.one(rng)
            started = time.perf_counter()
            try:
                status, _ = await one.ask(path, body)
                statuses[str(status)] += 1
            except (OSError, asyncio.IncompleteReadError) as fault:
                statuses[type(fault).__name__] += 1
                one.streams = None
            took[path.partition("?")[0]].append(time.perf_counter() - started)

    async def watch() -> None:
        while time.perf_counter() - begun < seconds:
            memory.append((time.perf_counter() - begun, resident(pid)))
            await asyncio.sleep(min(1.0, seconds / 20))

    await asyncio.gather(watch(), *(client(n) for n in range(clients)))
    wall = time.perf_counter() - begun
    every = [one for values in took.values() for one in values]
    return {
        "clients": clients,
        "seconds": round(wall, 1),
        "requests": len(every),
        "requests_per_second": round(len(every) / wall, 1),
        "statuses": dict(statuses),
        "errors": len(every) - statuses["200"],
        "all": quantiles(every),
        "routes": {path: quantiles(values) for path, values in sorted(took.items())},
        "resident_mb": _at_thirds(memory),
        "resident_mb_by_second": [[round(at, 1), round(mb, 1)] for at, mb in memory],
    }


def quantiles(seconds: list[float]) -> dict[str, float | int]:
    """Milliseconds."""
    p50, p90, p99 = np.percentile(np.array(seconds) * 1000, [50, 90, 99])
    found = {"p50_ms": p50, "p90_ms": p90, "p99_ms": p99, "worst_ms": 1000 * max(seconds)}
    return {"n": len(seconds), **{name: round(float(value), 2) for name, value in found.items()}}


def resident(pid: int) -> float:
    """MB of a process that lie in memory."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) / 1024


def _at_thirds(memory: list[tuple[float, float]]) -> dict[str, float]:
    """Medians of the first, second and last third: single readings move with what is being answered."""
    thirds = np.array_split(np.array([mb for _, mb in memory]), 3)
    return {
        name: round(float(np.median(part)), 1) for name, part in zip(("start", "middle", "end"), thirds, strict=True)
    }


@contextmanager
def server(run: Path, threads: int) -> Iterator[tuple[int, int]]:
    """Port and process of a server that is ready; stopped by SIGTERM, and held to status 0."""
    words = [sys.executable, "-m", "funneltune", "serve", f"run={run}", "port=0", f"threads={threads}"]
    process = subprocess.Popen(
        words,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": str(threads)},
    )
    assert process.stdout is not None
    try:
        line = next((line for line in process.stdout if line.startswith("serving")), "")
        if not line:
            raise SystemExit(f"no server: `{' '.join(words[2:])}` says why")
        yield int(line.partition("127.0.0.1:")[2].split(" ")[0]), process.pid
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
        process.stdout.close()


async def measured(port: int, pid: int, chosen: argparse.Namespace) -> dict[str, Any]:
    """Both parts, and what the server counted meanwhile."""
    asking = await Asking.of(Client(port))
    asking.items = asking.items[:CANDIDATES]
    _, runs = await Client(port).ask("/runs")
    found = {"rerank": await alone(port, asking, chosen.repeats)}
    named = json.loads(runs)["runs"][0]["rankings"]
    found["rankings"] = {name: await alone(port, asking, chosen.repeats // 5, name) for name in named}
    _, before = await Client(port).ask("/metrics")
    found["load"] = await together(port, pid, asking, chosen.clients, chosen.seconds)
    _, after = await Client(port).ask("/metrics")
    batches = [_counted(text.decode(), "funneltune_batch_requests") for text in (before, after)]
    found["load"]["requests_per_batch"] = round((batches[1][0] - batches[0][0]) / (batches[1][1] - batches[0][1]), 2)
    [run] = json.loads(runs)["runs"]
    return {"run": {name: run[name] for name in ("tuning", "backbone", "head", "items", "candidates")}, **found}


def _counted(text: str, name: str) -> tuple[float, float]:
    """Sum and count of a histogram."""
    lines = dict(line.rsplit(" ", 1) for line in text.splitlines() if line and not line.startswith("#"))
    return float(lines[f"{name}_sum"]), float(lines[f"{name}_count"])


def main() -> None:
    """Start, ask, write."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.serve", description=__doc__)
    parser.add_argument("run", type=Path, help="folder of a finished run")
    parser.add_argument("--clients", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--repeats", type=int, default=500, help="lists of 1,000 candidates that one client asks for")
    parser.add_argument("--threads", type=int, default=1, help="of the server's model")
    parser.add_argument("--record", type=Path, help="file to write")
    chosen = parser.parse_args()
    with server(chosen.run, chosen.threads) as (port, pid):
        found = asyncio.run(measured(port, pid, chosen))
    record = {
        "machine": machine.name(),
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "cores": os.cpu_count(),
        "load_average": [round(one, 2) for one in os.getloadavg()],
        "versions": {"python": platform.python_version()} | {name: version(name) for name in PACKAGES},
        "model_threads": chosen.threads,
        "mixture": SHARES | {"pairs": PAIRS, "top": TOP},
        **found,
    }
    if chosen.record is not None:
        chosen.record.write_text(json.dumps(record, indent=1) + "\n")
    record["load"].pop("resident_mb_by_second")
    print(*(json.dumps(record[part]) for part in ("rerank", "rankings", "load")), sep="\n")


if __name__ == "__main__":
    main()
