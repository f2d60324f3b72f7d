"""Accuracy by skill in PyTorch: `python3 evaluate.py last.pt [--held-out FILE...] [--write FILE]`.

It asks what `npm run pocket:eval` asks the server; --write keeps the shares for its table, so that the card can say how
far the exported pair is from PyTorch. The weights are rounded to 16 bits first, as the export does. Cases with a schema
or a tool are left out: they need the server's grammar.
"""
import argparse
import base64
import collections
import io
import json
import os
import re

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


def answer(model, msgs, pictures, most=48, expected=None):
    """The greedy answer to a chat whose parts are texts, or None for the next picture (pixels as of `pixels_of`). An answer
    that is as expected takes one step instead of one for each token."""
    seen = [model.encode(p) for p in pictures]
    sizes, ids = iter([x.shape[1] for x in seen]), []
    for role, parts in msgs:
        ids += chatml.open_ids(role)
        for p in parts:
            ids += chatml.part_ids([p], next(sizes) if p is None else 0)
        ids += [chatml.END] + chatml.tok.encode("\n")
    ids += chatml.open_ids("assistant")
    rows, out = torch.cat(seen, 1) if seen else None, []
    if expected:
        told = chatml.tok.encode(expected) + [chatml.END]
        x = torch.tensor([ids + told[:-1]])
        keep = torch.zeros_like(x, dtype=torch.bool)
        keep[0, len(ids) - 1:] = True
        if model(x, rows, x == chatml.IMG, keep).argmax(-1).tolist() == told:
            return expected
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
    model.load_state_dict(saved.get("mean") or saved.get("model", saved))
    return model.eval()


def round_to_f16(model):
    """Makes the weights what the exported pair holds."""
    model.load_state_dict({k: v.half().float() if v.dim() >= 2 else v for k, v in model.state_dict().items()})


def declines(said):
    """Whether an answer is that Pocket cannot answer; test/pocket/held-out.ts has the same rule."""
    return re.search(r"\bI (only (know|answer)|cannot read|am a small built-in)", said) is not None


def is_right(said, answer):
    return said == answer or declines(said) and declines(answer)


def read(path):
    """(pixels of the pictures, cases) of a file of held-out questions. A picture is base64, or a file of the repository."""
    with open(path) as f:
        lines = json.load(f)
    root = os.path.join(chatml.HERE, "..")
    files = [io.BytesIO(base64.b64decode(x["picture"])) if "picture" in x else os.path.join(root, x["file"]) for x in lines if "picture" in x or "file" in x]
    return [pixels_of(Image.open(file)) for file in files], [x for x in lines if "skill" in x and "schema" not in x and "tool" not in x]


@torch.no_grad()
def score(model, pictures, cases, most, wrong=None):
    """{skill: [right answers, questions]} of at most so many cases of each. `wrong` is called with each wrong answer."""
    out = collections.defaultdict(lambda: [0, 0])
    for case in cases:
        counts = out[case["skill"]]
        if counts[1] == most:
            continue
        msgs = [(m["role"], [None if isinstance(p, int) else p for p in m["content"]]) for m in case["messages"]]
        said = answer(model, msgs, [pictures[p] for m in case["messages"] for p in m["content"] if isinstance(p, int)], expected=case["answer"])
        counts[1] += 1
        counts[0] += is_right(said, case["answer"])
        if wrong and not is_right(said, case["answer"]):
            wrong(case, said)
    return out


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("weights")
    p.add_argument("--held-out", nargs="+", default=["../test/pocket/held-out.json", "../test/pocket/held-out-wide.json"])
    p.add_argument("--write")
    p.add_argument("--most", type=int, default=10_000, help="cases of a skill")
    p.add_argument("--show", type=int, default=0, help="wrong answers of each skill to print")
    o = p.parse_args()
    torch.set_num_threads(1)
    model = load(o.weights)
    round_to_f16(model)
    shown, scores = collections.Counter(), {}

    def wrong(case, said):
        shown[case["skill"]] += 1
        if shown[case["skill"]] <= o.show:
            print(f"  {case['skill']}: {case['messages'][-1]['content'][-1]!r}: {said!r}, should be {case['answer']!r}")

    for path in o.held_out:
        scores |= score(model, *read(path), o.most, wrong)
    for skill, (right, asked) in scores.items():
        print(f"{skill:32} {right:4}/{asked:<4} {right / asked:.1%}")
    if o.write:
        with open(o.write, "w") as f:
            json.dump({skill: right / asked for skill, (right, asked) in scores.items()}, f, indent=1)
            f.write("\n")


if __name__ == "__main__":
    main()
