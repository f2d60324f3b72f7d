"""Write what a training has come to without its optimizers, in 16 bits: `python3 keep.py world.pt begun.pt`.

A training that goes on elsewhere begins with it. Unlike the exported files it has the heads that only training needs."""
import sys

import torch

saved = torch.load(sys.argv[1], map_location="cpu")
kept = {"model": saved.get("mean", saved["model"]), "sight": saved["sight"], "where": saved["where"]}
torch.save({part: {name: value.half() for name, value in state.items()} for part, state in kept.items()}, sys.argv[2])
