"""Small measurements on held-out pictures while training goes on: lines of the curve with `held_out`."""
import functools
import json
import os
import random

import torch

import evaluate
from batches import sight_batch
from world import World

HERE = os.path.dirname(os.path.abspath(__file__))
# In the sizes of the held-out pictures.
WORDS = World(kinds=(0, 1, 0, 0, 0, 0, 0, 0), held_out=True, longest=12, least_em=20, wide=1, rough=.1)
LINES = World(kinds=(0, 1, 0, 0, 0, 0, 0, 0), held_out=True, least_em=17, wide=1, rough=.1)
ASKED = 3                                                   # questions of a skill


@functools.cache
def texts():
    return {name: [sight_batch(random.Random(seed), 24, world) for seed in range(4)] for name, world in (("words", WORDS), ("lines", LINES))}


@functools.cache
def questions():
    files = [os.path.join(HERE, "../test/pocket", name) for name in ("held-out.json", "held-out-wide.json")]
    return [evaluate.read(path) for path in files if os.path.exists(path)]


def measure(trainee, speak):
    """Shares of texts whose letters the vision half has all right, and of answers that are right."""
    model = trainee.with_mean().to(trainee.device)
    with torch.no_grad(), trainee.autocast():
        out = {}
        for name, batches in texts().items():
            read = [trainee.sight.loss(model.see(pixels.to(trainee.device)), *(x.to(trainee.device) for x in rest), [x.to(trainee.device) for x in letters])[1]["read"] for pixels, *rest, letters in batches]
            out[name] = round(sum(read) / len(read), 3)
        if speak:
            for pictures, cases in questions():
                out |= {skill: round(right / asked, 2) for skill, (right, asked) in evaluate.score(model.cpu().float(), pictures, cases, ASKED).items()}
    return out
