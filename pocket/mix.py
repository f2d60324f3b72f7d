"""Writes weights between those of two trainings that went on from the same weights: `python3 mix.py things.pt world.pt .5 mixed.pt`.
A fifth argument is the share of the second in the vision half, if it is another than in the decoder.

Two that have learned different things keep most of both in their mean, and it forgets less than either ("Model soups",
Wortsman et al., 2022). The heads that only training needs are those of the second, whose share is given."""
import sys

import torch

first, second = (torch.load(path, map_location="cpu") for path in sys.argv[1:3])
share = float(sys.argv[3])
share_of_sight = float(sys.argv[5]) if len(sys.argv) > 5 else share
ours, theirs = (saved.get("mean", saved["model"]) for saved in (first, second))

mixed = {}
for name in theirs:
    part = share_of_sight if name.startswith(("patch", "vpre", "vis", "mm")) else share
    mixed[name] = (1 - part) * ours[name].float() + part * theirs[name].float()
torch.save({"model": mixed, **{part: second[part] for part in ("sight", "where") if part in second}}, sys.argv[4])
