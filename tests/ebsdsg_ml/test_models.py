"""Networks take grey patterns, and pretrained weights arrive whole."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torchvision

from ebsdsg_ml.models import GreyRepeated, ModelError, bare_network, build_model


def test_random_start_has_one_input_channel_and_is_seeded() -> None:
    state = torch.random.get_rng_state()
    a, origin = build_model("resnet18", 5, seed=1)
    b, _ = build_model("resnet18", 5, seed=1)
    c, _ = build_model("resnet18", 5, seed=2)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert origin == "none" and a.conv1.weight.shape == (64, 1, 7, 7)
    assert torch.equal(a.fc.weight, b.fc.weight) and not torch.equal(a.fc.weight, c.fc.weight)
    assert torch.equal(a.conv1.weight, b.conv1.weight)
    assert a(torch.randn(2, 1, 47, 47)).shape == (2, 5)


@pytest.mark.parametrize("name", ["resnet50", "mobilenet_v3_small", "efficientnet_b0"])
def test_other_torchvision_names_take_grey_patterns(name: str) -> None:
    network, _ = build_model(name, 6)
    with torch.inference_mode():
        assert network.eval()(torch.randn(2, 1, 64, 64)).shape == (2, 6)


@pytest.mark.parametrize("name", ["resnet10t", "timm/resnet18", "convnext_atto"])
def test_timm_names_take_grey_patterns(name: str) -> None:
    pytest.importorskip("timm")
    network, origin = build_model(name, 6, seed=3)
    again, _ = build_model(name, 6, seed=3)
    assert origin == "none"
    x = torch.randn(2, 1, 64, 64)
    with torch.inference_mode():
        assert network.eval()(x).shape == (2, 6)
        assert torch.equal(network(x), again.eval()(x))
    if name == "timm/resnet18":
        assert type(network).__module__.startswith("timm.")
        assert not type(build_model("resnet18", 6)[0]).__module__.startswith("timm.")


def test_timm_weights_from_a_file_keep_three_channels(tmp_path: Path) -> None:
    timm = pytest.importorskip("timm")
    from safetensors.torch import save_file

    torch.manual_seed(0)
    pretrained = timm.create_model("resnet10t", pretrained=False, num_classes=1000)
    save_file(pretrained.state_dict(), tmp_path / "model.safetensors")
    network, origin = build_model("resnet10t", 6, weights=tmp_path / "model.safetensors")
    assert isinstance(network, GreyRepeated) and origin.startswith("model.safetensors sha256 ")
    pretrained.fc = network.network.fc
    x = torch.randn(2, 1, 64, 64)
    with torch.inference_mode():
        expected = pretrained.eval()(x.repeat(1, 3, 1, 1))
        assert torch.allclose(network.eval()(x), expected, atol=1e-5)


@pytest.fixture(scope="module")
def imagenet_like(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file as torchvision distributes them: 1000 classes, three channels."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "resnet18-f37072fd.pth"
    torch.save(torchvision.models.resnet18(weights=None).state_dict(), path)
    return path


def test_file_weights_are_the_pretrained_network_fed_with_repeated_grey(
    imagenet_like: Path,
) -> None:
    network, origin = build_model("resnet18", 6, weights=imagenet_like)
    assert origin.startswith("resnet18-f37072fd.pth sha256 ")
    pretrained = torchvision.models.resnet18(weights=None)
    pretrained.load_state_dict(torch.load(imagenet_like, weights_only=True))
    assert isinstance(network, GreyRepeated)
    pretrained.fc = network.network.fc
    x = torch.randn(2, 1, 64, 64)
    with torch.inference_mode():
        expected = pretrained.eval()(x.repeat(1, 3, 1, 1))
        assert torch.allclose(network.eval()(x), expected, atol=1e-5)


def test_unfit_files_and_names_are_refused(imagenet_like: Path, tmp_path: Path) -> None:
    with pytest.raises(
        ModelError, match=r"no torchvision or timm model 'resnet19'; like .*resnet18"
    ):
        build_model("resnet19", 6)
    with pytest.raises(ModelError, match="does not exist"):
        build_model("resnet18", 6, weights=tmp_path / "none.pth")
    with pytest.raises(ModelError, match="does not fit resnet50"):
        build_model("resnet50", 6, weights=imagenet_like)
    broken = tmp_path / "broken.pth"
    broken.write_bytes(imagenet_like.read_bytes()[:1000])
    with pytest.raises(ModelError, match="cannot be read"):
        build_model("resnet18", 6, weights=broken)
    torch.save({"fc.bias": torch.zeros(6), "run": Path("code")}, tmp_path / "more.pth")
    with pytest.raises(ModelError, match="holds more than weights") as refused:
        build_model("resnet18", 6, weights=tmp_path / "more.pth")
    assert "weights_only" not in str(refused.value)
    torch.save([1, 2], tmp_path / "list.pth")
    with pytest.raises(ModelError, match="not a dictionary of tensors"):
        build_model("resnet18", 6, weights=tmp_path / "list.pth")


def test_bare_network_keeps_three_channels_when_asked() -> None:
    assert bare_network("resnet18", 6, grey=False).conv1.weight.shape[1] == 3
