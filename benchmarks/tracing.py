"""What a trace costs: beside a bare forward pass, beside the field's notebooks, and in memory.

    python benchmarks/tracing.py --images 64                       # DINOv2-S's shape at 518 px
    python benchmarks/tracing.py --images 8 --res 224
    python benchmarks/tracing.py --only flat                       # 100 against 10,000 images

Weights are random: no figure here depends on them. Time is of the processor (CPU), which others on
the machine disturb less than the clock; memory is the peak of a process of its own, above what it
held with the model loaded. The notebooks' way is transformers' eager attention with
`output_attentions=True`, image by image, averaged in NumPy.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch

KINDS = ("bare", "light", "maps", "notebook")


def model_of(res: int, eager: bool, tiny: bool) -> torch.nn.Module:
    """Return transformers' DINOv2 ViT-S/14 for images of `res` pixels; or a tiny one."""
    from transformers import Dinov2Config, Dinov2Model

    shape = {"hidden_size": 384, "num_attention_heads": 6, "num_hidden_layers": 12}
    if tiny:
        shape = {"hidden_size": 24, "num_attention_heads": 3, "num_hidden_layers": 2}
    config = Dinov2Config(**shape, mlp_ratio=4, image_size=res, patch_size=14)
    config._attn_implementation = "eager" if eager else "sdpa"
    torch.manual_seed(0)
    return Dinov2Model(config).eval()


def pictures(count: int, res: int) -> np.ndarray:
    """Return uint8 noise; time does not depend on what is seen."""
    return np.random.default_rng(0).integers(0, 256, (count, res, res, 3), dtype=np.uint8)


def normalised(pixels: np.ndarray) -> torch.Tensor:
    """Return images as the model takes them."""
    mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in
                 ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]))  # fmt: skip
    return (torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255 - mean) / std


@torch.no_grad()
def bare(model: torch.nn.Module, images: np.ndarray, batch: int) -> None:
    """Run the model by its fused attention, and keep nothing."""
    for first in range(0, len(images), batch):
        model(normalised(images[first : first + batch]))


def traced(model: torch.nn.Module, images: np.ndarray, batch: int, *, light: bool) -> None:
    """Ask for distance, entropy, token sums and offset profiles; unless light, for mean maps."""
    import pe_inspect as pei
    from pe_inspect.live.host import host_of
    from pe_inspect.live.hosts.common import IMAGENET
    from pe_inspect.live.images import image_stream
    from pe_inspect.live.passes import TraceRequest, TwoPasses

    if light:
        pei.trace(model, images, questions=["attention"], light=True, batch_size=batch)
        return
    stream = image_stream(images, IMAGENET, 0)
    run = TwoPasses(host_of(model, ()), stream, TraceRequest(["attention"], batch))
    with torch.no_grad():
        run.first_pass()  # the second takes logits apart, which no peer does
        run.result("", "")


@torch.no_grad()
def notebook(model: torch.nn.Module, images: np.ndarray, batch: int) -> None:  # noqa: ARG001
    """Average attention distance and entropy in NumPy, as notebooks of the field do."""
    side = images.shape[1] // 14
    rows, columns = np.divmod(np.arange(side * side), side)
    apart = np.hypot(rows[:, None] - rows, columns[:, None] - columns)
    distances, entropies, tokens = [], [], []
    for image in images:
        out = model(normalised(image[None]), output_attentions=True, output_hidden_states=True)
        maps = np.stack([each[0].numpy() for each in out.attentions])
        among = maps[:, :, 1:, 1:]
        distances.append((among * apart).sum(-1).mean(-1))
        entropies.append(-(maps * np.log(maps + 1e-12)).sum(-1).mean(-1))
        tokens.append(np.stack([state[0].numpy() for state in out.hidden_states]))
        del out
    np.mean(distances, axis=0), np.mean(entropies, axis=0), np.sum(tokens, axis=0)


RUNS = {
    "bare": bare,
    "light": lambda *given: traced(*given, light=True),
    "maps": lambda *given: traced(*given, light=False),
    "notebook": notebook,
}


def measured(kind: str, count: int, res: int, batch: int, tiny: bool) -> dict[str, float]:
    """Return processor seconds, and the peak of memory above the loaded model, in MiB."""
    torch.set_num_threads(1)
    model = model_of(res, kind == "notebook", tiny)
    images = pictures(count, res)
    RUNS[kind](model, images[:1], batch)  # what is imported or built once
    before, start = _held(), time.process_time()
    _forget_peak()
    RUNS[kind](model, images, batch)
    return {"cpu": time.process_time() - start, "mib": (_peak() - before) / 2**20}


def _held() -> int:
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * os.sysconf(
        "SC_PAGE_SIZE"
    )


def _forget_peak() -> None:
    """Begin the peak anew: Linux keeps it for the process's whole life otherwise."""
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def _peak() -> int:
    said = Path("/proc/self/status").read_text(encoding="ascii")
    lines = dict(line.split(":", 1) for line in said.splitlines() if ":" in line)
    held = int(lines["VmHWM"].split()[0]) if "VmHWM" in lines else 0
    return held * 1024 or resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def in_own_process(kind: str, count: int, res: int, batch: int, tiny: bool) -> dict[str, float]:
    """Measure in a process of its own, so that no run sees another's memory."""
    asked = json.dumps([kind, count, res, batch, tiny])
    done = subprocess.run(
        [sys.executable, "-W", "ignore", __file__, "--measure", asked], check=True,
        capture_output=True, text=True,
    )  # fmt: skip
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def compare(count: int, res: int, batch: int, kinds: list[str]) -> None:
    """Print every run beside the bare one and the notebooks'."""
    found = {kind: in_own_process(kind, count, res, batch, False) for kind in kinds}
    print(f"{count} images at {res} px ({res // 14}×{res // 14} × 12 blocks × 6 heads)")
    for kind, each in found.items():
        beside = f"{each['cpu'] / found['bare']['cpu']:.2f}× bare" if "bare" in found else ""
        print(f"  {kind:9}{each['cpu']:8.1f} s CPU  {beside:11}  peak +{each['mib']:.0f} MiB")


def flat(counts: list[int]) -> None:
    """Print the peak of memory for more and more images of a tiny model."""
    for count in counts:
        found = in_own_process("maps", count, 56, 50, True)
        print(f"  {count:6} images: peak +{found['mib']:.1f} MiB, {found['cpu']:.0f} s CPU")


def sampled() -> None:
    """Trace 64×64 patches × 24 blocks × 16 heads within 2 GB of sums, and print its note."""
    from transformers import Dinov2Config, Dinov2Model

    import pe_inspect as pei

    config = Dinov2Config(
        hidden_size=64, num_attention_heads=16, num_hidden_layers=24, mlp_ratio=1, image_size=512,
        patch_size=8,
    )  # fmt: skip
    held = _held()
    trace = pei.trace(
        Dinov2Model(config).eval(), pictures(1, 512), questions=["attention"], batch_size=1,
        max_memory=2 << 30,
    )  # fmt: skip
    print(f"  64×64 × 24 × 16: {trace.attention[0].num_queries} of 4096 queries a block; "
          f"peak +{(_peak() - held) / 2**20:.0f} MiB; {trace.notes[0]}")  # fmt: skip


def main() -> None:
    """Measure what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=8)
    parser.add_argument("--res", type=int, default=518)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--only", choices=("compare", "flat", "sampled"))
    parser.add_argument("--kinds", default=",".join(KINDS))
    parser.add_argument("--measure", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.measure:
        print(json.dumps(measured(*json.loads(asked.measure))))
        return
    load = " ".join(f"{each:.1f}" for each in os.getloadavg())
    names = ("torch", "transformers", "numpy")
    print(f"{os.cpu_count()} cores, load {load}; " + ", ".join(f"{n} {version(n)}" for n in names))
    if asked.only in (None, "compare"):
        compare(asked.images, asked.res, asked.batch, asked.kinds.split(","))
    if asked.only in (None, "flat"):
        flat([100, 1000, 10_000])
    if asked.only in (None, "sampled"):
        sampled()


if __name__ == "__main__":
    main()
