"""torchvision's ViT and Swin as hosts."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any, Final

from torch import nn

from pe_inspect.kinds.position_embedding import PositionEmbedding
from pe_inspect.live.change import NotApplicable
from pe_inspect.live.hosts.common import is_of_library, pair_of_sides
from pe_inspect.live.hosts.hooked import HookedHost
from pe_inspect.live.hosts.plain import first_convolution

__all__ = ["TorchvisionHost"]

# Swin does not say its size: torchvision trains it at 224 pixels, and V2 at 256.
_SWIN_RES: Final = {True: (256, 256), False: (224, 224)}
_RULE: Final = "torchvision's interpolate_embeddings: bicubic, corners aligned"


class TorchvisionHost(HookedHost):
    """A host around a transformer of torchvision."""

    library = "torchvision"

    @classmethod
    def around(cls, model: Any, tables: Sequence[PositionEmbedding]) -> TorchvisionHost | None:
        """Return a host of a model of torchvision; `None` of any other.

        Raises:
            NotApplicable: it has no patches.
        """
        if not is_of_library(model, "torchvision"):
            return None
        projection = first_convolution(model)
        if projection is None or projection.kernel_size != projection.stride:
            raise NotApplicable(
                f"{type(model).__name__} of torchvision has no patches that its images are cut "
                "into: only the questions about its weights apply."
            )
        said = getattr(model, "image_size", None)
        is_second = any(hasattr(module, "cpb_mlp") for module in model.modules())
        own = _SWIN_RES[is_second] if said is None else pair_of_sides(said)
        linear = [module for module in model.modules() if isinstance(module, nn.Linear)]
        host = cls(
            model, tables, own, own, pair_of_sides(projection.stride), projection.in_channels,
            linear[-1].out_features,
        )  # fmt: skip
        host.rule = "windows of its own size, padded" if said is None else _RULE
        return host

    def at(self, res: tuple[int, int]) -> TorchvisionHost:
        """Return it at another size: Swin as it is, a ViT with its table interpolated.

        Raises:
            NotApplicable: a ViT of torchvision is asked for an oblong size, or for part of a patch.
        """
        if res == self.res:
            return self
        host = copy.copy(self)
        for name in self.read_off_model:
            vars(host).pop(name, None)
        host.res = res
        if hasattr(self.model, "image_size"):
            host.model = self._interpolated(res)
        return host

    def _interpolated(self, res: tuple[int, int]) -> Any:
        from torchvision.models.vision_transformer import interpolate_embeddings

        (height, width), patch = res, self.patch_size[0]
        if height != width or height % patch:
            raise NotApplicable(
                f"torchvision's ViT takes square images of whole patches of {patch} pixels, not "
                f"{height}×{width}"
            )
        model = copy.deepcopy(self.model)
        table = interpolate_embeddings(height, patch, model.state_dict())
        model.encoder.pos_embedding = nn.Parameter(
            table["encoder.pos_embedding"], requires_grad=False
        )
        model.image_size, model.seq_length = height, (height // patch) ** 2 + 1
        return model
