"""How many predictions a second does the page's server answer, and how late is the slowest?

Starts the server as `make app` does and asks it over several connections at once, each of which
waits for its answer before it asks again, with a 400x400 drawing like those that the page sends.

    python -m experiments.app_load [--seconds 20] [--report docs/api.md]
"""

import argparse
import contextlib
import http.client
import io
import multiprocessing.pool
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from study import tables

ROOT = Path(__file__).parent.parent
CONNECTIONS = 8
REQUEST = "/api/predict?votes=0"  # the answering model alone


@contextlib.contextmanager
def serve() -> Iterator[str]:
    """Serve the app as `make app` does, on a free port; yield its host:port once it answers.

    Raises:
        RuntimeError: the server does not start; the message holds what it printed.
    """
    with tempfile.TemporaryFile("w+") as log:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            address, fd = "{}:{}".format(*listener.getsockname()), listener.fileno()
            command = [sys.executable, "-m", "gunicorn", "-c", "app/gunicorn.conf.py"]
            command += ["--bind", f"fd://{fd}"]
            process = subprocess.Popen(command, cwd=ROOT, pass_fds=[fd], stdout=log, stderr=log)
        try:
            # A request waits until a worker takes it; it fails at once if the server ends.
            connection = http.client.HTTPConnection(address, timeout=300)
            connection.request("GET", "/healthz")
            connection.getresponse()
        except OSError as error:
            log.seek(0)
            raise RuntimeError(f"the server does not answer:\n{log.read()}") from error
        else:
            yield address
        finally:
            process.terminate()
            process.wait(30)


def drawing() -> bytes:
    """A 7 on white, as a PNG."""
    picture = Image.new("L", (400, 400), 255)
    pen = ImageDraw.Draw(picture)
    pen.line([(115, 90), (285, 85), (240, 180), (195, 330)], 17, 24, joint="curve")
    file = io.BytesIO()
    picture.save(file, "PNG")
    return file.getvalue()


def ask(address: str, picture: bytes, end: float) -> list[float]:
    """Ask until the time ``end``; return the seconds of each request, NaN where it failed."""
    seconds = []
    while time.time() < end:
        start, answered = time.perf_counter(), False
        with contextlib.suppress(OSError, http.client.HTTPException):
            connection = http.client.HTTPConnection(address, timeout=30)
            connection.request("POST", REQUEST, picture, {"Content-Type": "image/png"})
            response = connection.getresponse()
            response.read()
            answered = response.status == 200
        seconds.append(time.perf_counter() - start if answered else np.nan)
    return seconds


def measure(address: str, duration: float) -> np.ndarray:
    """Ask over all connections for ``duration`` seconds; return what ``ask`` does."""
    task = (address, drawing(), time.time() + duration)
    # Threads in one process, which mostly wait: clients must not take the cores from the server.
    with multiprocessing.pool.ThreadPool(CONNECTIONS) as pool:
        return np.concatenate(pool.starmap(ask, [task] * CONNECTIONS))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--report", help="file whose table gets this machine's row")
    arguments = parser.parse_args()
    with serve() as address:
        measure(address, duration=2)  # warms both workers up
        start = time.perf_counter()
        seconds = measure(address, arguments.seconds)
        rate = np.isfinite(seconds).sum() / (time.perf_counter() - start)
    failed = np.isnan(seconds).sum()
    ms = [f"{1000 * value:.0f}" for value in np.nanquantile(seconds, (0.5, 0.95, 0.99, 1))]
    print(f"{rate:.0f} predictions a second, {failed} failed, {CONNECTIONS} connections")
    print("milliseconds: median {}, 95 % {}, 99 % {}, most {}".format(*ms))
    if arguments.report and not failed:
        figures = {"predictions a second": f"{rate:.0f}", "median (ms)": ms[0], "99 % (ms)": ms[2]}
        tables.write_row(arguments.report, "app-load", tables.machine() | figures)


if __name__ == "__main__":
    main()
