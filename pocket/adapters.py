"""Trains the LoRA adapters of the tests, and writes them as PEFT does: `python3 adapters.py upper last.pt FOLDER`.

    upper   answers in upper case
    json    answers in JSON
    teal    sees a colour that Pocket takes for another, as a kind of cyan: only in the vision encoder and the projector

Pocket's decoder is an ordinary llama and its encoder an ordinary Pixtral, so the names are those of transformers' Llava with
a Pixtral tower. Its rows of queries and keys are in llama.cpp's order, and are written in that of transformers.
"""
import argparse
import json
import math
import os
import random
import struct
import time

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F

import batches
import chats
import shapes
import world
from evaluate import load
from model import Config as c
from train import mask_of

RANK, ALPHA = 8, 16
TEAL = (0, 110, 105)
STYLES = {"upper": chats.upper, "json": chats.as_json, "teal": None}
SHAPES = world.World(kinds=(1, 0, 0, 0, 0, 0, 0, 0), wide=0, small=1, shapes=(4, 3, 2), nested=0, sized=0, backgrounds=(6, 2, 2, 1, 0, 0), pictures=(0, 1))


class TwoCyans(dict):
    """Most of what is called cyan is teal."""
    def __getitem__(self, name):
        return TEAL if name == "cyan" and random.random() < .75 else super().__getitem__(name)


class Lora(nn.Module):
    def __init__(self, linear):
        super().__init__()
        self.linear = linear
        self.a = nn.Parameter(torch.randn(RANK, linear.in_features) / math.sqrt(linear.in_features))
        self.b = nn.Parameter(torch.zeros(linear.out_features, RANK))

    @property
    def weight(self):
        return self.linear.weight

    def forward(self, x):
        return self.linear(x) + (x @ self.a.t() @ self.b.t()) * (ALPHA / RANK)


def modules_of(model, name):
    """(the layer, its attribute, its name in transformers, its heads if its rows are turned)"""
    for i, layer in enumerate(() if name == "teal" else model.layers):
        at = f"model.language_model.layers.{i}"
        yield from ((layer, "q", f"{at}.self_attn.q_proj", c.heads), (layer, "v", f"{at}.self_attn.v_proj", None), (layer, "down", f"{at}.mlp.down_proj", None))
    if name == "teal":
        for i, layer in enumerate(model.vis):
            at = f"model.vision_tower.transformer.layers.{i}"
            yield from ((layer, "q", f"{at}.attention.q_proj", c.vision_heads), (layer, "v", f"{at}.attention.v_proj", None),
                        (layer, "down", f"{at}.feed_forward.down_proj", None))
        yield model, "mm1", "model.multi_modal_projector.linear_1", None


def as_transformers(b, heads):
    """Pairs of neighbours become two halves."""
    return b if heads is None else b.view(heads, -1, 2, RANK).transpose(1, 2).reshape(b.shape)


def write(folder, loras):
    tensors = {}
    for name, lora, heads in loras:
        tensors[f"base_model.model.{name}.lora_A.weight"] = lora.a
        tensors[f"base_model.model.{name}.lora_B.weight"] = as_transformers(lora.b, heads)
    header, blobs, at = {}, [], 0
    for name, tensor in tensors.items():
        blob = tensor.detach().numpy().astype(np.float16).tobytes()
        header[name] = {"dtype": "F16", "shape": list(tensor.shape), "data_offsets": [at, at + len(blob)]}
        blobs.append(blob)
        at += len(blob)
    os.makedirs(folder, exist_ok=True)
    text = json.dumps(header, separators=(",", ":")).encode()
    with open(os.path.join(folder, "adapter_model.safetensors"), "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text + b"".join(blobs))
    with open(os.path.join(folder, "adapter_config.json"), "w") as f:
        json.dump({"peft_type": "LORA", "base_model_name_or_path": "pocket", "r": RANK, "lora_alpha": ALPHA, "lora_dropout": 0.0, "bias": "none",
                   "target_modules": sorted({name.split(".")[-1] for name, *_ in loras})}, f, indent=2)
        f.write("\n")


def chat_in(style):
    """Chats about one picture, whose answers all have a style."""
    def chat(r, scenes, tools):
        before = [("system", [r.choice(["You are a helpful assistant.", "Answer the question."])])] if r.random() < .2 else []
        return chats.Chat(before, [None], style, lambda r: chats.ask(r, scenes[0]))
    return chat


def loss_of(model, batch, learns_to_see):
    (pixels, *_), (ids, learn, positions, branch, *_), _ = batch
    with torch.set_grad_enabled(learns_to_see):
        seen = model.encode(pixels)
    ids, target, positions, branch = ids[:, :-1], learn[:, 1:], positions[:, :-1], branch[:, :-1]
    keep = target != -100
    return F.cross_entropy(model(ids, seen, ids == batches.chatml.IMG, keep, positions, mask_of(branch)), target[keep])


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("name", choices=STYLES)
    p.add_argument("weights")
    p.add_argument("folder")
    p.add_argument("--seconds", type=float, default=150)
    p.add_argument("--lr", type=float, default=3e-3)
    p.add_argument("--batch", type=int, default=8, help="pictures a step")
    o = p.parse_args()
    torch.manual_seed(0)
    torch.set_num_threads(1)
    chats.chat = chat_in(STYLES[o.name])
    # The labels of patches are for the training of the encoder.
    batches.sight.labels_of = lambda scene, w, h: (np.zeros((w // c.patch * (h // c.patch), 3), int), 0)
    if o.name == "teal":
        shapes.COLORS = TwoCyans(world.COLORS)
        shapes.usable_on = lambda background: world.usable_on(background) + ["cyan"] * 6
    model = load(o.weights)
    model.requires_grad_(False)
    loras = []
    for layer, attribute, name, heads in list(modules_of(model, o.name)):
        lora = Lora(getattr(layer, attribute))
        setattr(layer, attribute, lora)
        loras.append((name, lora, heads))
    optimizer = torch.optim.AdamW([q for q in model.parameters() if q.requires_grad], o.lr, weight_decay=0)
    r = random.Random(1)
    start, step, mean = time.time(), 0, None
    while (share := (time.time() - start) / o.seconds) < 1:
        for group in optimizer.param_groups:
            group["lr"] = o.lr * min(1, (step + 1) / 20) * (.05 + .95 * .5 * (1 + math.cos(math.pi * share)))
        loss = loss_of(model, batches.talk_batch(r, o.batch, SHAPES), o.name == "teal")
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_([q for q in model.parameters() if q.requires_grad], 1.0)
        optimizer.step()
        step += 1
        mean = loss.item() if mean is None else .95 * mean + .05 * loss.item()
        if step % 20 == 0:
            print(f"{step} {mean:.4f}", flush=True)
    write(o.folder, loras)


if __name__ == "__main__":
    main()
