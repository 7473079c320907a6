"""How `make app` serves the page: two workers, each with its own copy of the models."""

from pathlib import Path

wsgi_app = "app:create_app()"
chdir = str(Path(__file__).resolve().parent.parent)  # where the app is found
bind = "127.0.0.1:8000"
workers = 2
threads = 2  # requests that a worker handles at once; with more, they only wait for each other
keepalive = 0  # one request per connection, so that the next one goes to whichever worker is free
control_socket_disable = True  # it would create a file in the home folder
timeout = 120  # seconds; a worker that hangs, or loads its models, for longer is replaced
graceful_timeout = 5  # seconds to finish answers when the server is stopped
worker_tmp_dir = "/dev/shm" if Path("/dev/shm").is_dir() else None  # heartbeats stay off the disk
loglevel = "warning"
