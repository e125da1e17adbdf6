"""What happens to training images, said without torch."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Augmentation"]


@dataclass(frozen=True)
class Augmentation:
    """What happens to a training image, each time anew; in this order.

    Attributes:
        shift: the image is moved by up to this many pixels each way (the same as padding by
            `shift` and cropping at random). The mean colour moves in; black where colours change
            later, as where torchvision's crop comes ahead of that.
        flip: half of the images are mirrored left to right.
        policy: `"randaugment"` (arXiv:1909.13719), `"trivialaugment"` (arXiv:2103.10158), both
            with torchvision's operations and ranges, `"randaugment-timm"` (timm's
            `rand-mM-nN-mstd0.5-inc1`, DeiT's), `"3-augment"` (arXiv:2204.07118, DeiT III's: grey,
            solarised or blurred), or `"none"`.
        num_ops: operations an image, of RandAugment.
        magnitude: their strength, 0 … 30, of RandAugment; 0 … 10 of timm's.
        color_jitter: brightness, contrast and saturation, in any order, are multiplied by up to
            this much more or less; 0 for none.
        erasing: how often a rectangle is erased (arXiv:1708.04896), 0 … 1.
        erasing_fill: what it becomes: `"mean"`, the mean colour, or `"noise"`, normal noise of
            mean 0 and standard deviation 1 after normalisation, the same for the images of a batch.
        mixup: α of the Beta distribution of the weight of two blended images
            (arXiv:1710.09412); 0 for none.
        cutmix: α of the Beta distribution of the area that stays an image's own
            (arXiv:1905.04899); 0 for none. With both, a batch takes either as often.
        mixup_off_epoch: the first epoch, from 1, without either; 0 for never.
        repeats: how often an image comes in the order of an epoch (arXiv:1901.09335).
        crop_scale: the smallest share of a streamed image that a crop keeps.
    """

    shift: int = 0
    flip: bool = False
    policy: str = "none"
    num_ops: int = 2
    magnitude: int = 9
    color_jitter: float = 0.0
    erasing: float = 0.0
    erasing_fill: str = "mean"
    mixup: float = 0.0
    cutmix: float = 0.0
    mixup_off_epoch: int = 0
    repeats: int = 1
    crop_scale: float = 0.08

    @property
    def recolours(self) -> bool:
        """Whether anything is done to images as bytes, ahead of their normalisation."""
        return self.policy != "none" or self.color_jitter > 0

    def mixes(self, epoch: int) -> bool:
        """Whether images of that epoch are blended or pasted, so that targets are soft."""
        is_off = 0 < self.mixup_off_epoch <= epoch
        return bool(self.mixup or self.cutmix) and not is_off
