# SPDX-License-Identifier: Apache-2.0
"""Verbs of the hospital's network: node, pull."""

import hashlib
import inspect
import json
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lungcad.errors import InputError, missing_package
from lungcad.options import positive_number, true_or_false, whole_number

if TYPE_CHECKING:
    from lungcad.chain.chain import Chain

COMPREHENSIVE = "comprehensive"
READING = ("leniency", "dicom_results")
"""Keys of the chain's config that concern reading and writing."""


def node(
    aet: str, port: int, spool: str, peers: str, send_to: str | None = None, dicomweb: str | None = None,
    host: str = "", still_seconds: float = 60, quota_gb: float = 50, object_gb: float = 4, tls_cert: str | None = None,
    tls_key: str | None = None, tls_ca: str | None = None, send_tls: bool = False, debug: bool = False,
    **overrides: Any,
) -> None:  # fmt: skip
    """Receive studies, analyse them, and send report and segmentation to an archive; docs/node.md tells more.

    Args:
        aet: AE title of the node.
        port: port on which it listens.
        spool: folder of its state; one for each node, on a disk that stays.
        peers: who may send, such as PACS@10.0.0.5:104,CT1@10.0.0.7; with a port for answers to storage commitment.
        send_to: archives for C-STORE, such as PACS@10.0.0.5:104.
        dicomweb: URL of an archive's DICOMweb services, for STOW-RS.
        host: address on which it listens; all by default.
        still_seconds: a study is complete after so many seconds without a new image.
        quota_gb: largest size of the spool.
        object_gb: largest object.
        tls_cert: the node's certificate (PEM), for TLS.
        tls_key: its private key (PEM).
        tls_ca: certificates (PEM) by which peers must be signed.
        send_tls: send with TLS, too.
        debug: show tracebacks.
        overrides: keys of the chain's configs/inference.json, such as --operating_point sensitive.
    """
    _require_packages("pynetdicom")
    from lungcad.node.logs import log_to_stderr
    from lungcad.node.sender import Destination, DicomDestination, WebDestination
    from lungcad.node.service import Node
    from lungcad.node.settings import Settings, ae_title, parse_peers, tls_contexts

    archives = parse_peers("send_to", send_to, port_needed=True)
    server_tls, client_tls = tls_contexts(tls_cert, tls_key, tls_ca) if tls_cert else (None, None)
    client_tls = client_tls if true_or_false("send_tls", send_tls) else None
    values, reading = _checked(overrides)
    settings = Settings(
        ae_title("aet", aet), whole_number("port", port, 1), parse_peers("peers", peers), Path(spool).absolute(), host,
        positive_number("still_seconds", still_seconds), int(positive_number("quota_gb", quota_gb) * 2**30),
        int(positive_number("object_gb", object_gb) * 2**30), server_tls, client_tls, dict(reading["leniency"] or {}),
        str(reading["dicom_results"]).lower() == COMPREHENSIVE,
    )  # fmt: skip
    if not settings.peers:
        raise InputError("E-USAGE", "--peers is empty (expected who may send, such as PACS@10.0.0.5).")
    destinations: list[Destination] = [*(DicomDestination(aet, peer, client_tls) for peer in archives),
                                       *([WebDestination(dicomweb)] if dicomweb else [])]  # fmt: skip
    if not destinations:
        raise InputError("E-USAGE", "no archive (expected --send_to AET@HOST:PORT or --dicomweb URL).")
    chain, fingerprint = _loaded(values, reading)
    log_to_stderr()
    service = Node(settings, chain, destinations, fingerprint)
    service.stop_at_signals()
    service.run()


def pull(
    dicomweb: str, study: str, series: str | None = None, out: str | None = None, store: bool = True,
    debug: bool = False, **overrides: Any,
) -> None:  # fmt: skip
    """Fetch a study by DICOMweb, analyse its best CT series, and store report and segmentation.

    Args:
        dicomweb: URL of the archive's DICOMweb services.
        study: StudyInstanceUID.
        series: SeriesInstanceUID, to fetch one series only.
        out: folder that also gets the results, as of ``lungcad run``.
        store: store the results in the archive.
        debug: show tracebacks.
        overrides: keys of the chain's configs/inference.json, such as --operating_point sensitive.
    """
    _require_packages("dicomweb_client")
    from lungcad.node.logs import log_to_stderr
    from lungcad.node.pull import analyse_fetched, check_study, fetch_study, store_results
    from lungcad.node.sender import WebDestination

    storing = true_or_false("store", store)
    if not storing and out is None:
        raise InputError("E-USAGE", "neither --store nor --out: the results would go nowhere (expected one of them).")
    destination, uid = WebDestination(dicomweb), check_study(study)
    values, reading = _checked(overrides)
    chain, _ = _loaded(values, reading)
    log_to_stderr()
    with tempfile.TemporaryDirectory(prefix="lungcad-") as work:
        images, results = Path(work) / "images", Path(out).absolute() if out else Path(work) / "out"
        images.mkdir()
        fetch_study(destination.client, uid, images, series)
        folder = analyse_fetched(chain, images, results, reading["leniency"] or {}, reading["dicom_results"])
        for name in store_results(destination, folder) if storing else ():
            print(f"stored {name}")
        if out:
            print(f"report: {folder / 'report.html'}")


def _require_packages(*names: str) -> None:
    for name in names:
        try:
            __import__(name)
        except ImportError as error:
            raise missing_package(name.replace("_", "-"), "node") from error


def _checked(overrides: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Arguments of the chain, and the keys of READING: those of the chain's config, with overrides.

    Raises:
        InputError: E-CONFIG, E-BUNDLE.
    """
    from lungcad.bundle.launch import check_override_values
    from lungcad.bundle.manifest import check_pack
    from lungcad.bundle.registry import CHAIN, bundle_root, read_config
    from lungcad.bundle.values import decoded
    from lungcad.chain.chain import Chain

    root = bundle_root(CHAIN)
    check_pack([root])
    config = read_config(root)
    keys = [key for key in inspect.signature(Chain).parameters if key in config]
    known = {key: config[key] for key in (*keys, *READING)}
    check_override_values(overrides, known)
    values = known | {"device": None} | {key: decoded(value) for key, value in overrides.items()}
    return {"root": root, **{key: values[key] for key in keys}}, {key: values[key] for key in READING}


def _loaded(values: dict[str, Any], reading: dict[str, Any]) -> tuple["Chain", str]:
    """Chain with its networks, and a text that stands for it, its weights and its settings; raises InputError."""
    from lungcad import __version__
    from lungcad.chain.chain import Chain

    chain = Chain(**values)
    thresholds = dict(chain.thresholds)
    weights = {stage.meta["name"]: stage.meta["weights_sha256"] for stage in chain.stages.values()}
    settings = {key: value for key, value in values.items() if key not in ("root", "bundles_dir", "device")}
    text = json.dumps(
        [__version__, chain.versions, weights, thresholds, settings, reading], sort_keys=True, default=str
    )
    return chain, hashlib.sha256(text.encode()).hexdigest()
