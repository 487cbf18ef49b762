import pytest
import torch

import tiny
from steer._eval import randomised, with_controls
from steer.hooks import Plan, PlanError, ablate, add, resid_post, router, scale_experts


def plan() -> Plan:
    first = add(resid_post(1), 3 * tiny.vector(1), strength=0.25, span="generated", keep_norm=True)
    return (
        first
        + add(resid_post(2), tiny.vector(2), strength=-2.0)
        + ablate(resid_post(3), 7 * tiny.vector(3))
    )


def vectors(of: Plan) -> list[torch.Tensor]:
    return [item.edit.vector for item in of]


def test_a_random_plan_differs_in_nothing_but_the_direction() -> None:
    made = randomised(plan(), seed=5)
    assert [item.describe() for item in made] == [item.describe() for item in plan()]
    for new, old in zip(vectors(made), vectors(plan()), strict=True):
        assert float(new.norm()) == pytest.approx(float(old.norm()), rel=1e-5)
        # Two random directions in 32 dimensions: a cosine over 0.75 has odds below 1e-6.
        assert abs(torch.cosine_similarity(new, old, dim=0)) < 0.75


def test_random_vectors_of_one_plan_differ_between_sites() -> None:
    first, second, third = vectors(randomised(plan(), seed=5))
    for one, other in ((first, second), (second, third), (first, third)):
        assert abs(torch.cosine_similarity(one, other, dim=0)) < 0.75


def test_the_seed_decides_a_random_plan() -> None:
    assert randomised(plan(), 5).hash == randomised(plan(), 5).hash
    assert randomised(plan(), 5).hash != randomised(plan(), 6).hash


def test_random_directions_favour_no_side() -> None:
    # The mean of 400 random unit vectors has norm 1/20 or so; above 0.1 has odds below 1e-9.
    units = [vectors(randomised(plan(), seed))[1] / tiny.vector(2).norm() for seed in range(400)]
    assert torch.stack(units).mean(0).norm() < 0.1


@pytest.mark.parametrize("shuffled", [None, ablate(resid_post(1), tiny.vector(9))])
def test_the_arms(shuffled: Plan | None) -> None:
    arms = with_controls(plan(), 3, 2, shuffled)
    known = ["shuffled"] if shuffled else []
    assert list(arms) == ["steered", "flipped", *known, "random 0", "random 1"]
    assert arms["steered"].hash == plan().hash
    assert arms.get("shuffled") is shuffled
    assert [item.strength for item in arms["flipped"]] == [-0.25, 2.0, -1.0]
    for new, old in zip(vectors(arms["flipped"]), vectors(plan()), strict=True):
        assert torch.equal(new, old)


def test_no_random_vectors() -> None:
    assert list(with_controls(plan(), 0, 0)) == ["steered", "flipped"]


def test_more_random_vectors_begin_with_the_same() -> None:
    few, many = (with_controls(plan(), 3, count) for count in (2, 4))
    assert few["random 1"].hash == many["random 1"].hash


def test_every_random_arm_of_every_seed_is_another() -> None:
    hashes = [p.hash for seed in (0, 1, 2) for p in with_controls(plan(), seed, 5).values()]
    assert len(set(hashes) - {plan().hash, (-plan()).hash}) == 15


def test_an_edit_without_a_vector_has_no_random_control() -> None:
    whole = plan() + scale_experts(router(1), {0: 0.5})
    with pytest.raises(PlanError, match=r"^evaluate: no random control is known for scale_experts"):
        randomised(whole, 0)
