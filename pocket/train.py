"""Train Pocket: `python3 train.py STAGE MINUTES [options]`. Bounded by time, resumable, logs a curve.

  first, second, sight   the vision half alone, from labels the generator knows: what is in which patch, and behind all
  words                  the same with much text
  one                    sight and speech together on pictures of one shape
  talk                   the same on pictures of one to nine shapes, text, and up to four pictures
  scenes                 the same with charts, signs, receipts and up to eight pictures, and little text
  world                  everything there is

A stage starts from --from and writes --to every minute: weights, optimizers and time. Started again with the same --to
before its minutes are over, it goes on where it was. On a GPU, and on CPUs that can, products are computed in bfloat16.
"""
import argparse
import json
import math
import os
import time

import torch
import torch.nn.functional as F

import chatml
from batches import SIZES, SMALL, Batches, sight_batch, talk_batch
from model import Pocket
from muon import Muon
from sight import Sight
from where import Where
from world import World

ONE = dict(shapes=(1,), nested=0, sized=0, rough=.1)
STAGES = {
    "first": (False, World(kinds=(1, 0, 0, 0, 0, 0, 0), big=1, middle=1, backgrounds=(1, 0, 0, 0, 0, 0), **ONE)),
    "second": (False, World(kinds=(1, 0, 0, 0, 0, 0, 0), big=.8, middle=.6, **ONE)),
    "sight": (False, World(kinds=(66, 24, 4, 0, 6, 0, 0), shapes=(3, 3, 3, 2, 1, .6, .6, .6, .6))),
    "words": (False, World(kinds=(30, 62, 4, 0, 4, 0, 0))),
    "one": (True, World(kinds=(90, 4, 0, 0, 6, 0, 0), pictures=(.2, 14, 0, 0, 0), **ONE)),
    "talk": (True, World(kinds=(80, 8, 4, 2, 6, 0, 0), shapes=(5, 5, 4, 3, 1.2, 1, 1, 1, 1), rough=.15, pictures=(.5, 12, 3, 1, .5))),
    "scenes": (True, World(kinds=(79, 5, 5, 2, 6, 1.5, 1.5), shapes=(5, 5, 4, 3, 1.2, 1, 1, 1, 1), rough=.15, pictures=(.5, 11, 3.5, 1.2, .6, .1, .1, .05, .05))),
    "world": (True, World()),
}


class Trainee:
    """The three that are trained together, and how."""

    def __init__(self, speak, device, lr):
        self.speak, self.device = speak, device
        self.model, self.sight, self.where = Pocket().to(device), Sight().to(device), Where().to(device)
        named = list(self.model.named_parameters()) if speak else [(n, q) for n, q in self.model.named_parameters() if not n.startswith(("emb", "layers", "norm"))]
        heads = list(self.sight.parameters()) + (list(self.where.parameters()) if speak else [])
        self.params = [q for _, q in named] + heads
        matrices = [q for n, q in named if q.dim() > 1 and not n.startswith("emb")]
        tables = [q for n, q in named if n.startswith("emb")] + [q for q in heads if q.dim() > 1]
        vectors = [q for q in self.params if q.dim() <= 1]
        self.muon = Muon([{"params": matrices}], lr)
        self.adamw = torch.optim.AdamW([{"params": tables, "weight_decay": .05}, {"params": vectors, "weight_decay": 0}], lr=lr, betas=(.9, .97))

    def load(self, saved):
        self.model.load_state_dict(saved["model"])
        for name in ("sight", "where"):
            if name in saved:
                getattr(self, name).load_state_dict(saved[name])

    def state(self):
        return {name: getattr(self, name).state_dict() for name in ("model", "sight", "where", "muon", "adamw")}

    def step(self, loss, lr):
        for optimizer in (self.muon, self.adamw):
            for group in optimizer.param_groups:
                group["lr"] = lr
            optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_([q for q in self.params if q.grad is not None], 1.0)
        self.muon.step()
        self.adamw.step()

    def autocast(self):
        return torch.autocast(self.device, torch.bfloat16)

    def loss(self, batch):
        """The batch's loss, and what the curve tells of it."""
        told, total = {}, 0
        pictures, chat, truth = batch if self.speak else (batch, None, None)
        seen = None
        if pictures is not None:
            pixels, labels, backgrounds = (x.to(self.device) for x in pictures)
            with self.autocast():
                patches = self.model.see(pixels)
            sight, right = self.sight.loss(patches, labels, backgrounds)
            told |= {"sight": sight.item()} | dict(zip(("shape", "color", "centre", "letter", "letter2", "background"), right))
            total = sight * (.4 if self.speak else 1)
            seen = self.model.with_breaks(patches, pixels.shape[2] // 16, pixels.shape[3] // 16)
        if not self.speak:
            return total, told
        ids, learn, positions, branch = (x.to(self.device) for x in chat)
        ids, target, positions, branch = ids[:, :-1], learn[:, 1:], positions[:, :-1], branch[:, :-1]
        keep, places = target != -100, ids == chatml.IMG
        found = []

        def between(x):
            if truth is not None:
                found.append(self.where.loss(x[places], truth.to(self.device)))

        with self.autocast():
            logits = self.model(ids, seen, places if seen is not None else None, keep, positions, mask_of(branch), between)
        target = target[keep]
        spoken = F.cross_entropy(logits.float(), target)
        told |= {"loss": spoken.item(), "token": (logits.argmax(1) == target).float().mean().item()}
        if found:
            where, right = found[0]
            total = total + .2 * where
            told |= dict(zip(("row", "column", "picture", "so far"), right))
        return total + spoken, told


def mask_of(branch):
    """What each token sees: what all have in common before it, and its own branch before it. branch [B, T] -> [B, 1, T, T]"""
    T = branch.shape[1]
    own = (branch[:, None] == 0) | (branch[:, None] == branch[:, :, None])
    # Padding sees itself, since a row of minus infinity has no softmax.
    seen = own & torch.ones(T, T, dtype=torch.bool, device=branch.device).tril()
    return torch.zeros_like(seen, dtype=torch.float).masked_fill_(~seen, float("-inf"))[:, None]


class Curve:
    """Running means of what the steps tell, one line of JSON every so many steps."""

    def __init__(self, path):
        self.path, self.mean = path, {}

    def add(self, told):
        for k, v in told.items():
            if not math.isnan(v):
                self.mean[k] = v if k not in self.mean else .95 * self.mean[k] + .05 * v

    def write(self, **more):
        line = json.dumps(more | {k: round(v, 4) for k, v in self.mean.items()})
        print(line, flush=True)
        with open(self.path, "a") as f:
            f.write(line + "\n")


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("stage", choices=STAGES)
    p.add_argument("minutes", type=float)
    p.add_argument("--from", dest="start", default="last.pt")
    p.add_argument("--to", default="last.pt")
    p.add_argument("--lr", type=float, default=5e-4)
    p.add_argument("--end", type=float, default=.03, help="the last learning rate, as a share of the first")
    p.add_argument("--batch", type=int, default=32, help="pictures a step")
    p.add_argument("--threads", type=int, default=2)
    p.add_argument("--workers", type=int, default=1)
    p.add_argument("--small", action="store_true", help="only pictures of 64 to 80 pixels: the fastest start")
    p.add_argument("--curve", default="curve.jsonl")
    o = p.parse_args()
    torch.manual_seed(0)
    torch.set_num_threads(o.threads)

    speak, world = STAGES[o.stage]
    t = Trainee(speak, "cuda" if torch.cuda.is_available() else "cpu", o.lr)
    step, spent = 0, 0.
    ours = torch.load(o.to, map_location=t.device) if os.path.exists(o.to) else {}
    if ours.get("stage") == o.stage and ours["spent"] < o.minutes * 60:
        t.load(ours)
        t.muon.load_state_dict(ours["muon"])
        t.adamw.load_state_dict(ours["adamw"])
        step, spent = ours["step"], ours["spent"]
    elif os.path.exists(o.start):
        t.load(torch.load(o.start, map_location=t.device))
    data = Batches(talk_batch if speak else sight_batch, o.batch, world, SMALL if o.small else SIZES)
    batches = iter(torch.utils.data.DataLoader(data, batch_size=None, num_workers=o.workers, prefetch_factor=8))
    curve = Curve(o.curve)

    def save():
        torch.save(t.state() | {"stage": o.stage, "step": step, "spent": spent}, o.to + ".tmp")
        os.replace(o.to + ".tmp", o.to)

    saved_at = at = time.time()
    while spent < o.minutes * 60:
        share = spent / (o.minutes * 60)
        lr = o.lr * min(1, (step + 1) / 60) * (o.end + (1 - o.end) * .5 * (1 + math.cos(math.pi * share)))
        loss, told = t.loss(next(batches))
        t.step(loss, lr)
        step += 1
        spent, at = spent + time.time() - at, time.time()
        curve.add(told)
        if step % 20 == 0:
            curve.write(stage=o.stage, step=step, lr=round(lr, 6), ms_step=round(spent / step * 1000), done=round(share, 3))
        if time.time() - saved_at > 60:
            save()
            saved_at = time.time()
    save()


if __name__ == "__main__":
    main()
