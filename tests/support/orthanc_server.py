# SPDX-License-Identifier: Apache-2.0
"""A real Orthanc on loopback (Debian: orthanc, orthanc-dicomweb), for tests that skip where it is not installed."""

import contextlib
import json
import shutil
import subprocess
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests
from small_pacs import free_port

DICOMWEB_PLUGIN = Path("/usr/share/orthanc/plugins/libOrthancDicomWeb.so")
TITLE = "ORTHANC"


def is_installed() -> bool:
    return shutil.which("Orthanc") is not None and DICOMWEB_PLUGIN.exists()


@dataclass(frozen=True)
class Orthanc:
    """A running server."""

    http_port: int
    dicom_port: int

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.http_port}"

    @property
    def dicomweb(self) -> str:
        return f"{self.url}/dicom-web"

    def get(self, path: str) -> Any:
        return requests.get(f"{self.url}/{path}", timeout=30).json()

    def post(self, path: str, **body: Any) -> Any:
        answer = requests.post(f"{self.url}/{path}", timeout=600, **body)
        answer.raise_for_status()
        return answer.json()

    def add(self, file: Path) -> None:
        self.post("instances", data=file.read_bytes())

    def send_to_node(self, study: str) -> Any:
        """Let Orthanc send a study, by its own identifier, to the modality ``lungcad``."""
        return self.post("modalities/lungcad/store", json={"Resources": [study], "Synchronous": True})

    def series(self, modality: str) -> list[dict[str, Any]]:
        """Series of one modality, with their tags and instances."""
        found = [self.get(f"series/{uid}") for uid in self.get("series")]
        return [one for one in found if one["MainDicomTags"]["Modality"] == modality]


@contextlib.contextmanager
def running_orthanc(folder: Path, node_port: int, **settings: Any) -> Iterator[Orthanc]:
    """Orthanc with an empty archive, which knows the node on ``node_port`` as the modality ``lungcad``."""
    server = Orthanc(free_port(), free_port())
    config: Mapping[str, Any] = {
        "Name": "test", "StorageDirectory": str(folder / "db"), "IndexDirectory": str(folder / "db"),
        "Plugins": [str(DICOMWEB_PLUGIN)], "HttpPort": server.http_port, "DicomPort": server.dicom_port,
        "DicomAet": TITLE, "DicomAlwaysAllowEcho": True, "DicomAlwaysAllowStore": True, "RemoteAccessAllowed": False,
        "AuthenticationEnabled": False, "HttpVerbose": False, "DicomScuTimeout": 60,
        "DicomModalities": {"lungcad": {"AET": "LUNGCAD", "Host": "127.0.0.1", "Port": node_port}},
        "DicomWeb": {"Enable": True, "Root": "/dicom-web/"}, **settings,
    }  # fmt: skip
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "orthanc.json").write_text(json.dumps(config))
    with (folder / "orthanc.log").open("w") as log:
        process = subprocess.Popen(["Orthanc", str(folder / "orthanc.json")], stdout=log, stderr=log)
        try:
            for _ in range(600):
                with contextlib.suppress(requests.RequestException):
                    server.get("system")
                    break
                time.sleep(0.1)
            yield server
        finally:
            process.terminate()
            process.wait(30)
