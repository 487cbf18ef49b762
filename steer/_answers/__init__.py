"""Final answers of GSM8K and MATH: asking for them, reading them, comparing them."""

from ._boxed import boxed
from ._final import final_answer
from ._numbers import last_number, same_number
from ._prompts import GSM8K_PROMPT, MATH_PROMPT
from ._same import same_answer

__all__ = [
    "GSM8K_PROMPT",
    "MATH_PROMPT",
    "boxed",
    "final_answer",
    "last_number",
    "same_answer",
    "same_number",
]
