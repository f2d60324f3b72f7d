"""Accuracy by skill in PyTorch: `python3 evaluate.py last.pt [--held-out FILE] [--write FILE]`.

It asks what `npm run pocket:eval` asks the server; --write keeps the shares for its table, so that the card can say how
far the exported pair is from PyTorch. The weights are rounded to 16 bits first, as the export does.
"""
import argparse
import base64
import collections
import io
import json

import numpy as np
import torch
from PIL import Image

import chatml
from draw import fit, server_size
from model import Pocket


def pixels_of(image):
    """What the server's preprocessing makes of a picture: [1, 3, H, W] in [-1, 1]"""
    image = fit(image.convert("RGB"), *server_size(*image.size))
    return torch.tensor(np.asarray(image))[None].permute(0, 3, 1, 2).float() / 127.5 - 1


def answer(model, msgs, pictures, most=48):
    """The greedy answer to a chat whose parts are texts, or None for the next picture (pixels as of `pixels_of`)."""
    seen = [model.encode(p) for p in pictures]
    sizes, ids = iter([x.shape[1] for x in seen]), []
    for role, parts in msgs:
        ids += chatml.open_ids(role)
        for p in parts:
            ids += chatml.part_ids([p], next(sizes) if p is None else 0)
        ids += [chatml.END] + chatml.tok.encode("\n")
    ids += chatml.open_ids("assistant")
    rows, out = torch.cat(seen, 1) if seen else None, []
    while len(out) < most:
        x = torch.tensor([ids + out])
        keep = torch.zeros_like(x, dtype=torch.bool)
        keep[0, -1] = True
        token = int(model(x, rows, x == chatml.IMG, keep)[0].argmax())
        if token == chatml.END:
            break
        out.append(token)
    return chatml.tok.decode(out)


def load(path):
    saved = torch.load(path, map_location="cpu")
    model = Pocket()
    model.load_state_dict(saved.get("model", saved))
    return model.eval()


def round_to_f16(model):
    """Makes the weights what the exported pair holds."""
    model.load_state_dict({k: v.half().float() if v.dim() >= 2 else v for k, v in model.state_dict().items()})


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("weights")
    p.add_argument("--held-out", default="../test/pocket/held-out.json")
    p.add_argument("--write")
    p.add_argument("--most", type=int, default=10_000, help="cases of a skill")
    p.add_argument("--show", type=int, default=0, help="wrong answers of each skill to print")
    o = p.parse_args()
    torch.set_num_threads(1)
    model = load(o.weights)
    round_to_f16(model)
    lines = json.load(open(o.held_out))
    pictures = [pixels_of(Image.open(io.BytesIO(base64.b64decode(x["picture"])))) for x in lines if "picture" in x]
    right, asked, shown = collections.Counter(), collections.Counter(), collections.Counter()
    with torch.no_grad():
        for case in (x for x in lines if "skill" in x):
            skill = case["skill"]
            if asked[skill] == o.most:
                continue
            msgs = [(m["role"], [None if isinstance(p, int) else p for p in m["content"]]) for m in case["messages"]]
            said = answer(model, msgs, [pictures[p] for m in case["messages"] for p in m["content"] if isinstance(p, int)])
            asked[skill] += 1
            right[skill] += said == case["answer"]
            if said != case["answer"] and shown[skill] < o.show:
                shown[skill] += 1
                print(f"  {skill}: {case['messages'][-1]['content'][-1]!r}: {said!r}, should be {case['answer']!r}")
    for skill in asked:
        print(f"{skill:32} {right[skill]:4}/{asked[skill]:<4} {right[skill] / asked[skill]:.1%}")
    if o.write:
        with open(o.write, "w") as f:
            json.dump({skill: right[skill] / asked[skill] for skill in asked}, f, indent=1)
            f.write("\n")


if __name__ == "__main__":
    main()
