"""How many predictions a second does the page's server answer, and how late is the slowest?

Starts the server as `make app` does and asks it over several connections at once, each of which
waits for its answer before it asks again, with a 400x400 drawing like those that the page sends.

    python -m benchmarks.app_load [--seconds 20] [--report docs/api.md]

With `--report`, the figures become this machine's row of the table in that file.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import io
import multiprocessing.pool
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from study import report

ROOT = Path(__file__).parent.parent
CONNECTIONS = 8
REQUEST = "/api/predict?votes=0"  # the answering model alone


@contextlib.contextmanager
def serve() -> Iterator[str]:
    """Serve the app as `make app` does, on a free port; yield its host:port once it answers.

    Raises:
        RuntimeError: the server does not start; the message holds what it printed.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    address, environment = f"127.0.0.1:{port}", os.environ | {"PORT": str(port)}
    command = [sys.executable, "-m", "gunicorn", "-c", "app/gunicorn.conf.py"]
    with tempfile.TemporaryFile("w+") as log:
        process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=log, stderr=log)
        try:
            if not _answers(process, address):
                log.seek(0)
                raise RuntimeError(f"the server does not start:\n{log.read()}")
            yield address
        finally:
            process.terminate()
            process.wait(30)


def _answers(process: subprocess.Popen, address: str) -> bool:
    """Wait until the server answers; False if it ends, or does not answer within five minutes."""
    end = time.time() + 300
    while process.poll() is None and time.time() < end:
        with contextlib.suppress(OSError):
            connection = http.client.HTTPConnection(address, timeout=10)
            connection.request("GET", "/healthz")
            return connection.getresponse().status == 200
        time.sleep(0.2)
    return False


def drawing() -> bytes:
    """A 7 on white, as a PNG."""
    picture = Image.new("L", (400, 400), 255)
    pen = ImageDraw.Draw(picture)
    pen.line([(115, 90), (285, 85), (240, 180), (195, 330)], 17, 24, joint="curve")
    file = io.BytesIO()
    picture.save(file, "PNG")
    return file.getvalue()


def ask(address: str, picture: bytes, end: float) -> list[tuple[float, bool]]:
    """Ask until the time ``end``; return the seconds of each request, and whether it failed."""
    answers = []
    connection = http.client.HTTPConnection(address, timeout=30)
    while time.time() < end:
        start = time.perf_counter()
        try:
            connection.request("POST", REQUEST, picture, {"Content-Type": "image/png"})
            response = connection.getresponse()
            response.read()
            failed = response.status != 200
        except (OSError, http.client.HTTPException):
            failed = True
            connection.close()
        answers.append((time.perf_counter() - start, failed))
    return answers


def measure(address: str, duration: float) -> tuple[np.ndarray, np.ndarray]:
    """Return the seconds of all requests of ``duration`` seconds, and which of them failed."""
    task = (address, drawing(), time.time() + duration)
    # Threads in one process, which mostly wait: clients must not take the cores from the server.
    with multiprocessing.pool.ThreadPool(CONNECTIONS) as pool:
        answers = np.concatenate(pool.starmap(ask, [task] * CONNECTIONS))
    return answers[:, 0], answers[:, 1] > 0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--report", help="file whose table gets this machine's row")
    arguments = parser.parse_args()
    with serve() as address:
        measure(address, duration=2)  # warms both workers up
        start = time.perf_counter()
        seconds, failed = measure(address, arguments.seconds)
        rate = (~failed).sum() / (time.perf_counter() - start)
    ms = [f"{1000 * value:.0f}" for value in np.quantile(seconds, (0.5, 0.95, 0.99, 1))]
    print(f"{rate:.0f} predictions a second, {failed.sum()} failed, {CONNECTIONS} connections")
    print("milliseconds: median {}, 95 % {}, 99 % {}, most {}".format(*ms))
    if arguments.report and not failed.any():
        figures = {"predictions a second": f"{rate:.0f}", "median (ms)": ms[0], "99 % (ms)": ms[2]}
        report.write_row(arguments.report, "app-load", report.machine() | figures)


if __name__ == "__main__":
    main()
