"""Train Pocket: `python3 train.py STAGE MINUTES [options]`. Time-bounded, resumable, logs a curve.

  sight   the vision half alone, from labels the generator knows: what is in which cell, and the background
  one     sight and speech together on one-shape pictures
  world   everything the scenes can show

Each stage starts from --from (default last.pt if it is there) and writes --to (default last.pt) every minute. The sight
head is kept beside the weights and its loss stays on through all stages: it gives the vision half a dense signal
where answers give a thin one.
"""
import argparse
import json
import math
import os
import random
import time

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F

import chatml
import scenes
from model import Config, Pocket

COLORS, SHAPES = list(scenes.COLORS), scenes.SHAPES
# What the server's preprocessing makes of people's pictures: 16 to 36 patches, most often 30 to 36.
SIZES = [(64, 64)] * 3 + [(80, 64), (64, 80)] + [(80, 80)] * 2 + [(96, 80), (80, 96)] * 2 + [(96, 96)] * 4 + [(112, 80), (80, 112), (128, 64), (64, 128), (96, 64), (64, 96)]
SMALL = [(64, 64)] * 3 + [(80, 64), (64, 80), (80, 80)]
STAGES = {
    "first": scenes.World(max_shapes=1, text=0, big=1, middle=1, backgrounds=(1, 0, 0, 0, 0, 0)),
    "second": scenes.World(max_shapes=1, text=0, big=.8, middle=.6),
    "sight": scenes.World(max_shapes=2, text=0),
    "one": scenes.World(max_shapes=1, text=0, pictures=(.2, 14, 0, 0), turns=(1, 1, 2, 2)),
    "light": scenes.World(max_shapes=2, text=.02, pictures=(.3, 12, 2, 0), turns=(1, 1, 2, 2)),
    "world": scenes.World(pictures=(.4, 14, 3, 1.2), turns=(2, 2, 2, 2)),
}


class Sight(nn.Module):
    """Reads every picture token by itself: which shape and colour covers its patch, if any, and what is behind all."""

    def __init__(self, width=Config.width):
        super().__init__()
        self.shape = nn.Linear(width, len(SHAPES) + 1)
        self.color = nn.Linear(width, len(COLORS) + 1)
        self.background = nn.Linear(width, len(scenes.BACKGROUNDS))

    def loss(self, seen, labels, backgrounds):
        """labels [N, patches, 2]: shape + 1 and colour + 1 over each patch (0: none, -100: not asked), backgrounds [N]."""
        seen = F.layer_norm(seen, seen.shape[-1:])
        s, c = labels[..., 0].flatten(), labels[..., 1].flatten()
        background = self.background(seen.mean(1))
        loss = .3 * F.cross_entropy(background, backgrounds)
        asked, full = s >= 0, s > 0
        if not full.any():
            return loss, None
        shape, color = self.shape(seen).flatten(0, 1), self.color(seen).flatten(0, 1)
        weight = torch.where(full, 1., .3)[asked]
        for x, y in ((shape, s), (color, c)):
            loss = loss + (F.cross_entropy(x[asked], y[asked], reduction="none") * weight).sum() / weight.sum()
        with torch.no_grad():
            right = [(shape.argmax(-1) == s)[full], (color.argmax(-1) == c)[full], background.argmax(-1) == backgrounds]
        return loss, [x.float().mean().item() for x in right]


def labels_of(scene, w, h):
    """What covers each patch: the object whose box has the largest part of it, if that is a twelfth of the patch or more."""
    rows, cols = h // 16, w // 16
    if scene["kind"] == "text":
        return np.full((rows * cols, 2), -100)
    best, out = np.full((rows, cols), 256 / 12), np.zeros((rows, cols, 2), dtype=np.int64)
    y, x = np.arange(rows)[:, None] * 16, np.arange(cols)[None] * 16
    for o in scene["objects"]:
        x0, y0, x1, y1 = o["box"]
        area = np.clip(np.minimum(x + 16, x1) - np.maximum(x, x0), 0, 16) * np.clip(np.minimum(y + 16, y1) - np.maximum(y, y0), 0, 16)
        over = area > best
        best[over] = area[over]
        out[over] = SHAPES.index(o["shape"]) + 1, COLORS.index(o["color"]) + 1
    return out.reshape(-1, 2)


def batch(r, size, world, speak, sizes):
    n = r.choices(range(len(world.pictures)), world.pictures)[0] if speak else 1
    w, h = r.choice(sizes if n < 2 else SMALL)
    rows, pixels, labels, backgrounds = [], [], [], []
    places = (w // 16) * (h // 16) + h // 16 - 1
    for _ in range(size // max(1, n)):
        drawn = [scenes.make_scene(r, w, h, world) for _ in range(n)]
        pixels += [np.asarray(im) for im, _ in drawn]
        labels += [labels_of(sc, w, h) for _, sc in drawn]
        backgrounds += [scenes.BACKGROUNDS.index(sc["bg"]) for _, sc in drawn]
        if speak:
            rows.append(chatml.encode(scenes.chat(r, [sc for _, sc in drawn], world), places))
    px = torch.tensor(np.stack(pixels)).permute(0, 3, 1, 2).float() / 127.5 - 1 if pixels else None
    truth = (torch.tensor(np.stack(labels)), torch.tensor(backgrounds)) if labels else None
    if not speak:
        return None, None, px, truth
    T = max(len(i) for i, _ in rows)
    ids, lab = torch.full((len(rows), T), chatml.EOT), torch.full((len(rows), T), -100)
    for k, (i, l) in enumerate(rows):
        ids[k, :len(i)], lab[k, :len(l)] = torch.tensor(i), torch.tensor(l)
    return ids, lab, px, truth


class Batches(torch.utils.data.IterableDataset):
    def __init__(self, *a):
        self.a = a

    def __iter__(self):
        worker = torch.utils.data.get_worker_info()
        r = random.Random(time.time_ns() + (worker.id if worker else 0))
        while True:
            yield batch(r, *self.a)


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("stage", choices=STAGES)
    p.add_argument("minutes", type=float)
    p.add_argument("--from", dest="start", default="last.pt")
    p.add_argument("--to", default="last.pt")
    p.add_argument("--lr", type=float, default=1.2e-3)
    p.add_argument("--end", type=float, default=.03, help="the last learning rate, as a share of the first")
    p.add_argument("--batch", type=int, default=64)
    p.add_argument("--threads", type=int, default=2)
    p.add_argument("--small", action="store_true", help="only pictures of 64 to 80 pixels: the fastest start")
    p.add_argument("--curve", default="curve.jsonl")
    o = p.parse_args()
    torch.manual_seed(0)
    torch.set_num_threads(o.threads)

    model, sight = Pocket(), Sight()
    if os.path.exists(o.start):
        saved = torch.load(o.start, map_location="cpu")
        model.load_state_dict(saved.get("model", saved))
        if "sight" in saved:
            sight.load_state_dict(saved["sight"])
    speak = o.stage not in ("first", "second", "sight")
    params = list(sight.parameters()) + [q for n, q in model.named_parameters() if speak or not n.startswith(("emb", "layers", "norm"))]
    opt = torch.optim.AdamW([{"params": [q for q in params if q.dim() > 1], "weight_decay": .05}, {"params": [q for q in params if q.dim() <= 1], "weight_decay": 0}], lr=o.lr, betas=(.9, .97))
    data = Batches(o.batch, STAGES[o.stage], speak, SMALL if o.small else SIZES)
    it = iter(torch.utils.data.DataLoader(data, batch_size=None, num_workers=1, prefetch_factor=8))

    def save():
        torch.save({"model": model.state_dict(), "sight": sight.state_dict()}, o.to + ".tmp")
        os.replace(o.to + ".tmp", o.to)

    t0 = saved_at = time.time()
    step, seen, run, acc = 0, 0, None, np.zeros(3)
    while (frac := (time.time() - t0) / (o.minutes * 60)) < 1:
        lr = o.lr * min(1, (step + 1) / 60) * (o.end + (1 - o.end) * .5 * (1 + math.cos(math.pi * frac)))
        for g in opt.param_groups:
            g["lr"] = lr
        ids, lab, px, truth = next(it)
        loss, spoken, right, pictures = 0, 0, None, None
        if px is not None:
            rows, cols = px.shape[2] // 16, px.shape[3] // 16
            patches = model.see(px)
            s, right = sight.loss(patches, *truth)
            loss = s if not speak else .4 * s
            pictures = model.with_breaks(patches, rows, cols)
        if speak:
            target = lab[:, 1:]
            keep = target != -100
            spoken = F.cross_entropy(model(ids[:, :-1], pictures, ids[:, :-1] == chatml.IMG if pictures is not None else None, keep), target[keep])
            loss = loss + spoken
        opt.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_([q for q in params if q.grad is not None], 1.0)
        opt.step()
        step += 1
        seen += o.batch
        value = float(spoken if speak else loss)
        run = value if run is None else .95 * run + .05 * value
        if right:
            acc = .9 * acc + .1 * np.array(right)
        if step % 50 == 0:
            line = {"stage": o.stage, "step": step, "samples": seen, "loss": round(run, 4), "shape": round(acc[0], 3), "color": round(acc[1], 3), "background": round(acc[2], 3), "lr": round(lr, 6), "ms_step": round((time.time() - t0) / step * 1000), "done": round(frac, 3)}
            print(json.dumps(line), flush=True)
            with open(o.curve, "a") as f:
                f.write(json.dumps(line) + "\n")
        if time.time() - saved_at > 60:
            save()
            saved_at = time.time()
    save()
    print("done", step, "steps", flush=True)


if __name__ == "__main__":
    main()
