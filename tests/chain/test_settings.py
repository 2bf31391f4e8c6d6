# SPDX-License-Identifier: Apache-2.0
import inspect
from pathlib import Path

import pytest
from small_cases import small_bundles

from lungcad.bundle.registry import CHAIN, bundle_root, read_config
from lungcad.chain.chain import Chain
from lungcad.chain.settings import CHAIN_KEYS, chain_fingerprint, chain_settings, load_chain
from lungcad.errors import InputError


def test_every_argument_of_a_chain_that_its_config_has_is_a_setting() -> None:
    config = read_config(bundle_root(CHAIN))
    assert set(CHAIN_KEYS) == {key for key in inspect.signature(Chain).parameters if key in config}


def test_settings_are_the_bundles_own_with_the_overrides() -> None:
    settings = chain_settings({"operating_point": "sensitive", "leniency": "{'max_spacing_mm': 7}"})
    assert settings["operating_point"] == "sensitive" and settings["leniency"] == {"max_spacing_mm": 7}
    assert settings["device"] is None and settings["detector"] == read_config(bundle_root(CHAIN))["detector"]
    for wrong in ({"detectr": "3dag"}, {"detector": "$1"}, {"output_dir": "out"}):
        with pytest.raises(InputError, match="E-CONFIG"):
            chain_settings(wrong)


def test_a_fingerprint_follows_what_results_depend_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LUNGCAD_BUNDLES", str(small_bundles(tmp_path)))
    settings = chain_settings({})
    before = chain_fingerprint(settings)
    assert chain_fingerprint(settings | {"device": "cuda"}) == before
    assert chain_fingerprint(settings | {"reducer": "none"}) != before
    metadata = tmp_path / "lung_nodule_fpr_dou2017" / "configs" / "metadata.json"
    metadata.write_text(metadata.read_text().replace('"weights_sha256": "', '"weights_sha256": "0'))
    assert chain_fingerprint(settings) != before


def test_a_loaded_chain_has_the_settings_and_its_networks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LUNGCAD_BUNDLES", str(small_bundles(tmp_path)))
    overrides = {"reducer": "none", "characteriser": "none", "measurer": "none", "operating_point": "all"}
    chain = load_chain(chain_settings(overrides | {"device": "cpu", "thresholds": {"all": 0.0}}))
    assert list(chain.stages) == ["detect"] and chain.thresholds == {"all": 0.0}
