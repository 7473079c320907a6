"""The app, served as `make app` serves it."""

from __future__ import annotations

import contextlib
import http.client
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parent.parent


@contextlib.contextmanager
def serve() -> Iterator[str]:
    """Serve the app on a free port; yield its address, http://HOST:PORT, once it answers.

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
            yield f"http://{address}"
        finally:
            process.terminate()
            process.wait(30)
