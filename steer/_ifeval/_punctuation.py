"""Marks that a response must do without."""


def no_comma(response: str) -> bool:
    """No comma occurs; as in the original only `,` is one."""
    return "," not in response
