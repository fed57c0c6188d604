import logging

import pytest
import torch

from pipelines.shared.devices import choose_device, make_deterministic


@pytest.fixture
def gpu(monkeypatch):
    """Whether PyTorch sees a GPU is up to the test."""

    def set_gpu(present: bool) -> None:
        monkeypatch.setattr(torch.cuda, "is_available", lambda: present)
        monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "Some GPU")

    return set_gpu


def test_auto_says_what_it_took(gpu, caplog, monkeypatch):
    monkeypatch.delenv("LOCAL_RANK", raising=False)
    for present, expected, said in ((False, "cpu", "no GPU"), (True, "cuda:0", "Some GPU")):
        gpu(present)
        caplog.clear()
        with caplog.at_level(logging.INFO, "vignette.devices"):
            assert choose_device("auto", "train x") == torch.device(expected)
        assert "train x" in caplog.text
        assert said in caplog.text


def test_explicit_settings_are_taken(gpu, monkeypatch):
    gpu(True)
    assert choose_device("cpu", "x").type == "cpu"
    monkeypatch.setenv("LOCAL_RANK", "3")
    assert choose_device("cuda", "x") == torch.device("cuda:3")


def test_no_gpu_is_an_error_and_never_a_cpu(gpu):
    gpu(False)
    with pytest.raises(ValueError, match="train x: device is cuda, and PyTorch sees no GPU"):
        choose_device("cuda", "train x")


def test_unknown_device():
    with pytest.raises(ValueError, match=r"must be one of auto, cpu, cuda, got 'gpu'"):
        choose_device("gpu", "x")


def test_deterministic_operations_are_required_on_a_cpu_with_the_stated_threads():
    before = torch.get_num_threads()
    try:
        make_deterministic(torch.device("cpu"), before + 1)
        assert torch.are_deterministic_algorithms_enabled()
        assert not torch.is_deterministic_algorithms_warn_only_enabled()
        assert torch.get_num_threads() == before + 1
        make_deterministic(torch.device("cuda"), 1)
        assert torch.is_deterministic_algorithms_warn_only_enabled()
    finally:
        torch.set_deterministic_debug_mode("default")
        torch.set_float32_matmul_precision("highest")
        torch.set_num_threads(before)
