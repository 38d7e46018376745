"""The five published sizes, counted without allocating them."""

import pytest

from mlx_gemma4.errors import ConfigError
from mlx_gemma4.parameters import (
    active_parameters,
    count_parameters,
    dead_shared_kv,
    kv_numbers_in_windows,
    kv_numbers_per_token,
)
from mlx_gemma4.shapes import SHAPES, shape_config

# Bytes of the published bf16 safetensors (mlx-community model cards); early E2B and E4B files also
# carry keys and values of KV-shared layers. The 12B's size is published to two digits only.
PUBLISHED = {
    "e2b": 10_246_357_958,
    "e4b": 15_992_314_836,
    "26b": 51_611_872_412,
    "31b": 62_546_177_752,
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_counts_reproduce_the_published_bytes_exactly(name):
    config = shape_config(name)
    dead = dead_shared_kv(config.text)
    assert 2 * (count_parameters(config).total + dead) == PUBLISHED[name]


def test_12b_comes_to_its_published_parameter_count():
    assert count_parameters(shape_config("12b")).total == pytest.approx(11.96e9, rel=1e-3)


@pytest.mark.parametrize(
    ("name", "per_token", "windows"),
    [
        ("e2b", 6 << 10, 6.3e6),
        ("e4b", 16 << 10, 21e6),
        ("12b", 16 << 10, 335.5e6),
        ("26b", 20 << 10, 209.7e6),
        ("31b", 80 << 10, 838.9e6),
    ],
)
def test_kv_bytes_in_bf16(name, per_token, windows):
    text = shape_config(name).text
    assert 2 * kv_numbers_per_token(text) == per_token
    assert 2 * kv_numbers_in_windows(text) == pytest.approx(windows, rel=2e-3)


def test_active_parameters_of_the_mixture():
    assert active_parameters(shape_config("26b")) == pytest.approx(3.82e9, rel=1e-3)


def test_unknown_size_is_named():
    with pytest.raises(ConfigError, match="'7b'.*e2b"):
        shape_config("7b")
    assert len(SHAPES) == 5
