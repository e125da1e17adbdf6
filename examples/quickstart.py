"""The Python front door, from a checkpoint to a page: `python examples/quickstart.py CKPT OUT`."""

import sys
from pathlib import Path

import pe_inspect as pei

checkpoint, folder = sys.argv[1], Path(sys.argv[2])

ckpt = pei.load(checkpoint)  # lazy: names and shapes, no tensors yet
table = pei.extract(ckpt)[0]  # the first of the schemes that it holds
print(table.family, table.grid_size, table.join)

result = pei.similarity(table)
print(result.summary())
print(result.to_frame().head())

pei.figure(result).savefig(folder / "similarity.png")
pei.figure(pei.interpolate(table, grid=(12, 20))).savefig(folder / "interpolate.png")
pei.report([table]).save(folder / "report.html")
