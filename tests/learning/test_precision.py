"""Which precision a training takes, on this processor and on a lesser one."""

import os
import subprocess
import sys

import pytest
import torch

from damage_ssl.learning.device import autocast, cpu_has_bf16

SAYS = (
    "import torch; from damage_ssl.learning.device import autocast, cpu_has_bf16\n"
    "with autocast(torch.device('cpu'), 'bfloat16'):\n"
    "    print(cpu_has_bf16(), (torch.ones(2, 2) @ torch.ones(2, 2)).dtype)"
)


def test_a_processor_without_bf16_computes_in_float32() -> None:
    lesser = {**os.environ, "ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2"}
    said = subprocess.run([sys.executable, "-c", SAYS], env=lesser, capture_output=True, text=True, check=True).stdout
    assert said.split() == ["False", "torch.float32"]


@pytest.mark.parametrize("precision", ["auto", "float32", "bfloat16"])
def test_bf16_on_a_processor_is_taken_only_when_asked_for_and_there(precision: str) -> None:
    with autocast(torch.device("cpu"), precision):
        taken = (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == torch.bfloat16
    assert taken == (precision == "bfloat16" and cpu_has_bf16())
