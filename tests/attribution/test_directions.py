import numpy as np
import pytest
import torch

from steer.attribution import mean, principal


def cloud(seed: int = 0) -> torch.Tensor:
    """Twenty differences whose spread is along another axis than their mean."""
    noise = torch.Generator().manual_seed(seed)
    scale = torch.tensor([3.0, 1.0, 0.5, 0.3])
    return torch.randn(20, 4, generator=noise) * scale + torch.tensor([0.4, 2.0, 0.0, -1.0])


def test_mean() -> None:
    differences = torch.tensor([[1.0, 2.0], [3.0, -6.0]])
    assert torch.equal(mean(differences), torch.tensor([2.0, -2.0]))


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("sign", [1, -1])
def test_principal_is_the_first_eigenvector_of_the_covariance(seed: int, sign: int) -> None:
    differences = sign * cloud(seed)
    values, vectors = np.linalg.eigh(np.cov(differences.double().numpy(), rowvar=False))
    axis = vectors[:, values.argmax()]
    if axis @ differences.double().numpy().mean(0) < 0:
        axis = -axis
    np.testing.assert_allclose(principal(differences).numpy(), axis, atol=1e-5)


def test_principal_follows_the_mean_to_the_other_side() -> None:
    differences = cloud()
    torch.testing.assert_close(principal(-differences), -principal(differences))


def test_principal_with_fewer_pairs_than_dimensions() -> None:
    # Centred, the two are +-(1, 0, 1), whose unit vector points with the mean (2, 0, 2).
    differences = torch.tensor([[1.0, 0.0, 1.0], [3.0, 0.0, 3.0]])
    expected = torch.tensor([0.5**0.5, 0.0, 0.5**0.5])
    torch.testing.assert_close(principal(differences), expected)


@pytest.mark.parametrize("times", [1, 2, 3, 7])
def test_where_nothing_varies_principal_is_the_difference_itself(times: int) -> None:
    differences = torch.tensor([[0.3, -0.4, 1.2]]).repeat(times, 1)
    expected = torch.tensor([0.3, -0.4, 1.2]) / 1.3
    torch.testing.assert_close(principal(differences), expected)
