"""The networks: published key names and shapes, torchvision's numbers, resolutions of the last map."""

import pytest
import torch
import torchvision
from torch import Tensor, nn

from naic_reid import architecture
from naic_reid.models import BACKBONES
from naic_reid.models.resnet_ibn import IBN, RESNETS

DEPTHS = {"18": (2, 2, 2, 2), "34": (3, 4, 6, 3), "50": (3, 4, 6, 3), "101": (3, 4, 23, 3)}
Shapes = dict[str, tuple[int, ...]]


def _norm(name: str, channels: int) -> Shapes:
    kinds = ("weight", "bias", "running_mean", "running_var")
    return {f"{name}.{kind}": (channels,) for kind in kinds} | {f"{name}.num_batches_tracked": ()}


def _instance(name: str, channels: int) -> Shapes:
    return {f"{name}.weight": (channels,), f"{name}.bias": (channels,)}


def _published(name: str) -> Shapes:
    """Keys and shapes as the published files have them, written out from their description."""
    depth = next(number for number in DEPTHS if f"resnet{number}" in name.split("_"))
    kind = name[-1] if "_ibn_" in name else ""
    wide = depth in ("50", "101")
    closed = (1, 2, 3) if wide else (1, 2)  # layers that IBN-b closes
    keys: Shapes = {"conv1.weight": (64, 3, 7, 7)}
    keys |= _instance("bn1", 64) if kind == "b" else _norm("bn1", 64)
    inputs = 64
    for layer, blocks in enumerate(DEPTHS[depth], start=1):
        planes = 64 * 2 ** (layer - 1)
        outputs = 4 * planes if wide else planes
        for block in range(blocks):
            at = f"layer{layer}.{block}"
            if wide:
                convs = [(planes, inputs, 1), (planes, planes, 3), (outputs, planes, 1)]
            else:
                convs = [(planes, inputs, 3), (planes, planes, 3)]
            for number, (out, into, side) in enumerate(convs, start=1):
                keys[f"{at}.conv{number}.weight"] = (out, into, side, side)
                if number == 1 and kind == "a" and layer < 4:
                    keys |= _instance(f"{at}.bn1.IN", planes // 2) | _norm(f"{at}.bn1.BN", planes // 2)
                else:
                    keys |= _norm(f"{at}.bn{number}", out)
            if kind == "b" and layer in closed and block == blocks - 1:
                keys |= _instance(f"{at}.IN", outputs)
            if name.startswith("se_"):
                keys[f"{at}.se.fc.0.weight"] = (outputs // 16, outputs)
                keys[f"{at}.se.fc.2.weight"] = (outputs, outputs // 16)
            if block == 0 and (layer > 1 or wide):
                keys[f"{at}.downsample.0.weight"] = (outputs, inputs, 1, 1)
                keys |= _norm(f"{at}.downsample.1", outputs)
            inputs = outputs
    return keys


def _shapes(network: nn.Module) -> Shapes:
    return {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}


@pytest.mark.parametrize("name", RESNETS)
def test_keys_and_shapes_are_the_published_ones(name: str) -> None:
    with torch.device("meta"):
        assert _shapes(RESNETS[name](1)) == _published(name)


def test_the_final_models_instance_normalisations_lie_where_the_reference_says() -> None:
    with torch.device("meta"):
        of_101, of_50 = (set(RESNETS[f"resnet{n}_ibn_b"](1).state_dict()) for n in (101, 50))
    for layer in ("layer1.2", "layer2.3", "layer3.22"):
        assert {f"{layer}.IN.weight", f"{layer}.IN.bias"} < of_101
    assert "layer3.5.IN.weight" in of_50
    assert sum(".IN." in key for key in of_101) == sum(".IN." in key for key in of_50) == 6
    assert {"bn1.weight", "bn1.bias"} < of_101
    assert "bn1.running_mean" not in of_101


@pytest.mark.parametrize("name", ["resnet18", "resnet34", "resnet50", "resnet101"])
def test_a_plain_network_computes_what_torchvisions_does(name: str) -> None:
    torch.manual_seed(1)
    theirs = getattr(torchvision.models, name)()
    for module in theirs.modules():
        if isinstance(module, nn.BatchNorm2d):
            # Near what training leaves, and small enough that depth does not blow the numbers up.
            nn.init.normal_(module.running_mean, std=0.1)
            nn.init.uniform_(module.running_var, 0.5, 2)
            nn.init.uniform_(module.weight, 0.1, 0.6)
    ours = RESNETS[name](2)
    ours.load_state_dict({key: value for key, value in theirs.state_dict().items() if key[:3] != "fc."})
    images = torch.randn(2, 3, 96, 64)
    headless = nn.Sequential(*list(theirs.children())[:-2])
    with torch.inference_mode():
        torch.testing.assert_close(ours.eval()(images), headless.eval()(images))


@pytest.mark.parametrize(("last_stride", "expected"), [(1, (16, 8)), (2, (8, 4))])
def test_the_last_stride_decides_the_last_maps_size(last_stride: int, expected: tuple[int, int]) -> None:
    network = RESNETS["resnet18_ibn_a"](last_stride).eval()
    with torch.inference_mode():
        assert network(torch.zeros(1, 3, 256, 128)).shape == (1, 512, *expected)


def test_half_of_ibns_channels_forget_each_images_own_contrast() -> None:
    layer = IBN(6).eval()
    x = torch.randn(4, 6, 8, 8)
    plain, brighter = layer(x), layer(5 + 3 * x)
    torch.testing.assert_close(plain[:, :3], brighter[:, :3], atol=1e-4, rtol=1e-4)
    assert not torch.allclose(plain[:, 3:], brighter[:, 3:], atol=0.1)


def test_ibn_b_closes_a_layer_after_the_sum_and_before_the_relu() -> None:
    torch.manual_seed(2)
    block = RESNETS["resnet18_ibn_b"](1).eval().layer1[-1]
    x = torch.randn(2, 64, 8, 8).relu()

    def by_hand() -> Tensor:
        out = block.bn2(block.conv2(block.bn1(block.conv1(x)).relu()))
        return nn.functional.instance_norm(out + x, weight=block.IN.weight, bias=block.IN.bias).relu()

    torch.testing.assert_close(block(x), by_hand())


def test_a_squeeze_and_excitation_gate_multiplies_before_the_sum() -> None:
    torch.manual_seed(3)
    block = RESNETS["se_resnet50_ibn_a"](1).eval().layer4[-1]
    x = torch.randn(2, 2048, 4, 2).relu()
    out = block.bn2(block.conv2(block.bn1(block.conv1(x)).relu())).relu()
    out = block.bn3(block.conv3(out))
    gate = block.se.fc[2](block.se.fc[0](out.mean((2, 3))).relu()).sigmoid()
    torch.testing.assert_close(block(x), (out * gate[:, :, None, None] + x).relu())


def test_convolutions_are_drawn_by_fan_out() -> None:
    torch.manual_seed(4)
    weight = RESNETS["resnet18"](1).layer4[1].conv2.weight
    assert weight.std().item() == pytest.approx((2 / (9 * 512)) ** 0.5, rel=0.01)


def test_the_configs_backbones_are_the_rooms() -> None:
    assert list(architecture.BACKBONES) == list(BACKBONES)
