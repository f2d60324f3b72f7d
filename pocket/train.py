"""Train Pocket: `python3 train.py STAGE MINUTES [options]`. Bounded by time, resumable, logs a curve.

  first, second, sight   the vision half alone, from labels the generator knows: what is in which patch, and behind all
  glyphs, words, lines   the same of text: pictures full of letters, then words, then lines of up to 24 characters
  one                    sight and speech together on pictures of one shape
  talk                   the same on pictures of one to nine shapes and up to four pictures
  things                 everything there is, with little text: what cannot read yet learns nothing from more
  spell                  everything there is, most of it text, and few questions about each picture
  read                   everything there is, with much text

A stage starts from --from and writes --to every minute: weights, optimizers and time. Started again with the same --to
before its minutes are over, it goes on where it was. Beside the weights it keeps their mean over the last steps, which
knows more than they do while the learning rate is high: that is what is measured and exported. On a GPU, and on CPUs
that can, products are computed in bfloat16.
"""
import argparse
import json
import math
import os
import time

import torch
import torch.nn.functional as F

import chatml
import progress
from batches import IF_NOT, IF_READ, MARKS, PRINTED, Batches, sight_batch, talk_batch
from model import Pocket
from muon import Muon
from sight import LINE, Sight
from team import Team
from where import Where, loss_of_looks
from world import World

ONE = dict(shapes=(1,), nested=0, sized=0, rough=.1)
#                kinds: shapes, text, bars, pie, photo, sign, receipt, other
ALONE, SIGHT, TEXT, READ = (1, 0, 0, 0, 0, 0, 0, 0), (60, 24, 4, 0, 4, 4, 0, 4), (16, 62, 4, 2, 3, 9, 0, 4), (34, 44, 4, 2, 2, 8, 1, 5)
STAGES = {
    "first": (False, World(kinds=ALONE, big=1, middle=1, backgrounds=(1, 0, 0, 0, 0, 0), wide=0, small=1, **ONE)),
    "second": (False, World(kinds=ALONE, big=.8, middle=.6, wide=0, small=1, **ONE)),
    "sight": (False, World(kinds=SIGHT, shapes=(3, 3, 3, 2, 1, .6, .6, .6, .6), wide=.1)),
    "glyphs": (False, World(kinds=TEXT, longest=4, filled=.9, least_em=17, most_em=2.2, turned=.2, wide=.2, rough=.1)),
    "words": (False, World(kinds=TEXT, longest=12, filled=.1, least_em=18, most_em=3, turned=.3, wide=.5, rough=.3)),
    "lines": (False, World(kinds=TEXT, filled=.05, least_em=15, most_em=4, turned=.4, wide=.7, rough=.3)),
    "one": (True, World(kinds=(84, 4, 0, 0, 6, 0, 0, 6), pictures=(.2, 14, 0, 0, 0), wide=0, small=.6, **ONE)),
    "talk": (True, World(kinds=(76, 8, 4, 2, 5, 0, 0, 5), shapes=(5, 5, 4, 3, 1.2, 1, 1, 1, 1), rough=.15, pictures=(.5, 12, 3, 1, .5), wide=.1, small=.4)),
    "spell": (True, World(kinds=(34, 40, 5, 3, 2, 10, 1, 5), shapes=(3, 3, 3, 2, 1.4, 1.2, 1.2, 1.2, 1.2), alike=.45, one_color=.2, sized=.3, wide=.5, least_em=14, turned=.3, rough=.2, spoken=100, pictures=(.3, 18, .3))),
    "read": (True, World(shapes=(3, 3, 3, 2, 1.4, 1.2, 1.2, 1.2, 1.2), alike=.45, kinds=(48, 28, 8, 5, 2, 7, 1, 7), wide=.4, one_color=.2, sized=.3, least_em=14, turned=.4, rough=.2, spoken=140)),
    "things": (True, World(shapes=(3, 3, 3, 2, 1.4, 1.2, 1.2, 1.2, 1.2), alike=.45, kinds=(58, 6, 11, 7, 2, 3, 1, 8), wide=.1, one_color=.2, sized=.3, pictures=(1.2, 16, 2, .8, .3, .1, .1, .05, .05))),
}


MEAN_EVERY = 10                                             # steps; the mean spans about the last three hundred


class Trainee:
    """The three that are trained together, and how."""

    def __init__(self, speak, device, lr, team, still=False):
        self.speak, self.device, self.team, self.still = speak, device, team, still
        self.model, self.sight, self.where = Pocket().to(device), Sight().to(device), Where().to(device)
        named = list(self.model.named_parameters()) if speak else [(n, q) for n, q in self.model.named_parameters() if not n.startswith(("emb", "layers", "norm"))]
        if still:
            named = [(n, q) for n, q in named if not n.startswith(("patch", "vpre", "vis", "mm"))]
        heads = ([] if still else list(self.sight.parameters())) + (list(self.where.parameters()) if speak else [])
        self.params = [q for _, q in named] + heads
        matrices = [q for n, q in named if q.dim() > 1 and not n.startswith("emb")]
        tables = [q for n, q in named if n.startswith("emb")] + [q for q in heads if q.dim() > 1]
        vectors = [q for q in self.params if q.dim() <= 1]
        self.muon = Muon([{"params": matrices}], lr, team)
        self.adamw = torch.optim.AdamW([{"params": tables, "weight_decay": .05}, {"params": vectors, "weight_decay": 0}], lr=lr, betas=(.9, .97))
        self.mean, self.heads_only, self.held, self.taught, self.firmly = {}, 0, None, None, 0.

    def load(self, saved):
        self.model.load_state_dict(saved["model"])
        self.mean = {k: v.float().clone() for k, v in saved.get("mean", saved["model"]).items()}
        for name in ("sight", "where"):
            if name in saved:
                # A head that was added since begins anew.
                getattr(self, name).load_state_dict(saved[name], strict=False)
        if "sight" not in saved and not self.speak:
            # What the model has learned must not be spoiled by heads that know nothing yet.
            self.heads_only = 150

    def hold(self, saved):
        """What these weights see in pictures without text is to stay, since the other half speaks of it."""
        self.held = Pocket().to(self.device)
        self.held.load_state_dict(saved.get("mean", saved["model"]))

    def keep_thinking(self, saved, firmly):
        """What these weights think of pictures without text is to stay, while the speaking half learns to read."""
        self.firmly, self.taught = firmly, Pocket().to(self.device)
        self.taught.load_state_dict(saved.get("mean", saved["model"]))

    def strayed(self, pictures, ids, places, keep, target, positions, branch, streams):
        """How far the streams [rows, T, width] after each layer but the last are from those of who is to be kept, as a share of
        their variance, in rows without printed text; None: all have some. What it would answer wrongly, it is free to learn."""
        rows = torch.ones(len(ids), dtype=torch.bool, device=ids.device)
        if pictures is not None:
            pixels, lined = pictures[0].to(self.device), pictures[3][0].to(self.device)
            plain = ~(lined == LINE).any(1).view(len(ids), -1)
            rows = plain.all(1)
            pixels = pixels.unflatten(0, plain.shape)[rows].flatten(0, 1)
        if not rows.any():
            return None
        before = []
        with torch.no_grad(), self.autocast():
            seen = self.taught.encode(pixels) if pictures is not None else None
            said = self.taught(ids[rows], seen, places[rows] if seen is not None else None, keep[rows], positions[rows], mask_of(branch[rows]), lambda x, layer, looks: before.append(x))
        same = ids[rows] != chatml.EOT
        same[keep[rows]] = said.argmax(1) == target[rows][keep[rows]]
        return sum(F.mse_loss(x[rows][same], y[same]) / y[same].var() for x, y in zip(streams, before)) / len(before)

    def off(self, pixels, lined, patches):
        """How far it sees other things in pictures without text than it did, as a share of their variance; None: all have text."""
        plain = ~(lined == LINE).any(1)
        if not plain.any():
            return None
        with torch.no_grad(), self.autocast():
            before = self.held.see(pixels[plain])
        return F.mse_loss(patches[plain], before) / before.var()

    def state(self):
        return {name: getattr(self, name).state_dict() for name in ("model", "sight", "where", "muon", "adamw")} | {"mean": self.mean}

    def average(self, share):
        """Moves the mean weights towards those of now."""
        now = self.model.state_dict()
        if not self.mean:
            self.mean = {k: v.clone() for k, v in now.items()}
        for k, v in now.items():
            self.mean[k].lerp_(v, share)

    def with_mean(self):
        """A model of the mean weights, to measure."""
        model = Pocket()
        model.load_state_dict(self.mean)
        return model.eval()

    def step(self, loss, lr):
        for optimizer in (self.muon, self.adamw):
            for group in optimizer.param_groups:
                group["lr"] = lr
            optimizer.zero_grad()
        loss.backward()
        self.team.mean_gradients(self.params)
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
            pixels, labels, backgrounds = (x.to(self.device) for x in pictures[:3])
            letters = [x.to(self.device) for x in pictures[3]]
            with torch.set_grad_enabled(not self.still), self.autocast():
                patches = self.model.see(pixels)
            if self.heads_only:
                patches, self.heads_only = patches.detach(), self.heads_only - 1
            sight, right = self.sight.loss(patches, labels, backgrounds, letters)
            told |= {"sight": sight.item()} | right
            total = sight * (0 if self.still else .4 if self.speak else 1)
            if self.held and (off := self.off(pixels, letters[0], patches)) is not None:
                told["off"] = off.item()
                total = total + 3 * off
            seen = self.model.with_breaks(patches, pixels.shape[2] // 16, pixels.shape[3] // 16)
        if not self.speak:
            return total, told
        ids, learn, positions, branch, cells, depends = (x.to(self.device) for x in chat)
        ids, target, positions, branch, cells, depends = ids[:, :-1], learn[:, 1:], positions[:, :-1], branch[:, :-1], cells[:, :-1], depends[:, 1:]
        keep, places, names = target != -100, ids == chatml.IMG, cells >= 0
        found, streams = [], []

        def between(x, layer, looks):
            streams.append(x)
            if layer in LOOKS_AFTER and pictures is not None and (look := loss_of_looks(looks(), cells, places, pictures[0].shape[3] // 16)):
                found.append((.3, (look[0], {f"looks {layer + 1}": look[1]})))
            if layer == 1 and truth is not None:
                found.append((.2, self.where.loss(x[places], truth.to(self.device))))
            if layer == 3 and names.any():
                found.append((1., self.where.loss_of_names(x[names], cells[names])))

        with self.autocast():
            logits = self.model(ids, seen, places if seen is not None else None, keep, positions, mask_of(branch), between)
        if self.taught and (strayed := self.strayed(pictures, ids, places, keep, target, positions, branch, streams)) is not None:
            told["strayed"] = strayed.item()
            total = total + self.firmly * strayed
        target, right = target[keep], logits.argmax(1) == target[keep]
        weights, can_read = weights_of(depends, keep, right)
        spoken = (F.cross_entropy(logits.float(), target, reduction="none") * weights).sum() / weights.sum()
        told |= {"loss": spoken.item(), "token": right.float().mean().item(), "reads": can_read}
        for weight, (where, right) in found:
            total = total + weight * where
            told |= right
        return total + spoken, told


# The layers before those whose first heads must look at the letter that comes next.
LOOKS_AFTER = 2, 3, 4
IN_DOUBT = 1.                                               # what a wrong reading costs, in declined ones that were right


def weights_of(depends, keep, right):
    """What each learned token weighs, [kept], and the share of texts that the model reads. `depends` [B, T] as of
    `batches.told_apart`; `keep` [B, T] where something is learned, `right` [kept] whether it is said already. Where all of a
    text is said as it should be, given what comes before, it is read: the answer with it is learned there, else the one
    without."""
    rows = torch.arange(len(depends), device=depends.device)[:, None] * depends.max().add(1)
    mark, text = depends[keep] % MARKS, (rows + depends // MARKS)[keep]
    missed = torch.zeros(int(text.max()) + 1 if len(text) else 1, device=depends.device)
    missed.index_add_(0, text, ((mark == PRINTED) & ~right).float())
    is_read = missed[text] == 0
    weights = torch.where((mark == IF_READ) & ~is_read | (mark == IF_NOT) & is_read, 0., 1.)
    weights[(mark == IF_NOT) & ~is_read] = IN_DOUBT
    asked = mark == IF_READ
    return weights, is_read[asked].float().mean().item() if asked.any() else math.nan


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
        line = json.dumps(more | ({} if "held_out" in more else {k: round(v, 4) for k, v in self.mean.items()}))
        print(line, flush=True)
        with open(self.path, "a") as f:
            f.write(line + "\n")


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("stage", choices=STAGES)
    p.add_argument("minutes", type=float)
    p.add_argument("--from", dest="start", default="last.pt")
    p.add_argument("--to", default="last.pt")
    p.add_argument("--hold", help="weights whose sight of pictures without text stays, while the vision half learns")
    p.add_argument("--still", action="store_true", help="the vision half stays as it is, and the other half learns to speak of what it sees")
    p.add_argument("--keep", help="weights whose thoughts of pictures without text stay, layer by layer, while the speaking half learns")
    p.add_argument("--firmly", type=float, default=4., help="what that weighs")
    p.add_argument("--lr", type=float, default=5e-4)
    p.add_argument("--end", type=float, default=.03, help="the last learning rate, as a share of the first")
    p.add_argument("--batch", type=int, default=32, help="pictures a step")
    p.add_argument("--processes", type=int, default=1 if torch.cuda.is_available() else os.cpu_count())
    p.add_argument("--workers", type=int, default=1)
    p.add_argument("--curve", default="curve.jsonl")
    p.add_argument("--measure", type=float, default=8, help="minutes between measurements on held-out pictures; 0: none")
    o = p.parse_args()
    # All gradients are the most that is exchanged at once.
    Team(o.processes, sum(q.numel() for part in (Pocket(), Sight(), Where()) for q in part.parameters())).start(train, o)


def train(team, o):
    torch.manual_seed(0)
    torch.set_num_threads(1)

    speak, world = STAGES[o.stage]
    t = Trainee(speak, "cuda" if torch.cuda.is_available() else "cpu", o.lr, team, o.still)
    step, spent = 0, 0.
    ours = torch.load(o.to, map_location=t.device) if os.path.exists(o.to) else {}
    if ours.get("stage") == o.stage and ours["spent"] < o.minutes * 60:
        t.load(ours)
        t.muon.load_state_dict(ours["muon"])
        t.adamw.load_state_dict(ours["adamw"])
        step, spent = ours["step"], ours["spent"]
    elif os.path.exists(o.start):
        t.load(torch.load(o.start, map_location=t.device))
    if o.hold:
        t.hold(torch.load(o.hold, map_location=t.device))
    if o.keep:
        t.keep_thinking(torch.load(o.keep, map_location=t.device), o.firmly)
    data = Batches(talk_batch if speak else sight_batch, o.batch // team.size, world)
    batches = iter(torch.utils.data.DataLoader(data, batch_size=None, num_workers=o.workers, prefetch_factor=8))
    curve, waited = Curve(o.curve), 0.

    def save():
        torch.save(t.state() | {"stage": o.stage, "step": step, "spent": spent}, o.to + ".tmp")
        os.replace(o.to + ".tmp", o.to)

    saved_at = measured_at = at = time.time()
    while (spent := team.agreed(spent)) < o.minutes * 60:
        share = spent / (o.minutes * 60)
        lr = o.lr * min(1, (step + 1) / 60) * (o.end + (1 - o.end) * .5 * (1 + math.cos(math.pi * share)))
        asked_at = time.time()
        batch = next(batches)
        waited += time.time() - asked_at
        loss, told = t.loss(batch)
        t.step(loss, lr)
        step += 1
        spent, at = spent + time.time() - at, time.time()
        if team.rank > 0:
            continue
        if step % MEAN_EVERY == 0:
            t.average(max(.03, 10 / (step + 10)))
        curve.add(told)
        if o.measure and time.time() - measured_at > o.measure * 60:
            curve.write(stage=o.stage, step=step, held_out=progress.measure(t, speak))
            measured_at = time.time()
        if step % 20 == 0:
            curve.write(stage=o.stage, step=step, lr=round(lr, 6), ms_step=round(spent / step * 1000), ms_waited=round(waited / step * 1000), done=round(share, 3))
        if time.time() - saved_at > 60:
            save()
            saved_at = time.time()
    if team.rank == 0:
        if o.measure:
            curve.write(stage=o.stage, step=step, held_out=progress.measure(t, speak))
        save()


if __name__ == "__main__":
    main()
