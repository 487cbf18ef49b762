"""How solutions announce their answer in words."""

import re

ANSWER_PHRASE = re.compile(r"answer\W{0,4}?(?:\s+is\b|:)[\s:*]*", re.IGNORECASE)
"""Up to where the answer begins, in "the answer is", "Answer:" and "**Answer**:"."""
