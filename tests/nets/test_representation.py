import pytest
import torch

from xrj.nets.representation import Representation

CPU = torch.device("cpu")


def test_parts_come_back():
    representation = Representation(4, 2, "normal", 2.0)
    code, noise = torch.randn(3, 4), torch.randn(3, 2)
    r = representation.join(code, noise)
    assert r.shape == (3, representation.size)
    torch.testing.assert_close(representation.code(r), code)
    torch.testing.assert_close(representation.noise_part(r), noise)


def test_scaled_code_weighs_as_much_as_the_noise():
    representation = Representation(300, 100, "normal", 300**0.5)
    code = torch.nn.functional.normalize(torch.randn(200, 300), dim=1)
    r = representation.join(code, representation.sample_noise(200, CPU))
    assert r[:, :300].std().item() == pytest.approx(1, abs=0.03)
    assert r[:, 300:].std().item() == pytest.approx(1, abs=0.03)


@pytest.mark.parametrize(("kind", "deviation"), [("normal", 1.0), ("uniform", 3**-0.5)])
def test_noise(kind, deviation):
    representation = Representation(4, 50, kind, 1.0)
    noise = representation.sample_noise(400, CPU, torch.Generator().manual_seed(1))
    assert noise.mean().item() == pytest.approx(0, abs=0.02)
    assert noise.std().item() == pytest.approx(deviation, abs=0.02)
    assert (noise.abs().max() <= 1) == (kind == "uniform")
    again = representation.sample_noise(400, CPU, torch.Generator().manual_seed(1))
    assert torch.equal(noise, again)
