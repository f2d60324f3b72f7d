"""Writes what PyTorch computes when LoRA matrices of Pocket are trained, for the tests of the server's trainer to compare with:
`python3 gradients.py ../models/pocket FILE.json FILE.bin`.

Examples, first matrices and their order follow from formulas, which test/tuning/trainer/formula.ts has too. The JSON has the
loss of one batch, and those of 50 steps of AdamW; the other file has the gradients of that batch, as 16-bit floats: for each
matrix the largest absolute value as a 32-bit float, and then the numbers, divided by it.
"""
import importlib
import json
import math
import struct
import sys

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F

from export import decoder_tensors
from model import Config as c, Pocket

RANK, ALPHA, RATE, WARMUP, STEPS, SEED = 4, 8, 3e-3, 5, 50, 7
EXAMPLES = 6
PARTS = "q", "k", "v", "o", "gate", "up", "down"


def random_numbers(seed):
    """mulberry32, as in src/random.ts"""
    state = seed & 0xffffffff
    while True:
        state = (state + 0x6d2b79f5) & 0xffffffff
        mixed = ((state ^ (state >> 15)) * (1 | state)) & 0xffffffff
        mixed = ((mixed + (((mixed ^ (mixed >> 7)) * (61 | mixed)) & 0xffffffff)) & 0xffffffff) ^ mixed
        yield (mixed ^ (mixed >> 14)) / 2 ** 32


def examples(vocab):
    """(tokens with -1 for rows of pictures, learned, rows): the first cells are a picture's in two of three."""
    for index in range(EXAMPLES):
        r = random_numbers(100 + index)
        cells = 20 + int(next(r) * 40)
        rows = 0 if index % 3 == 2 else 9
        seen = np.array([[(next(r) - .5) * 2 for _ in range(c.width)] for _ in range(rows)], np.float32).reshape(rows, c.width)
        tokens = [-1 if 1 <= cell <= rows else int(next(r) * vocab) for cell in range(cells)]
        yield tokens, [cell >= cells - 8 for cell in range(cells)], seen


class Lora(nn.Module):
    def __init__(self, linear, r):
        super().__init__()
        self.linear = linear
        bound = 1 / math.sqrt(linear.in_features)
        values = [(2 * next(r) - 1) * bound for _ in range(RANK * linear.in_features)]
        self.a = nn.Parameter(torch.tensor(np.array(values, np.float32)).view(RANK, -1))
        self.b = nn.Parameter(torch.zeros(linear.out_features, RANK))

    def forward(self, x):
        return self.linear(x) + (x @ self.a.t() @ self.b.t()) * (ALPHA / RANK)


def load(folder):
    metadata, found = importlib.import_module("import").read(f"{folder}/pocket.gguf")
    # The published model may be smaller than the one that is trained next.
    facts = {"width": "embedding_length", "layers": "block_count", "ff": "feed_forward_length", "heads": "attention.head_count", "kv_heads": "attention.head_count_kv"}
    for name, key in facts.items():
        setattr(c, name, metadata[f"llama.{key}"])
    c.vocab = len(found["token_embd.weight"])
    model = Pocket()
    with torch.no_grad():
        for name, parameter in decoder_tensors(model):
            parameter.copy_(torch.tensor(found[name]))
    return model.requires_grad_(False)


def adapt(model):
    r = random_numbers(SEED)
    loras = []
    for layer in model.layers:
        for part in PARTS:
            lora = Lora(getattr(layer, part), r)
            setattr(layer, part, lora)
            loras.append(lora)
    return loras


def loss_of(model, batch):
    """The mean over all learned tokens."""
    losses = []
    for tokens, learned, seen in batch:
        ids = torch.tensor([tokens])
        where = ids == -1
        target = torch.tensor([[token if learn else -100 for token, learn in zip(tokens, learned)]])[:, 1:]
        keep = target != -100
        pictures = torch.tensor(seen) if len(seen) else None
        logits = model(ids.clamp(min=0)[:, :-1], pictures, where[:, :-1], keep)
        losses.append(F.cross_entropy(logits, target[keep], reduction="none"))
    return torch.cat(losses).mean()


def main():
    folder, json_file, bin_file = sys.argv[1:]
    torch.manual_seed(0)
    model = load(folder)
    loras = adapt(model)
    batch = list(examples(c.vocab))

    r = random_numbers(SEED + 1)
    for lora in loras:
        values = [(next(r) - .5) * .04 for _ in range(lora.b.numel())]
        # [rank, outputs], as the trainer holds it.
        lora.b.data = torch.tensor(np.array(values, np.float32)).view(RANK, -1).t().contiguous()
    first = loss_of(model, batch)
    first.backward()
    with open(bin_file, "wb") as f:
        for lora in loras:
            for gradient in (lora.a.grad, lora.b.grad.t()):
                most = gradient.abs().max()
                f.write(struct.pack("<f", most) + (gradient / most).numpy().astype(np.float16).tobytes())

    for lora in loras:
        lora.b.data.zero_()
    parameters = [q for lora in loras for q in (lora.a, lora.b)]
    optimizer = torch.optim.AdamW(parameters, RATE, weight_decay=0)
    losses = []
    for step in range(1, STEPS + 1):
        share = (step - 1 - WARMUP) / (STEPS - WARMUP)
        for group in optimizer.param_groups:
            group["lr"] = RATE * step / WARMUP if step <= WARMUP else RATE * (1 + math.cos(math.pi * share)) / 2
        loss = loss_of(model, batch)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        losses.append(round(loss.item(), 6))
    with open(json_file, "w") as f:
        json.dump({"loss": round(first.item(), 6), "losses": losses}, f)
        f.write("\n")


if __name__ == "__main__":
    main()
