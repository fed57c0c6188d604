"""The client against a small server on this machine that fails in every way that we know of."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipelines.shared.model_server import Answer, Server, ask
from tests.pipelines.model_server import KEY, Fake, completion, said, serve

__all__ = ["serve"]


def asked(fake: Fake, bodies: list[dict[str, Any]], cache: Path | None = None, **settings: Any) -> list[Answer]:
    quick = {"backoff_sec": 0.01, "most_wait_sec": 0.05, "tries": 3, "timeout_sec": 5.0}
    return ask(Server(url=fake.url, **{**quick, **settings}), bodies, cache)


BODIES = [{"model": "m", "n": number} for number in range(6)]


def test_answers_come_in_the_order_of_the_requests(serve: Callable[..., Fake]) -> None:
    fake = serve(lambda body, count: said(f"number {body['n']}"), delay_sec=0.02)
    assert asked(fake, BODIES, concurrency=2) == [Answer(f"number {n}") for n in range(6)]
    assert fake.most_at_once == 2, "no more at a time than allowed, and as many"


@pytest.mark.parametrize(
    "failure,reason",
    [
        ((429, {"Retry-After": "0"}, b""), "http_429"),
        ((500, {}, b"oops"), "http_500"),
        ((503, {"Retry-After": "Wed, 21 Oct 2026 07:28:00 GMT"}, b""), "http_503"),
        ((0, {}, b""), "connect_error"),
        ((200, {}, b"<html>"), "malformed"),
        ((200, {}, b"[" * 100_000), "malformed"),
        ((200, {}, b'{"choices": []}'), "malformed"),
        ((200, {}, b'{"choices": [{"message": {"content": 7}}]}'), "malformed"),
        ((200, {}, b'{"choices": [{"message": {"content": null}}]}'), "malformed"),
        ((200, {}, b'{"choices": {"message": {"content": "x"}}}'), "malformed"),
        ((200, {}, b'{"choices": ["message"]}'), "malformed"),
        ((200, {}, b'{"choices": [{"message": ["content"]}]}'), "malformed"),
        ((200, {}, b'[{"choices": 1}]'), "malformed"),
        ((200, {}, b'{"choices": [{"message": {"content": ["x"]}}]}'), "malformed"),
        ((200, {}, b'{"choices": [{"message": {"content": "caf\xe9"}}]}'), "malformed"),
        ((200, {}, b'{"choices": ' + b"9" * 5000 + b"}"), "malformed"),
        ((200, {"Content-Encoding": "gzip"}, completion("x")), "connect_error"),
        ((200, {}, completion("x" * 300_000)), "too_long"),
        ((200, {"Content-Length": "900"}, completion("cut")), "connect_error"),
    ],
)
def test_what_may_pass_is_asked_again_up_to_a_limit(serve: Callable[..., Fake], failure: Any, reason: str) -> None:
    fake = serve(lambda body, count: failure if body["n"] == 1 or count == 0 else said(f"after {count}"))
    settings = {"max_answer_bytes": 200_000, "timeout_sec": 1.0 if "900" in str(failure[1]) else 5.0}
    answers = asked(fake, BODIES[:2], **settings)
    assert answers[0] == Answer("after 1")
    assert answers[1] == Answer(reason=reason)
    assert sum(body["n"] == 1 for body in fake.asked) == 3


@pytest.mark.parametrize(
    "said,text",
    [("a \\ud83d cat", "a  cat"), ("\\udc00", ""), ("\\ud83d\\ude00", "\U0001f600"), ("a\\u0000b", "a\0b")],
)
def test_half_a_surrogate_pair_is_left_out(serve: Callable[..., Fake], tmp_path: Path, said: str, text: str) -> None:
    """As JSON can say it; answers are kept, too."""
    content = b'{"choices": [{"message": {"content": "%s"}}]}' % said.encode()
    fake = serve(lambda body, count: (200, {}, content))
    assert asked(fake, BODIES[:1], tmp_path) == asked(fake, BODIES[:1], tmp_path) == [Answer(text)]
    assert len(fake.asked) == 1, "the second answer is the one that was kept"


def test_a_slow_answer(serve: Callable[..., Fake]) -> None:
    fake = serve(lambda body, count: said("late"), delay_sec=0.5)
    assert asked(fake, BODIES[:1], timeout_sec=0.1, tries=2) == [Answer(reason="timeout")]
    assert len(fake.asked) == 2


def test_pauses_grow_and_heed_the_server_up_to_a_limit(serve: Callable[..., Fake]) -> None:
    fake = serve(lambda body, count: (429, {"Retry-After": "9"} if count else {}, b""))
    asked(fake, BODIES[:1], backoff_sec=0.1, most_wait_sec=0.3)
    first, second = (late - early for early, late in zip(fake.times, fake.times[1:], strict=False))
    assert 0.1 <= first < 0.28 and 0.3 <= second < 0.6


@pytest.mark.parametrize("status", [400, 413, 422, 302])
def test_what_will_not_pass_is_not_asked_again(serve: Callable[..., Fake], status: int) -> None:
    fake = serve(
        lambda body, count: (status, {"Location": fake.url + "/elsewhere"}, b"") if body["n"] == 0 else said("ok")
    )
    assert asked(fake, BODIES[:2]) == [Answer(reason=f"http_{status}"), Answer("ok")]
    assert len(fake.asked) == 2


@pytest.mark.parametrize("status", [401, 403, 404])
def test_a_users_mistake_ends_the_work(serve: Callable[..., Fake], status: int) -> None:
    fake = serve(lambda body, count: (status, {}, KEY.encode()))
    with pytest.raises(ValueError, match=f"the model server answers {status}: ") as caught:
        asked(fake, BODIES, key=KEY)
    assert KEY not in str(caught.value)


def test_a_refusal_is_an_answer_without_a_text(serve: Callable[..., Fake]) -> None:
    refused = {"choices": [{"message": {"content": None, "refusal": "I cannot"}}]}
    answers = {0: json.dumps(refused).encode(), 1: completion(None, finish_reason="content_filter"), 2: completion("")}
    fake = serve(lambda body, count: (200, {}, answers[body["n"]]))
    assert asked(fake, BODIES[:3]) == [Answer(), Answer(), Answer()]
    assert len(fake.asked) == 3


def test_the_cache_is_keyed_by_content(serve: Callable[..., Fake], tmp_path: Path) -> None:
    fake = serve(lambda body, count: said(f"text {body['n']}") if body["n"] < 2 else (500, {}, b""))
    first = asked(fake, [*BODIES[:3], BODIES[0]], tmp_path, tries=1, key=KEY)
    assert first == [Answer("text 0"), Answer("text 1"), Answer(reason="http_500"), Answer("text 0")]
    assert len(fake.asked) == 3, "equal requests are sent once"
    assert asked(fake, BODIES[:3], tmp_path, tries=1) == first[:3]
    assert [body["n"] for body in fake.asked[3:]] == [2], "failures are not kept"
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(files) == 2 and not any(KEY in path.read_text() for path in files)
    for path in files:
        os.utime(path, (0, 0))
    asked(fake, BODIES[:1], tmp_path)
    assert [path.stat().st_mtime > 0 for path in files].count(True) == 1, "what is used is not old"
    files[0].write_text("{")
    assert asked(fake, BODIES[:2], tmp_path) == first[:2]
    assert len(fake.asked) == 5, "a damaged file is asked for again"


def test_the_key_goes_into_one_header_and_nowhere_else(serve: Callable[..., Fake], caplog: Any) -> None:
    fake = serve(lambda body, count: said("ok"))
    asked(fake, BODIES[:1], key=KEY)
    assert fake.headers[0]["Authorization"] == f"Bearer {KEY}"
    asked(fake, BODIES[1:2])
    assert "Authorization" not in fake.headers[1]
    assert KEY not in repr(Server(url=fake.url, key=KEY)) + caplog.text + json.dumps(fake.asked)


@pytest.mark.parametrize(
    "url,key,message",
    [
        ("ftp://a/v1", "", "must be http"),
        ("https://user:pass@a/v1", "", "without a user"),
        ("https://a/v1?key=1", "", "without a user and a query"),
        ("http://a.example/v1", KEY, "a key goes over https, or to this machine"),
        ("http://10.0.0.1/v1", KEY, "a key goes over https"),
        ("https://a.example/v1", KEY + "\n", "printable ASCII"),
    ],
)
def test_where_a_key_may_go(url: str, key: str, message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        Server(url=url, key=key)
    assert KEY not in str(caught.value) and "pass" not in str(caught.value)
    Server(url="https://a.example/v1", key=KEY), Server(url="http://[::1]:8000/v1", key=KEY), Server(url="http://a/v1")
