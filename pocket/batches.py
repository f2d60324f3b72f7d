"""Batches for training, drawn afresh by worker processes: pictures, their labels, and chats about them as token ids."""
import random
import time

import numpy as np
import torch

import chatml
import chats
import draw
import sight

# What the server's preprocessing makes of people's pictures: 16 to 36 patches, most often 30 to 36.
SIZES = [(64, 64)] * 2 + [(80, 64), (64, 80)] + [(80, 80)] * 2 + [(96, 80), (80, 96)] * 2 + [(96, 96)] * 6 + [(112, 80)] * 2 + [(80, 112), (128, 64), (64, 128), (96, 64), (64, 96)]
SMALL = [(64, 64)] * 3 + [(80, 64), (64, 80), (80, 80)]


def pictures_of(drawn, w, h):
    """(pixels [N, 3, h, w] in [-1, 1], labels [N, patches, kinds], backgrounds [N]) of drawn scenes"""
    pixels = torch.tensor(np.stack([np.asarray(im) for im, _ in drawn])).permute(0, 3, 1, 2).float() / 127.5 - 1
    labels, backgrounds = zip(*(sight.labels_of(scene, w, h) for _, scene in drawn))
    return pixels, torch.tensor(np.stack(labels)), torch.tensor(backgrounds)


def sight_batch(r, size, world, sizes):
    w, h = r.choice(sizes)
    return pictures_of([draw.draw(r, w, h, world) for _ in range(size)], w, h)


class Batches(torch.utils.data.IterableDataset):
    """`make(random, *arguments)` again and again, from the clock's seed."""

    def __init__(self, make, *arguments):
        self.make, self.arguments = make, arguments

    def __iter__(self):
        worker = torch.utils.data.get_worker_info()
        torch.set_num_threads(1)
        r = random.Random(time.time_ns() + (worker.id if worker else 0))
        while True:
            yield self.make(r, *self.arguments)


def branches(r, chat, picture_tokens, length):
    """One row of `length` tokens at most: what the chats have in common, then as many first questions about it as fit, each
    unaware of the others. The pictures are so read once for all of them. Gives ids, what to learn (or -100), positions,
    and branch numbers (0: in common)."""
    opened = [i for role, parts in chat.before for i in chatml.open_ids(role) + chatml.part_ids(parts, picture_tokens) + [chatml.END] + chatml.tok.encode("\n")]
    first_text = chat.opening and r.random() < .15
    trunk = opened + chatml.open_ids("user")
    asked = None
    if first_text:
        # The question stands before the pictures: no other can share it.
        asked = chat.turn(r)
        trunk += chatml.tok.encode(asked[0])
    trunk += chatml.part_ids(chat.opening, picture_tokens)
    ids, learn, positions, branch = list(trunk), [-100] * len(trunk), list(range(len(trunk))), [0] * len(trunk)
    newline, number = chatml.tok.encode("\n"), 0
    while True:
        number += 1
        new, labels = [], []
        for turn in range(r.choices((1, 2, 3), (12, 3, 1))[0] if not first_text else 3):
            q, a, spelled, _ = asked or chat.turn(r)
            text = newline + chatml.open_ids("user") + chatml.tok.encode(q) if turn else [] if asked else chatml.tok.encode(q)
            asked = None
            head = text + [chatml.END] + newline + chatml.open_ids("assistant")
            answer = chatml.answer_ids(a, spelled)
            new += head + answer
            labels += [-100] * len(head) + answer
        if len(ids) + len(new) > length and number > 1:
            break
        positions += range(len(trunk), len(trunk) + len(new))
        ids += new
        learn += labels
        branch += [number] * len(new)
        if first_text:
            break
    return ids, learn, positions, branch


def talk_batch(r, size, world, sizes, length=224):
    """(pixels, labels, backgrounds), ids, learn, positions, branch [rows, T], and what is at each picture token:
    [picture tokens, 4]: row, column, number of the picture, centres so far in it."""
    n = r.choices(range(len(world.pictures)), world.pictures)[0]
    w, h = r.choice(sizes if n < 2 else SMALL if n > 2 else sizes + SMALL * 3)
    rows, cols = h // 16, w // 16
    tokens = rows * (cols + 1) - 1
    size = max(4, size // max(1, n)) if n else size // 3
    drawn, packed = [], []
    for _ in range(size):
        scenes = [draw.draw(r, w, h, world) for _ in range(n)]
        packed.append(branches(r, chats.chat(r, [s for _, s in scenes]), tokens, max(length, 110 + n * tokens) if n else 120))
        drawn += scenes
    T = max(len(ids) for ids, *_ in packed)
    out = [torch.full((size, T), fill) for fill in (chatml.EOT, -100, 0, -1)]
    for i, parts in enumerate(packed):
        for t, part in zip(out, parts):
            t[i, :len(part)] = torch.tensor(part)
    if not n:
        return None, out, None
    pictures = pictures_of(drawn, w, h)
    where = torch.zeros(len(drawn), rows, cols + 1, 4, dtype=torch.long)
    where[..., 0], where[..., 1] = torch.arange(rows)[:, None], torch.arange(cols + 1)
    where[..., 2] = (torch.arange(len(drawn)) % n)[:, None, None]
    centres = torch.zeros(len(drawn), rows, cols + 1, dtype=torch.long)
    centres[..., :cols] = (pictures[1][..., 2].view(len(drawn), rows, cols) == 1)
    where[..., 3] = centres.flatten(1).cumsum(1).view(centres.shape).clamp(max=9)
    return pictures, out, where.flatten(1, 2)[:, :-1].reshape(-1, 4)
