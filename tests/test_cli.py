"""The command line: a line for each picture, its exit status, and the two servers."""

from __future__ import annotations

import contextlib
import http.client
import io
import json
import os
import re
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
import torch
from PIL import Image
from werkzeug.serving import make_server

from app.__main__ import main
from app.uploads import MAX_BYTES
from asking import encoded
from conftest import ROOT
from experiments.scenes import side_by_side

PERCENT = r"(over )?\d+\.\d %"


@pytest.fixture
def folder(tmp_path, monkeypatch, seven, digits) -> Path:
    """The current folder, with pictures, and files that are none."""
    seven.save(tmp_path / "seven.png")
    images = [digits[1].images[index].numpy() for index in (1, 3, 0, 4)]
    number = Image.fromarray(side_by_side(images, gap=6))
    number.resize((4 * number.width, 4 * number.height)).save(tmp_path / "number.webp")
    Image.new("L", (50, 50), 255).save(tmp_path / "blank.gif")
    (tmp_path / "notes.txt").write_text("not a picture")
    (tmp_path / "scans").mkdir()
    (tmp_path / "empty.png").touch()
    (tmp_path / "photo.heic").write_bytes(b"\0\0\0\x24ftypheic\0\0\0\0mif1heic")
    (tmp_path / "large.png").write_bytes(bytes(MAX_BYTES + 1))
    (tmp_path / "half.png").write_bytes(encoded(seven)[:200])
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def read(folder, service, monkeypatch, capsys):
    """Run `read` with the session's models; return its exit status and its lines."""

    def load(votes):
        assert not votes  # the answering model is enough
        return service

    monkeypatch.setattr("app.service.Service", load)

    def run(*arguments: str) -> tuple[int, list[str]]:
        status = main(["read", *arguments])
        printed = capsys.readouterr()
        assert printed.err == ""
        return status, printed.out.splitlines()

    return run


def test_reads_from_any_folder_and_answers_all_that_can_be(folder, seven):
    command = [sys.executable, "-m", "app", "read", "seven.png", "notes.txt", "-", "number.webp"]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "always"}
    done = subprocess.run(
        command, cwd=folder, env=environment, input=encoded(seven), capture_output=True
    )
    assert done.returncode == 1, done.stderr
    lines = done.stdout.decode().splitlines()
    assert re.fullmatch(rf"seven\.png: 7 \({PERCENT}\)", lines[0])
    assert lines[1].startswith("notes.txt: This is not a PNG")
    assert lines[2] == lines[0].replace("seven.png", "-")
    assert re.fullmatch(rf"number\.webp: 2074 \(({PERCENT}, ){{3}}{PERCENT}\)", lines[3])
    assert len(lines) == 4


def test_status_is_0_if_all_were_read(read):
    status, lines = read("seven.png", "number.webp", "seven.png")
    assert status == 0 and len(lines) == 3


@pytest.mark.parametrize(
    ("file", "why"),
    [
        ("notes.txt", "This is not a PNG"),
        ("half.png", "or it is damaged"),
        ("empty.png", "0 bytes"),
        ("photo.heic", "Export it as a JPEG"),
        ("large.png", "at most 8 MB"),
        ("missing.png", "No such file"),
        ("page-[0-9].webp", "type python -m app read (dir page-[0-9].webp).FullName"),
        ("scans/*", "type python -m app read (dir scans/*).FullName"),
        ("scans", "such as scans/*.png"),
        ("https://example.org/7.png", "save the picture"),
        ("blank.gif", "nothing drawn"),
    ],
)
def test_status_is_1_if_one_was_not_read(read, file, why):
    status, lines = read(file, "seven.png")
    assert status == 1
    assert lines[0].startswith(f"{file}: ") and why in lines[0]
    assert lines[1].startswith("seven.png: 7 (")
    status, [line] = read("--json", file)
    answer = json.loads(line)
    assert status == 1 and answer["file"] == file
    assert answer.get("error", answer.get("reason")) == lines[0].partition(": ")[2]


def test_a_piece_that_is_no_digit_is_a_question_mark(read, service, monkeypatch):
    whole = service.answer(np.asarray(Image.open("number.webp").convert("L")), votes=False)
    whole["digits"][1] |= {"digit": None, "reason": "no digit that I know"}
    monkeypatch.setattr(service, "answer", lambda *_, **__: whole)
    status, [line] = read("number.webp")
    assert status == 1
    certain = f"{PERCENT}, no digit that I know, {PERCENT}, {PERCENT}"
    assert re.fullmatch(rf"number\.webp: 2\?74 \({certain}\)", line)
    _, [line] = read("--json", "number.webp")
    assert json.loads(line)["text"] == "2?74"


def test_a_line_for_each_line_of_digits(read, service, monkeypatch):
    whole = service.answer(np.asarray(Image.open("number.webp").convert("L")), votes=False)
    places = [{"digit": one["digit"], "place": i} for i, one in enumerate(whole["digits"])]
    whole["lines"] = [{"digits": places[2:]}, {"digits": places[:2]}]
    monkeypatch.setattr(service, "answer", lambda *_, **__: whole)
    status, lines = read("number.webp")
    assert status == 0 and len(lines) == 2
    for line, text in zip(lines, ("74", "20"), strict=True):
        assert re.fullmatch(rf"number\.webp: {text} \({PERCENT}, {PERCENT}\)", line)
    _, [line] = read("--json", "number.webp")
    assert json.loads(line)["text"] == "74\n20"


def test_json_is_the_answer_of_the_api_without_its_images(read, client):
    status, lines = read("--json", "seven.png", "number.webp")
    for file, text, line in zip(("seven.png", "number.webp"), ("7", "2074"), lines, strict=True):
        answer = json.loads(line)
        assert answer.pop("file") == file and answer.pop("text") == text
        content = Path(file).read_bytes()
        wanted = client.post("/api/predict?votes=0", data=content).get_json()
        del wanted["image"], wanted["models"]
        for digit in wanted["digits"]:
            del digit["image"]
        assert answer == wanted
    assert status == 0


@pytest.mark.parametrize(
    ("probability", "shown"),
    [(1, "over 99.9 %"), (0.9996, "over 99.9 %"), (0.9994, "99.9 %"), (4e-4, "under 0.1 %")],
)
def test_no_probability_is_0_or_1(read, service, monkeypatch, probability, shown):
    answer = service.answer(np.asarray(Image.open("seven.png").convert("L")), votes=False)
    answer["digits"][0]["probabilities"][7] = probability
    monkeypatch.setattr(service, "answer", lambda *_, **__: answer)
    assert read("seven.png")[1] == [f"seven.png: 7 ({shown})"]


def test_in_a_notebook(read, monkeypatch):
    """Its streams hold text, no bytes; what is trained there later has all its threads."""
    monkeypatch.setattr(sys, "stdout", io.StringIO())
    monkeypatch.setattr(sys, "stdin", io.StringIO("text"))
    torch.set_num_threads(2)
    assert main(["read", "number.webp", "-"]) == 1
    lines = sys.stdout.getvalue().splitlines()
    assert lines[0].startswith("number.webp: 2074 (") and lines[1] == "-: The input is closed."
    assert torch.get_num_threads() == 2


def test_serving_from_a_notebook_leaves_its_process_there(monkeypatch):
    served = []
    monkeypatch.setattr(sys, "ps1", "In : ", raising=False)
    monkeypatch.setattr(os, "execv", lambda *_: pytest.fail("the notebook's process is gone"))
    monkeypatch.setattr("werkzeug.serving.run_simple", lambda *address, **_: served.append(address))
    monkeypatch.setattr("app.routes.Service", lambda: None)
    assert main(["serve", "--port", "8003"]) == 0
    assert served[0][:2] == ("127.0.0.1", 8003)


def test_closed_input(read, monkeypatch):
    monkeypatch.setattr(sys, "stdin", None)
    assert read("-", "seven.png")[1][0] == "-: The input is closed."


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="only Linux has a full device")
@pytest.mark.parametrize(
    ("command", "status", "why"),
    [
        ("read --json seven.png >&-", 2, "The output is closed"),
        ("read missing.png blank.gif > /dev/full", 1, "No space left"),
        ("read --json missing.png seven.png > /dev/full", 1, "No space left"),
        ("serve --port 8001 > /dev/full", 1, "No space left"),
    ],
)
def test_closed_or_full_output(folder, command, status, why):
    done = subprocess.run(
        ["bash", "-c", f"{sys.executable} -m app {command}"],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == status
    assert why in done.stderr and done.stderr.count("\n") == 1


@pytest.mark.parametrize("command", ["read blank.gif blank.gif", "read --json seven.png", "--help"])
def test_output_that_nobody_reads_to_its_end(folder, command):
    """As with `| head`: it is no error that needs words."""
    done = subprocess.run(
        ["bash", "-c", f"{sys.executable} -m app {command} | true"],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert done.stderr == ""


def test_names_that_cannot_be_shown(folder, read, monkeypatch):
    (folder / "sieben \u2166.png").write_bytes((folder / "seven.png").read_bytes())
    output = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", output)
    assert main(["read", "sieben \u2166.png"]) == 0
    assert output.buffer.getvalue().startswith(b"sieben \\u2166.png: 7 (")


def test_status_is_2_without_the_answering_model(folder, capsys, monkeypatch):
    monkeypatch.setattr("app.service.ROOT", folder)
    monkeypatch.setattr("app.service.Service.__init__.__defaults__", (folder, True))
    assert main(["read", "seven.png"]) == 2
    printed = capsys.readouterr()
    assert printed.out == "" and "robust.pt" in printed.err


@pytest.mark.parametrize(
    "arguments", [[], ["read"], ["write", "7.png"], ["serve", "--port", "0"], ["serve", "--port=x"]]
)
def test_misspelt_commands(arguments, capsys):
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2 and "usage: python -m app" in capsys.readouterr().err


def test_help_does_not_wait_for_pytorch():
    code = "import sys, app.__main__; print('torch' in sys.modules or 'flask' in sys.modules)"
    assert subprocess.check_output([sys.executable, "-c", code], cwd=ROOT, text=True) == "False\n"


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


def test_serve_starts_gunicorn_at_that_address(tmp_path, monkeypatch, capsys):
    started = []
    monkeypatch.setattr(os, "execv", lambda _, command: started.extend(command))
    monkeypatch.setattr("werkzeug.serving.run_simple", lambda *_, **__: None)
    monkeypatch.setattr("app.routes.Service", lambda: None)
    port = free_port()
    main(["serve", "--host", "localhost", "--port", str(port)])
    assert f"http://localhost:{port}" in capsys.readouterr().out
    # In place of the page, an application that starts at once; the page itself is served so in
    # the tests with a browser.
    process = subprocess.Popen([*started, "werkzeug.testapp:test_app"], cwd=tmp_path)
    try:
        response = asked(port, "GET", "/")
    finally:
        process.terminate()
        assert process.wait(30) == 0
    assert response.status == 200


@pytest.mark.parametrize(
    ("host", "found", "shown", "advised"),
    [
        ("0.0.0.0", "10.1.2.3", "http://10.1.2.3:8002 ", False),
        ("::", "fd00::7", "http://[fd00::7]:8002 ", False),
        ("::", None, "http://[::]:8002 ", True),
    ],
)
def test_serve_names_an_address_for_other_devices(monkeypatch, capsys, host, found, shown, advised):
    monkeypatch.setattr(os, "execv", lambda *_: None)
    monkeypatch.setattr("werkzeug.serving.run_simple", lambda *_, **__: None)
    monkeypatch.setattr("app.routes.Service", lambda: None)
    probe = mock.MagicMock()
    opened = probe.return_value.__enter__.return_value
    opened.getsockname.return_value = (found, 50_000)
    opened.connect.side_effect = None if found else OSError("no network")
    monkeypatch.setattr(socket, "socket", probe)
    main(["serve", "--host", host, "--port", "8002"])
    printed = capsys.readouterr().out
    assert shown in printed and ("this machine's address" in printed) == advised


def asked(port: int, *request) -> http.client.HTTPResponse:
    """The response of a server that may still be starting."""
    end = time.monotonic() + 60
    while True:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        with contextlib.suppress(ConnectionRefusedError):
            connection.request(*request)
            return connection.getresponse()
        assert time.monotonic() < end, "the server does not start"
        time.sleep(0.1)


@pytest.fixture
def flask_server(service, monkeypatch):
    """The port of the server that `serve` starts where there is no gunicorn."""
    started = {}

    def run_simple(host, port, application, **options):
        started.update(server=make_server(host, 0, application, **options), port=port)

    monkeypatch.setattr("app.__main__.find_spec", lambda _: None)
    monkeypatch.setattr("werkzeug.serving.run_simple", run_simple)
    monkeypatch.setattr("app.routes.Service", lambda: service)
    main(["serve", "--port", "8123"])
    assert started["port"] == 8123
    server = started["server"]
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server.server_port
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_flask_serves_where_gunicorn_does_not_exist(flask_server, seven):
    """It does not end the stream of a body: whoever reads on waits for ever."""
    address = "/api/predict?votes=0"
    for body, status in (
        (encoded(seven), 200),
        (bytes(MAX_BYTES + 100_001), 413),
        (encoded(Image.new("1", (6000, 6000))), 413),
        (b"no picture", 400),
    ):
        response = asked(flask_server, "POST", address, body, {"Content-Type": "image/png"})
        assert response.status == status
        assert json.loads(response.read()).keys() & {"digit", "error"}
