r"""What chat models are asked, so that the answer ends in the form that is read first.

Fill in with `.format(question=...)`; braces within the question stay as they are.
"""

GSM8K_PROMPT = (
    "{question}\n\n"
    'Please reason step by step, and end with a line "#### " followed by the final answer as a '
    "plain number."
)
"""GSM8K's own answer form (Cobbe et al. 2021, arXiv 2110.14168), asked for in words."""

MATH_PROMPT = (
    "{question}\n\nPlease reason step by step, and put your final answer within \\boxed{{}}."
)
"""The instruction of Qwen2.5-Math's and DeepSeek-R1's reports (arXiv 2409.12122, 2501.12948)."""
