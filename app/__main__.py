"""The command line: read pictures, or serve the page and its API.

    python -m app read [--json] PICTURE...
    python -m app serve [--host 127.0.0.1] [--port 8000]

Each command imports what it needs when it runs, since PyTorch takes seconds to import.
"""

import argparse
import json
import logging
import os
import socket
import sys
from contextlib import nullcontext, suppress
from importlib.util import find_spec
from pathlib import Path

LOOPBACK = "127.0.0.1", "localhost", "::1"
# Addresses that stand for all of this machine's, each with one outside to find the nearest by.
EVERY = {"0.0.0.0": (socket.AF_INET, "192.0.2.1"), "::": (socket.AF_INET6, "2001:db8::1")}


def main(arguments: list[str] | None = None) -> int:
    """Run a command and return its exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m app", description="Read handwritten digits, or serve the page that does."
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _add_read(commands)
    _add_serve(commands)
    options = parser.parse_args(arguments)
    with suppress(KeyboardInterrupt):
        return options.run(options)
    return 130  # as a shell reports what Ctrl-C ended


def _add_read(commands: argparse._SubParsersAction) -> None:
    command = commands.add_parser(
        "read",
        help="read the digits in pictures",
        description="Read the digits in each picture and print them, with the probability of each, "
        "or print why there are none; ? stands for a piece that is no digit. A picture with "
        "several lines of digits gets as many lines of output.",
        epilog="The exit status is 1 if one of the pictures could not be read, and 2 if none could "
        "be tried. Pictures are PNG, JPEG, WebP, GIF, BMP or TIFF, of at most 8 MB and 25 million "
        "pixels.",
    )
    command.add_argument("pictures", nargs="+", metavar="PICTURE", help="a file, or - for stdin")
    command.add_argument(
        "--json", action="store_true", help="write a JSON object on each line, as the API does"
    )
    command.set_defaults(run=read)


def _add_serve(commands: argparse._SubParsersAction) -> None:
    command = commands.add_parser(
        "serve",
        help="serve the page and its API",
        description="Serve the draw-a-digit page and its API, with gunicorn where it is installed, "
        "otherwise (on Windows) with Flask's own server. Ctrl-C stops it.",
    )
    command.add_argument(
        "--host",
        default="127.0.0.1",
        help="address to listen on (default: %(default)s, this machine alone); there is no "
        "password and no encryption",
    )
    command.add_argument("--port", default=8000, type=_port, help="(default: %(default)s)")
    command.set_defaults(run=serve)


def _port(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 65535:
        raise argparse.ArgumentTypeError(f"a port is a number from 1 to 65535, not {text!r}")
    return int(text)


def read(options: argparse.Namespace) -> int:
    """Print a line for each picture; return 1 if one could not be read in full, otherwise 0."""
    if sys.stdout is None:
        print("The output is closed, so no answer could be shown.", file=sys.stderr)
        return 2
    from app.service import Service
    from study.evaluation import one_thread
    from study.weights import ModelFileError

    try:
        service = Service(votes=False)
    except ModelFileError as error:
        print(error, file=sys.stderr)
        return 2
    with suppress(AttributeError):  # a notebook's output shows every name
        sys.stdout.reconfigure(errors="backslashreplace")
    status = 0
    with one_thread():  # an image of 28x28 is too small to be shared among cores
        for file in options.pictures:
            answer = _answer(service, file)
            digits = answer.get("digits")
            status |= not digits or any(one["digit"] is None for one in digits)
            _print(_as_json(file, answer) if options.json else _as_text(file, answer))
    return int(status)


def _print(line: str) -> None:
    """Print a line at once, or end the command if it cannot be written."""
    try:
        print(line, flush=True)
    except OSError as error:
        with suppress(OSError):
            # Python will try again when it ends; this time, it must succeed.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if not isinstance(error, BrokenPipeError):  # as when `head` has seen enough
            print(f"The output cannot be written: {error.strerror}.", file=sys.stderr)
        raise SystemExit(1) from None


def _answer(service, file: str) -> dict:
    """Return the answer to a picture, or {"error": ...} if the file is not a picture."""
    from werkzeug.exceptions import HTTPException

    from app import uploads

    try:
        picture = uploads.read(_content(file, uploads.MAX_BYTES + 1))
    except OSError as error:
        return {"error": _advice(file) or f"{error.strerror or error}."}
    except HTTPException as error:
        return {"error": error.description}
    return service.answer(picture, votes=False)


def _content(file: str, most: int) -> bytes:
    standard = getattr(sys.stdin, "buffer", None)  # none where it is closed, or a window of text
    if file == "-" and standard is None:
        raise OSError("The input is closed")
    with nullcontext(standard) if file == "-" else Path(file).open("rb") as stream:
        return stream.read(most)


def _advice(file: str) -> str | None:
    """Return what to type in place of a folder, an address, or a pattern left by the shell."""
    if Path(file).is_dir():
        return f"This is a folder; give the pictures in it, such as {Path(file) / '*.png'}."
    if "://" in file:
        return "Addresses are not read; save the picture and give the file's name."
    if set(file) & set("*?[") and not Path(file).exists():
        return (
            "No file has this name, and this shell does not replace it with those that match; in "
            f"PowerShell, type python -m app read (dir {file}).FullName"
        )
    return None


def _rows(answer: dict) -> list[list[dict]]:
    """Return an answer's digits, line by line; without lines, what was found is one line."""
    digits = answer["digits"]
    rows = [[digits[one["place"]] for one in line["digits"]] for line in answer["lines"]]
    return rows or [digits]


def _text(row: list[dict]) -> str:
    """Return the digits of a line, with "?" for what is no digit."""
    return "".join("?" if one["digit"] is None else str(one["digit"]) for one in row)


def _as_text(file: str, answer: dict) -> str:
    """Return "number.png: 20?6 (over 99.9 %, 98.2 %, no digit that I know, 97.0 %)", say."""
    if not answer.get("digits"):
        return f"{file}: {answer.get('error') or answer['reason']}"
    lines = []
    for row in _rows(answer):
        certain = [one["reason"] or _percent(one["probabilities"][one["digit"]]) for one in row]
        lines.append(f"{file}: {_text(row)} ({', '.join(certain)})")
    return "\n".join(lines)


def _percent(probability: float) -> str:
    """Return "98.2 %", say: no probability is 0 or 1, though it may be rounded to them."""
    rounded = f"{100 * probability:.1f}"
    return {"100.0": "over 99.9", "0.0": "under 0.1"}.get(rounded, rounded) + " %"


def _as_json(file: str, answer: dict) -> str:
    """Return the answer without the networks' input and votes, which would fill the screen."""
    if "error" not in answer:
        digits = [{key: one[key] for key in one if key != "image"} for one in answer["digits"]]
        kept = {key: answer[key] for key in answer if key not in ("image", "models")}
        answer = {"text": "\n".join(map(_text, _rows(answer)))} | kept | {"digits": digits}
    return json.dumps({"file": file} | answer)


def serve(options: argparse.Namespace) -> int:
    """Serve the page until the process is stopped."""
    host = f"[{options.host}]" if ":" in options.host else options.host
    known = _nearest(options.host) if options.host in EVERY else host
    _print(
        f"== serving http://{known or host}:{options.port} "
        "(the models take a few seconds to load; stop with Ctrl-C)"
    )
    if not known:
        _print(f"   From another device, open this machine's address in place of {host}.")
    if options.host not in LOOPBACK:
        _print("   Anyone who can reach this address can send pictures; nothing is encrypted.")
    # gunicorn takes the place of this process, which must not be that of a notebook.
    if sys.platform != "win32" and not hasattr(sys, "ps1") and find_spec("gunicorn"):
        config = Path(__file__).resolve().with_name("gunicorn.conf.py")
        command = [sys.executable, "-m", "gunicorn", "--config", str(config)]
        os.execv(sys.executable, [*command, "--bind", f"{host}:{options.port}"])
    from werkzeug.serving import run_simple

    from app import create_app

    logging.getLogger("werkzeug").setLevel(logging.WARNING)  # no line for each request
    run_simple(options.host, options.port, create_app(), threaded=True)
    return 0


def _nearest(host: str) -> str | None:
    """Return the address at which others reach this machine; None if it is in no network."""
    family, outside = EVERY[host]
    with suppress(OSError), socket.socket(family, socket.SOCK_DGRAM) as probe:
        probe.connect((outside, 9))  # chooses an address, and sends nothing
        found = probe.getsockname()[0]
        return f"[{found}]" if ":" in found else found
    return None


if __name__ == "__main__":
    sys.exit(main())
