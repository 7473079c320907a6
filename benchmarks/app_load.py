"""How many predictions a second does the page's server answer, and how late is the slowest?

Starts the server as `make app` does, on a free port of this machine, and asks it from 8
connections at once, each waiting for its answer before it asks again. The answer is that of a
single model (`?votes=0`), the picture a drawing of 400x400 like the page sends.

    python benchmarks/app_load.py [--seconds 20] [--connections 8] [--query "?votes=0"]
"""

from __future__ import annotations

import argparse
import http.client
import io
import multiprocessing.pool
import os
import platform
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

ROOT = Path(__file__).parent.parent


def drawing() -> bytes:
    """A 7 on white, as PNG."""
    picture = Image.new("L", (400, 400), 255)
    pen = ImageDraw.Draw(picture)
    pen.line([(115, 90), (285, 85), (240, 180), (195, 330)], 17, 24, joint="curve")
    file = io.BytesIO()
    picture.save(file, "PNG")
    return file.getvalue()


def start_server() -> tuple[subprocess.Popen, int]:
    """Start gunicorn and return it with its port, once every worker had time to load."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    process = subprocess.Popen(
        [sys.executable, "-m", "gunicorn", "-c", "app/gunicorn.conf.py", "--log-level", "error"],
        cwd=ROOT,
        env=os.environ | {"PORT": str(port)},
    )
    for _ in range(300):
        try:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
            connection.request("GET", "/healthz")
            if connection.getresponse().status == 200:
                return process, port
        except OSError:
            time.sleep(0.2)
    process.terminate()
    raise RuntimeError("the server did not start")


def ask(port: int, query: str, picture: bytes, end: float) -> tuple[list[float], int]:
    """Ask until the time ``end``; return the seconds of each answer, and how many failed."""
    seconds, failures = [], 0
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    while time.time() < end:
        start = time.perf_counter()
        try:
            connection.request(
                "POST", f"/api/predict{query}", picture, {"Content-Type": "image/png"}
            )
            response = connection.getresponse()
            response.read()
            failures += response.status != 200
        except (OSError, http.client.HTTPException):
            failures += 1
            connection.close()
        seconds.append(time.perf_counter() - start)
    return seconds, failures


def measure(port: int, query: str, connections: int, duration: float) -> tuple[np.ndarray, int]:
    """Return the seconds of all answers, and how many failed, of so many connections at once."""
    end, picture = time.time() + duration, drawing()
    # One process: the clients must not take the cores from the server. Threads wait.
    with multiprocessing.pool.ThreadPool(connections) as pool:
        parts = pool.starmap(ask, [(port, query, picture, end)] * connections)
    return np.concatenate([seconds for seconds, _ in parts]), sum(failed for _, failed in parts)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--connections", type=int, default=8)
    parser.add_argument("--query", default="?votes=0", help="of /api/predict")
    arguments = parser.parse_args()
    process, port = start_server()
    try:
        measure(port, arguments.query, arguments.connections, 2)  # both workers warm
        start = time.perf_counter()
        seconds, failures = measure(port, arguments.query, arguments.connections, arguments.seconds)
        duration = time.perf_counter() - start
    finally:
        process.terminate()
        process.wait(30)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    milliseconds = 1000 * np.quantile(seconds, (0.5, 0.95, 0.99, 1))
    print(f"{platform.machine()}, {cores} cores, {arguments.connections} connections")
    print(f"{len(seconds) / duration:.0f} predictions a second, {failures} failed")
    print(
        "milliseconds: median {:.0f}, 95 % {:.0f}, 99 % {:.0f}, most {:.0f}".format(*milliseconds)
    )


if __name__ == "__main__":
    main()
