"""torchvision imports, with its extension or without."""

import sys

import torch

from damage_ssl.learning.networks.torchvision_compat import ensure_torchvision


def test_torchvision_and_timm_import_whatever_build_of_torchvision_is_installed() -> None:
    module = ensure_torchvision()
    import timm

    assert module is sys.modules["torchvision"]
    assert timm.create_model("tf_efficientnet_lite0", num_classes=0) is not None


def test_a_second_call_gives_the_same_module_and_declares_nothing_twice() -> None:
    assert ensure_torchvision() is ensure_torchvision()
    assert torch.ops.torchvision.nms is not None
