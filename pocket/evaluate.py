"""Exact match of greedy answers by skill, in PyTorch: `python3 evaluate.py last.pt [--stage one] [--count 200]`.

`npm run pocket:eval` asks the running server the same questions; this is for looking at a checkpoint during training.
The seed is one that training never uses (training seeds from the clock).
"""
import argparse
import collections
import random

import numpy as np
import torch

import chatml
import scenes
import train
from model import Pocket


def answer(model, picture, question, most=40):
    px = torch.tensor(np.asarray(picture))[None].permute(0, 3, 1, 2).float() / 127.5 - 1
    seen = model.encode(px)
    ids, _ = chatml.encode([("user", [None, question])], seen.shape[1], generate=True)
    out = []
    while len(out) < most:
        x = torch.tensor([ids + out])
        token = int(model(x, seen, x == chatml.IMG)[0, -1].argmax())
        if token == chatml.END:
            break
        out.append(token)
    return chatml.tok.decode(out)


def main():
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("weights")
    p.add_argument("--stage", default="one", choices=train.STAGES)
    p.add_argument("--count", type=int, default=200)
    p.add_argument("--seed", type=int, default=20_261)
    p.add_argument("--show", type=int, default=0, help="wrong answers to print")
    o = p.parse_args()
    torch.set_num_threads(1)
    saved = torch.load(o.weights, map_location="cpu")
    model = Pocket()
    model.load_state_dict(saved.get("model", saved))
    model.eval()
    r = random.Random(o.seed)
    right, asked = collections.Counter(), collections.Counter()
    with torch.no_grad():
        for _ in range(o.count):
            picture, scene = scenes.make_scene(r, *r.choice(train.SIZES), train.STAGES[o.stage])
            skill, question, full, _ = scenes.ask(r, scene)
            said = answer(model, picture, question)
            asked[skill] += 1
            right[skill] += said == full
            if said != full and o.show > 0:
                o.show -= 1
                print(f"  {question!r}: {said!r}, should be {full!r}")
    for skill in sorted(asked):
        print(f"{skill:12} {right[skill]:4}/{asked[skill]:<4} {right[skill] / asked[skill]:.1%}")
    print(f"{'all':12} {sum(right.values()):4}/{sum(asked.values()):<4} {sum(right.values()) / sum(asked.values()):.1%}")


if __name__ == "__main__":
    main()
