"""A chat endpoint that speaks the OpenAI protocol as judge: a local server or a service.

Every prompt and answer that is judged goes to the URL that the caller names, and nowhere else.
"""

import os
import re
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from steer.hooks import RunError, SteerError, TaskError

from ._asking import REFUSAL_QUESTION, asked
from ._judge import Exchange, Judge

if TYPE_CHECKING:
    from openai import OpenAI

_THOUGHT = re.compile(r"<think>.*?(?:</think>|\Z)", re.DOTALL)
_WORD = re.compile(r"\b(yes|no)\b", re.IGNORECASE)


def endpoint(
    url: str,
    model: str,
    question: str = REFUSAL_QUESTION,
    *,
    key_variable: str | None = "OPENAI_API_KEY",
    timeout: float = 60.0,
    attempts: int = 4,
    workers: int = 4,
    max_tokens: int | None = 16,
) -> Judge:
    """A judge that asks a model behind an OpenAI-compatible chat completions endpoint.

    Args:
        url: base URL, such as `http://localhost:8000/v1`.
        model: the model's name there.
        question: a yes-or-no question on the answer.
        key_variable: the environment variable that holds the key, read at each call and sent to
            `url` alone; None, or a variable that is not set, for servers that want no key.
        timeout: seconds that one attempt may take.
        attempts: how often one exchange is tried; with growing pauses, and only where another try
            may help (no connection, a time-out, status 408, 409, 429 and 5xx).
        workers: requests at the same time.
        max_tokens: length of the reply; None for the server's own limit, which a model that thinks
            before it replies needs.

    Returns:
        A judge that says 1 for yes, 0 for no, and None where the reply says neither or every
        attempt failed. It raises `RunError` if the first exchange finds no server or is turned
        away, since all others would be too.

    Raises:
        TaskError: if the URL is none.
        SteerError: if the `openai` package is missing.
    """
    _check(url, key_variable)
    _package()

    def judge(exchanges: Sequence[Exchange]) -> list[float | None]:
        if not exchanges:
            return []
        with _client(url, key_variable, timeout, attempts) as client:

            def ask(exchange: Exchange) -> float | None:
                return _ask(client, model, asked(exchange, question), max_tokens)

            first = _first(lambda: ask(exchanges[0]), url, key_variable)
            with ThreadPoolExecutor(workers) as pool:
                found = [first, *pool.map(lambda e: _or_none(lambda: ask(e)), exchanges[1:])]
        if len(found) > 1 and not any(isinstance(value, float) for value in found):
            raise RunError(
                f"endpoint: {url} gave no verdict on any of {len(found)} answers; what was done "
                "before is safe, run the same command again when it answers"
            )
        return found

    return judge


def _check(url: str, key_variable: str | None) -> None:
    # None of the messages quotes the URL where it may hold a secret.
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise TaskError("endpoint: this is no URL; expected http://host/v1 or https://host/v1")
    if parts.username or parts.password or parts.query:
        raise TaskError(
            f"endpoint: the URL of {parts.hostname} holds a user, a password or a query, which "
            "would be written into the results; put the key into OPENAI_API_KEY instead"
        )
    near = parts.hostname in ("localhost", "::1") or parts.hostname.startswith("127.")
    if parts.scheme == "http" and not near and key_variable and os.environ.get(key_variable):
        raise TaskError(
            f"endpoint: {key_variable} would go to {parts.hostname} in clear; use https, or unset "
            "the variable for a server that needs no key"
        )


def _package() -> Any:
    try:
        import openai
    except ImportError:
        raise SteerError(
            'endpoint: the openai package is missing; run: python -m pip install "steer[judge]"'
        ) from None
    return openai


def _client(url: str, key_variable: str | None, timeout: float, attempts: int) -> "OpenAI":
    openai = _package()
    key = os.environ.get(key_variable) if key_variable else None
    client: OpenAI = openai.OpenAI(
        base_url=url,
        api_key=key or "none",  # servers without keys ignore it; the package insists on one
        timeout=timeout,
        max_retries=max(0, attempts - 1),
        http_client=openai.DefaultHttpxClient(follow_redirects=False),
    )
    # Taken from the environment, and of no concern to url.
    client.organization = client.project = None
    client._custom_headers = {}
    return client


def _ask(client: "OpenAI", model: str, text: str, max_tokens: int | None) -> float | None:
    options: dict[str, Any] = {} if max_tokens is None else {"max_tokens": max_tokens}
    reply = client.chat.completions.create(
        model=model, messages=[{"role": "user", "content": text}], temperature=0, **options
    )
    choices = getattr(reply, "choices", None)  # a server of another kind sends anything
    first = choices[0] if isinstance(choices, list) and choices else None
    return _read(getattr(getattr(first, "message", None), "content", None))


def _read(reply: Any) -> float | None:
    """1 for yes, 0 for no; None for neither, both, or what is no text."""
    text = _THOUGHT.sub("", reply) if isinstance(reply, str) else ""
    said = {word.lower() for word in _WORD.findall(text)}
    return float("yes" in said) if len(said) == 1 else None


def _first(ask: Callable[[], float | None], url: str, key_variable: str | None) -> float | None:
    # No error of the package is chained or quoted: a server may echo the key.
    openai = _package()
    try:
        return ask()
    except openai.APIConnectionError as error:
        what = "in time" if isinstance(error, openai.APITimeoutError) else "at all"
        raise RunError(f"endpoint: {url} does not answer {what}; is the server running?") from None
    except openai.APIStatusError as error:
        status = error.status_code
        if status >= 500 or status in (408, 409, 429):
            return None
        raise RunError(
            f"endpoint: {url} turns requests away (status {status}); check the model's name and "
            f"the key in {key_variable}"
        ) from None
    except (openai.OpenAIError, ValueError):
        return None


def _or_none(ask: Callable[[], float | None]) -> float | None:
    try:
        return ask()
    except (_package().OpenAIError, ValueError):  # ValueError: a reply that is no JSON
        return None
