import importlib
from types import ModuleType

import pytest

import steer
import steer.attribution
import steer.data
import steer.hooks

STEER = (
    "ALL GENERATED IMAGE LAST METHODS PROMPT TASKS TEXT ZOO DataError DownloadError Evaluation "
    "Model "
    "ModelError Moments Pair Plan PlanError Recording RunError Site SiteError SiteTable Span "
    "SteerError TaskError Tuning ablate add affine after any_of attach attn_out caa capture clamp "
    "embed evaluate extract final first grains heads load masked mlp_out moments positions "
    "prompts pull record repe replace resid_post resid_pre rotate router scale_experts sites "
    "sweep"
)
HOOKS = (
    "ALL EDITS GENERATED IMAGE LAST PROMPT TEXT Ablate Add Affine Anatomy Batch Clamp DataError "
    "DownloadError Edit Intervention Model ModelError Moments Places Plan PlanError Recording "
    "Replace Rotate RunError ScaleExperts Site SiteError SiteTable Span SteerError TaskError "
    "Tokens ablate add affine after any_of as_model as_span attach attn_out by_tokens capture "
    "clamp edit_of embed final first heads masked mlp_out moments positions prompts record "
    "replace resid_post resid_pre rotate router scale_experts sites spans_now track "
    "write_whole"
)
ATTRIBUTION = (
    "Aggregate Pair PairLike Scored answer_ids as_pairs caa grains integrated_gradients mean "
    "preference principal repe"
)
JUDGES = (
    "REFUSAL_QUESTION TRUTH_QUESTION Exchange Judge agreement degenerate endpoint judge_of "
    "phrases refuses repetition verdict with_references"
)
PINNED = {
    "steer": STEER.split(),
    "steer.hooks": HOOKS.split(),
    "steer.attribution": ATTRIBUTION.split(),
    "steer.data": ["path_of"],
    "steer.interop": ["SteeredLM"],
    "steer.judges": JUDGES.split(),
}
modules = pytest.mark.parametrize("name", PINNED)


def _kind(name: str) -> int:
    """Constants, then classes, then functions: the order in which ruff sorts `__all__`."""
    return 0 if name.isupper() else 1 if name[0].isupper() else 2


@modules
def test_the_public_names_are_pinned(name: str) -> None:
    assert importlib.import_module(name).__all__ == PINNED[name]


@modules
def test_the_public_names_are_sorted(name: str) -> None:
    public = importlib.import_module(name).__all__
    assert public == sorted(set(public), key=lambda n: (_kind(n), n))


@modules
def test_every_public_name_can_be_imported(name: str) -> None:
    module = importlib.import_module(name)
    for public in module.__all__:
        assert getattr(module, public) is not None
        assert public in dir(module)


@pytest.mark.parametrize("name", ["steer.hooks", "steer.attribution"])
def test_all_leaves_nothing_public_out(name: str) -> None:
    module = importlib.import_module(name)
    found = [n for n, v in vars(module).items() if n[0] != "_" and not isinstance(v, ModuleType)]
    assert sorted(found) == sorted(module.__all__)


@pytest.mark.parametrize("home", [steer.hooks, steer.attribution])
def test_the_front_door_gives_the_same_objects(home: ModuleType) -> None:
    shared = set(steer.__all__) & set(home.__all__)
    assert len(shared) >= 4
    for name in shared:
        assert getattr(steer, name) is getattr(home, name)


def test_the_types_seen_by_checkers_are_those_found_at_run_time() -> None:
    homes = {name: module for module, names in steer._HOME.items() for name in names}
    assert sorted(homes) == sorted(steer.__all__)
    assert sum(len(names) for names in steer._HOME.values()) == len(steer.__all__)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match=r"^module 'steer' has no attribute 'grain'$"):
        steer.grain  # noqa: B018


def test_every_error_has_one_base_and_a_builtin_kind() -> None:
    errors = [getattr(steer.hooks, n) for n in steer.hooks.__all__ if n.endswith("Error")]
    assert len(errors) == 8
    for error in errors:
        assert issubclass(error, steer.SteerError)
        assert error is steer.SteerError or issubclass(error, ValueError | RuntimeError)
