"""ImageNet-1k in the layout that training scripts expect; it cannot be downloaded freely."""

from __future__ import annotations

from typing import Final

from pe_inspect.data.dataset import Dataset
from pe_inspect.data.datasets import Request, datasets, refuse_argument
from pe_inspect.data.datasets.imagefolder import image_folder
from pe_inspect.errors import UsageError

__all__ = ["read_imagenet"]

FOLDER: Final = "imagenet"


@datasets.register("imagenet")
def read_imagenet(request: Request) -> Dataset:
    """Read `root/imagenet`: train/<synset>/*.JPEG and val/<synset>/*.JPEG.

    Source: O. Russakovsky et al., arXiv:1409.0575.
    """
    refuse_argument("imagenet", request)
    folder = request.root / FOLDER
    if not folder.is_dir():
        raise UsageError(
            f"ImageNet is not in {folder}, and cannot be downloaded without an account: get it "
            f"from image-net.org and unpack it to {folder}/train/<synset>/*.JPEG and "
            f"{folder}/val/<synset>/*.JPEG, or pass --set data=imagefolder:PATH."
        )
    return image_folder(folder, "imagenet", label="ImageNet-1k", request=request)
