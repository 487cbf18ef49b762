import json
import logging
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from steer._judges import Exchange, Judge, endpoint
from steer._judges._endpoint import _read
from steer.hooks import RunError, TaskError

pytest.importorskip("openai")

KEY = "sk-secret-of-the-test"


class Server(ThreadingHTTPServer):
    """Says what the answer between the tags asks it to say, and remembers what it was asked."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.seen: list[tuple[str, dict[str, Any], dict[str, str]]] = []
        self.tries: dict[str, int] = {}

    def handle_error(self, *_: object) -> None:
        """A client that gave up waiting is part of a test."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/v1"


class _Handler(BaseHTTPRequestHandler):
    server: Server

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.seen.append((self.path, body, {k.lower(): v for k, v in self.headers.items()}))
        asked = body["messages"][0]["content"].split("<answer>\n")[1].split("\n</answer>")[0]
        tried = self.server.tries[asked] = self.server.tries.get(asked, 0) + 1
        for word in asked.split():
            if word.startswith("sleep"):
                time.sleep(float(word[5:]))
            if word.startswith("status") and (tried == 1 or "always" in asked):
                return self._send(int(word[6:]), {"error": {"message": f"no {KEY}"}})
        if "junk" in asked:
            return self._send(200, [])
        if "broken" in asked:
            return self._reply(200, b'{"choices": [')
        if "odd" in asked:
            return self._send(200, {"choices": [{"message": {"content": ["Yes"]}}]})
        reply = asked.split("say ")[-1]
        self._send(200, {"choices": [{"message": {"role": "assistant", "content": reply}}]})

    def _send(self, status: int, what: object) -> None:
        data = json.dumps(what).encode()
        self._reply(status, data)

    def _reply(self, status: int, data: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.send_header("Location", "/elsewhere")  # read with a redirect only
        self.send_header("retry-after-ms", "1")
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("TEST_KEY", KEY)
    monkeypatch.setenv("OPENAI_ORG_ID", "org-of-the-test")
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    with Server() as found:
        thread = threading.Thread(target=found.serve_forever, args=(0.01,))
        thread.start()
        yield found
        found.shutdown()
        thread.join()


def _judge(server: Server, **options: Any) -> Judge:
    return endpoint(server.url, "m", "Is it?", key_variable="TEST_KEY", timeout=5.0, **options)


def _said(judge: Judge, *answers: str) -> list[float | None]:
    return judge([Exchange("q", answer) for answer in answers])


def test_yes_is_one_and_no_is_zero(server: Server) -> None:
    assert _said(_judge(server), "say Yes", "say no.", "say **YES**") == [1.0, 0.0, 1.0]


def test_what_is_sent(server: Server) -> None:
    _said(_judge(server), "say Yes")
    (path, body, headers), *rest = server.seen
    assert not rest
    assert path == "/v1/chat/completions"
    assert (body["model"], body["temperature"], body["max_tokens"]) == ("m", 0, 16)
    text = body["messages"][0]["content"]
    assert "<request>\nq\n</request>" in text
    assert "Is it? Reply with one word, Yes or No." in text
    assert headers["authorization"] == f"Bearer {KEY}"
    assert "org-of-the-test" not in str(headers)


def test_a_server_without_a_key(server: Server) -> None:
    judge = endpoint(server.url, "m", max_tokens=None)  # OPENAI_API_KEY is not set
    assert _said(judge, "say Yes") == [1.0]
    _, body, headers = server.seen[0]
    assert KEY not in str(headers)
    assert "max_tokens" not in body


def test_a_failure_is_tried_again(server: Server) -> None:
    assert _said(_judge(server), "status500 say Yes", "status429 say No") == [1.0, 0.0]
    assert server.tries == {"status500 say Yes": 2, "status429 say No": 2}


def test_one_that_keeps_failing_is_none(server: Server) -> None:
    judge = _judge(server, attempts=3)
    assert _said(judge, "say Yes", "always status500", "say No") == [1.0, None, 0.0]
    assert server.tries["always status500"] == 3
    assert _said(judge, "always status503", "say No") == [None, 0.0]


def test_one_that_is_turned_away_later_is_none(server: Server) -> None:
    assert _said(_judge(server), "say No", "always status400") == [0.0, None]


def test_garbage_is_none(server: Server) -> None:
    said = _said(_judge(server), "junk", "say maybe", "junk 2", "say Yes or No", "say Yes")
    assert said == [None, None, None, None, 1.0]


@pytest.mark.parametrize("garbage", ["broken", "odd", "junk"])
def test_garbage_that_comes_first_is_none(server: Server, garbage: str) -> None:
    assert _said(_judge(server), garbage, garbage + " 2", "say Yes") == [None, None, 1.0]


def test_the_order_is_kept(server: Server) -> None:
    delays = [0.0, 0.2, 0.15, 0.1, 0.05, 0.0]
    answers = [f"sleep{d} say {'Yes' if i % 2 else 'No'}" for i, d in enumerate(delays)]
    started = time.monotonic()
    assert _said(_judge(server, workers=6), *answers) == [0.0, 1.0] * 3
    assert time.monotonic() - started < sum(delays)  # at the same time, so 0.2 s and not 0.5 s


def test_a_redirect_is_not_followed(server: Server) -> None:
    with pytest.raises(RunError, match="status 307"):
        _said(_judge(server), "always status307")
    assert [path for path, *_ in server.seen] == ["/v1/chat/completions"]


def test_the_first_that_is_turned_away_ends_it_and_shows_no_key(
    server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    with pytest.raises(RunError, match=r"\(status 401\).*TEST_KEY$") as caught:
        _said(_judge(server), "always status401", "say Yes")
    assert KEY not in str(caught.getrepr(style="long", chain=True))
    assert KEY not in caplog.text
    assert len(server.seen) == 1


def test_a_server_that_is_not_there(server: Server) -> None:
    with Server() as gone:
        url = gone.url
    judge = endpoint(url, "m", attempts=1, timeout=5.0)
    with pytest.raises(RunError, match=f"^endpoint: {url} does not answer at all; is the server"):
        _said(judge, "say Yes")


def test_a_server_that_is_too_slow(server: Server) -> None:
    judge = endpoint(server.url, "m", attempts=1, timeout=0.05)
    with pytest.raises(RunError, match="does not answer in time"):
        _said(judge, "sleep0.2 say Yes")


def test_nothing_to_judge_asks_nobody(server: Server) -> None:
    assert _judge(server)([]) == []
    assert not server.seen


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        ("Yes", 1.0),
        ("no, it does not", 0.0),
        ("<think>no, wait</think> Yes", 1.0),
        ("<think>yes, so far", None),
        ("yesterday", None),
        ("Yes and no", None),
        ("", None),
        (None, None),
    ],
)
def test_reading_a_reply(reply: str | None, expected: float | None) -> None:
    assert _read(reply) == expected


@pytest.mark.parametrize("url", ["http://me:secret@127.0.0.1/v1", "https://host/v1?key=secret"])
def test_a_url_with_a_secret_is_refused_without_repeating_it(url: str) -> None:
    with pytest.raises(TaskError, match="a user, a password or a query") as caught:
        endpoint(url, "m")
    assert "secret" not in str(caught.value)


def test_the_key_goes_to_no_other_host_in_clear(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "secret")
    with pytest.raises(TaskError, match="would go to judge.example in clear; use https"):
        endpoint("http://judge.example/v1", "m")
    endpoint("https://judge.example/v1", "m")
    endpoint("http://localhost:8000/v1", "m")
    monkeypatch.delenv("OPENAI_API_KEY")
    endpoint("http://judge.example/v1", "m")
