"""How a response ends, and what it is wrapped in."""


def end_checker(response: str, *, end_phrase: str) -> bool:
    """The response ends with the phrase, in any case; quotation marks after it are let off."""
    return response.strip().strip('"').lower().endswith(end_phrase.strip().lower())


def quotation(response: str) -> bool:
    """The response starts and ends with a straight double quotation mark, and not the same."""
    text = response.strip()
    return len(text) > 1 and text[0] == text[-1] == '"'
