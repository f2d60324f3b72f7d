"""Writes weights between those of two trainings that went on from the same weights: `python3 mix.py things.pt world.pt .5 mixed.pt`.

Two that have learned different things keep most of both in their mean, and it forgets less than either ("Model soups",
Wortsman et al., 2022). The heads that only training needs are those of the second, whose share is given."""
import sys

import torch

first, second = (torch.load(path, map_location="cpu") for path in sys.argv[1:3])
share = float(sys.argv[3])
ours, theirs = (saved.get("mean", saved["model"]) for saved in (first, second))
mixed = {name: (1 - share) * ours[name].float() + share * theirs[name].float() for name in theirs}
torch.save({"model": mixed, **{part: second[part] for part in ("sight", "where") if part in second}}, sys.argv[4])
