# SPDX-License-Identifier: Apache-2.0
"""Verbs of the hospital's network: node, pull."""

import tempfile
from pathlib import Path
from typing import Any

from lungcad.errors import InputError, missing_package
from lungcad.options import options_by_name, positive_number, true_or_false, whole_number


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
    from lungcad.chain.settings import chain_fingerprint, chain_settings, load_chain
    from lungcad.node.logs import log_to_stderr
    from lungcad.node.sender import Destination, DicomDestination, WebDestination
    from lungcad.node.service import Node
    from lungcad.node.settings import Settings, ae_title, parse_peers, tls_contexts
    from lungcad.results.write import COMPREHENSIVE

    archives = parse_peers("send_to", send_to, port_needed=True)
    server_tls, client_tls = tls_contexts(tls_cert, tls_key, tls_ca) if tls_cert else (None, None)
    client_tls = client_tls if true_or_false("send_tls", send_tls) else None
    of_chain = chain_settings(overrides)
    settings = Settings(
        ae_title("aet", aet), whole_number("port", port, 1), parse_peers("peers", peers), Path(spool).absolute(), host,
        positive_number("still_seconds", still_seconds), int(positive_number("quota_gb", quota_gb) * 2**30),
        int(positive_number("object_gb", object_gb) * 2**30), server_tls, client_tls,
        dict(options_by_name("leniency", of_chain["leniency"])),
        str(of_chain["dicom_results"]).lower() == COMPREHENSIVE,
    )  # fmt: skip
    if not settings.peers:
        raise InputError("E-USAGE", "--peers is empty (expected who may send, such as PACS@10.0.0.5).")
    destinations: list[Destination] = [*(DicomDestination(aet, peer, client_tls) for peer in archives),
                                       *([WebDestination(dicomweb)] if dicomweb else [])]  # fmt: skip
    if not destinations:
        raise InputError("E-USAGE", "no archive (expected --send_to AET@HOST:PORT or --dicomweb URL).")
    chain, fingerprint = load_chain(of_chain), chain_fingerprint(of_chain)
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
    from lungcad.chain.settings import chain_settings, load_chain
    from lungcad.node.logs import log_to_stderr
    from lungcad.node.pull import analyse_fetched, check_study, fetch_study, store_results
    from lungcad.node.sender import WebDestination

    storing = true_or_false("store", store)
    if not storing and out is None:
        raise InputError("E-USAGE", "neither --store nor --out: the results would go nowhere (expected one of them).")
    destination, uid = WebDestination(dicomweb), check_study(study)
    settings = chain_settings(overrides)
    leniency = options_by_name("leniency", settings["leniency"])
    chain = load_chain(settings)
    log_to_stderr()
    with tempfile.TemporaryDirectory(prefix="lungcad-") as work:
        images, results = Path(work) / "images", Path(out).absolute() if out else Path(work) / "out"
        images.mkdir()
        fetch_study(destination.client, uid, images, series)
        folder = analyse_fetched(chain, images, results, leniency, settings["dicom_results"])
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
