"""The catalogue of devices: complete, strict, with a source for every value."""

from pathlib import Path
from typing import Any

import pytest

import gptcalc as gc
from gptcalc.errors import GptcalcError
from gptcalc.spec.device import DEFAULT_CONSTANTS, DeviceSpec, all_devices, constants_of, load_device
from gptcalc.time.chip import chip_of

NAMES = {
    "gaudi3",
    "mi325x",
    "h100-nvl",
    "gaudi2",
    "l4",
    "tpu-v5p",
    "tpu-v6e",
    "v100-16gb",
    "mi355x",
    "tpu-v3",
    "h100-80gb",
    "rtx-3090",
    "tpu-v2",
    "tpu-v4",
    "mi300x",
    "v100-32gb",
    "mi250x",
    "h200",
    "rtx-4090",
    "rtx-5090",
    "tpu-v7",
    "h100-pcie",
    "a100-80gb",
    "l40s",
    "a100-40gb",
    "t4",
    "tpu-v5e",
    "b200",
    "a10g",
    "gb200",
    "b300",
    "gb300",
    "gh200",
    "h20",
    "h800",
    "a800",
    "a100-pcie",
    "h200-nvl",
    "rtx-pro-6000",
    "rtx-6000-ada",
    "rtx-a6000",
    "a40",
    "l40",
    "mi350x",
    "trn1",
    "trn2",
    "trn3",
    "inf2",
    "strix-halo",
    "apple-m4-max",
    "apple-m3-ultra",
}


def test_every_device_of_the_design_is_there() -> None:
    assert {device.name for device in all_devices()} >= NAMES


@pytest.mark.parametrize("device", all_devices(), ids=lambda device: device.name)
def test_every_value_says_where_it_is_from(device: DeviceSpec) -> None:
    unconfirmed = {name.strip() for name in device.sources.get("unconfirmed", "").split(",")}
    for name in ("peak", "sparse", "memory", "bandwidth", "on_chip", "multiprocessors", "clock", "link", "host_link", "tdp", "year"):
        if getattr(device, name):
            assert name in device.sources or name in unconfirmed, name


@pytest.mark.parametrize("device", all_devices(), ids=lambda device: device.name)
def test_peaks_are_dense(device: DeviceSpec) -> None:
    for name, value in device.sparse.items():
        assert value == pytest.approx(2 * device.peak[name])


USUAL = (
    ("h100", "h100-80gb"),
    ("A100", "a100-80gb"),
    ("v100", "v100-32gb"),
    ("TPU_v4", "tpu-v4"),
    ("4090", "rtx-4090"),
    ("trainium2", "trn2"),
    ("inferentia2", "inf2"),
    ("a100-80gb-pcie", "a100-pcie"),
    ("m4-max", "apple-m4-max"),
)


@pytest.mark.parametrize("version", ["v2", "v3", "v4", "v5e", "v5p", "v6e", "v7"])
def test_the_peak_of_a_tpu_follows_from_its_units_and_clock(version: str) -> None:
    """A matrix unit makes 2 * 128 * 128 FLOP a clock, from v6e on 2 * 256 * 256 (docs.cloud.google.com/tpu)."""
    tpu = load_device(f"tpu-{version}")
    side = 256 if version in ("v6e", "v7") else 128
    assert tpu.multiprocessors * 2 * side**2 * tpu.clock == pytest.approx(tpu.peak["bf16"], rel=0.025)


A_CLOCK = {  # FLOP of one multiprocessor or compute unit in bf16, dense
    "a800": 2048,
    "a100-pcie": 2048,
    "a40": 1024,
    "rtx-a6000": 1024,
    "l40s": 1024,
    "l40": 512,
    "rtx-6000-ada": 1024,
    "rtx-pro-6000": 1024,
    "h800": 4096,
    "h200-nvl": 4096,
    "b300": 8192,
    "gb300": 8192,
    "mi350x": 4096,
    "mi355x": 4096,
}


@pytest.mark.parametrize(("name", "flop_per_unit_and_clock"), A_CLOCK.items())
def test_the_peak_of_a_gpu_follows_from_its_units_and_clock(name: str, flop_per_unit_and_clock: int) -> None:
    gpu = load_device(name)
    assert gpu.multiprocessors * flop_per_unit_and_clock * gpu.clock == pytest.approx(gpu.peak["bf16"], rel=0.003)


def test_fp4_where_the_chip_has_it() -> None:
    fp4 = {device.name for device in all_devices() if "fp4" in device.peak}
    assert fp4 == {"mi350x", "mi355x", "b200", "gb200", "b300", "gb300", "rtx-5090", "rtx-pro-6000"}
    assert load_device("5090").peak["fp4"] == 1676e12  # the data sheet prints 3,352 with sparsity


def test_whose_software_drives_a_device() -> None:
    driven = {name: load_device(name) for name in ("trn2", "inf2", "strix-halo", "m4-max", "h20", "mi350x")}
    assert {name: device.kind for name, device in driven.items() if device.kind != "gpu"} == {"trn2": "npu", "inf2": "npu"}
    assert [name for name, device in driven.items() if device.cuda] == ["h20"]


def test_prices_name_their_vendor_and_date() -> None:
    rows = [price for device in all_devices() for price in device.prices]
    assert rows
    for price in rows:
        assert price.date[:4].isdigit()
        assert len(price.source) > 10
        assert "memory" not in price.verified
    assert load_device("t4").prices == ()
    assert any("no price for t4" in note for note in gc.train("gpt2", tokens="1B", device="t4").notes)


def test_names_are_unambiguous() -> None:
    for alias, name in (
        ("h100", "h100-80gb"),
        ("A100", "a100-80gb"),
        ("v100", "v100-32gb"),
        ("TPU_v4", "tpu-v4"),
        ("4090", "rtx-4090"),
        *USUAL,
    ):
        assert load_device(alias).name == name


def test_unknown_devices_name_the_nearest() -> None:
    with pytest.raises(GptcalcError) as error:
        load_device("h1000")
    assert "h100" in str(error.value.hint)


def test_sparse_and_dense_are_not_confused() -> None:
    h100 = load_device("h100")
    assert h100.peak["bf16"] == 989.4e12
    assert h100.sparse["bf16"] == 1978.8e12


def test_a_die_of_the_mi250x_is_half_a_package() -> None:
    die = load_device("mi250x")
    assert (die.peak["bf16"], die.memory) == (191.5e12, 64 * 2**30)


def test_constants_have_a_meaning_and_a_source() -> None:
    for device in all_devices():
        for constant in device.constants.values():
            assert len(constant.meaning) > 5
            assert len(constant.source) > 5
    assert load_device(DEFAULT_CONSTANTS).calibrated


def test_a_chip_without_measurements_has_the_shares_of_the_measured_one() -> None:
    assert constants_of(load_device("h200")) == constants_of(load_device("h100"))
    assert not load_device("h200").calibrated
    assert load_device("a100").calibrated
    assert not load_device("a100-40gb").calibrated  # the same chip, but nobody timed its steps
    assert constants_of(load_device("a100"))["matmul"] > constants_of(load_device("h100"))["matmul"]


def test_arithmetic_that_a_device_lacks_is_refused() -> None:
    with pytest.raises(GptcalcError, match="t4 has no bf16 arithmetic"):
        chip_of(load_device("t4")).peak("bf16")


def test_a_device_of_the_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "devices").mkdir()
    sizes = "memory: 400GiB, bandwidth: 10TB, on_chip: 1GiB, multiprocessors: 200, clock: 2G"
    chip = f"title: A chip, kind: gpu, year: 2030, peak: {{bf16: 3P}}, {sizes}"
    (tmp_path / "devices" / "mine.yaml").write_text(f"devices:\n  my-chip: {{{chip}}}\n")
    monkeypatch.setenv("GPTCALC_PRESETS", str(tmp_path))
    assert load_device("my-chip").peak == {"bf16": 3e15}
    assert gc.train("gpt2", tokens="1B", device="my-chip", batch=8).step_time > 0
    (tmp_path / "devices" / "mine.yaml").write_text("devices:\n  my-chip: {title: 3}\n")
    with pytest.raises(GptcalcError, match=r"mine.yaml: my-chip"):
        load_device("my-chip")


def test_devices_command(run: Any) -> None:
    assert "h200" in run("devices").out
    one = run("devices", "h200")
    assert one.code == 0
    assert "4.800 TB/s" in one.out
    assert run("devices", "h1000").code == 2
