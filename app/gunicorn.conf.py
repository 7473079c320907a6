"""How `make app` serves the page: two workers, each with its own copy of the models."""

import os
from pathlib import Path

# Before torch is imported. One thread a prediction: two workers fill two cores, and a picture of
# 28x28 is too small to be shared out.
for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ[variable] = "1"

wsgi_app = "app:create_app()"
bind = f"127.0.0.1:{os.environ.get('PORT', 8000)}"
workers = 2
threads = 2  # requests that a worker reads and writes at once; more only wait for each other
keepalive = 0  # a connection is for one request: the next goes to the worker that is free
control_socket_disable = True  # it would be a file in the home folder
timeout = 30  # seconds; a worker that hangs is replaced
graceful_timeout = 5  # for answers under way when the server is ended
if Path("/dev/shm").is_dir():
    worker_tmp_dir = "/dev/shm"  # the workers' heartbeat: in memory, not on a disk
