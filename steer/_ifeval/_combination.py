"""Responses made of two parts."""


def two_responses(response: str) -> bool:
    """Exactly two responses that differ, divided by `******`.

    A blank one at either end is not counted, one in the middle fails.
    """
    parts = [part.strip() for part in response.split("******")]
    given = [part for part in parts if part]
    return all(parts[1:-1]) and len(given) == 2 and given[0] != given[1]


def repeat_prompt(response: str, *, prompt_to_repeat: str) -> bool:
    """The response starts with the prompt to repeat, in any case."""
    return response.strip().lower().startswith(prompt_to_repeat.strip().lower())
