"""A trainer by the contract of src/tuning/contract.ts, which trains Pocket on texts with PyTorch: `python3 pytorch-trainer.py FOLDER`."""
import json
import math
import os
import random
import signal
import struct
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "../../pocket"))

import importlib

import torch
import torch.nn.functional as F

import bpe
import gradients
from model import Config as c

FOLDER = sys.argv[1]
NAMES = {"q": "self_attn.q_proj", "k": "self_attn.k_proj", "v": "self_attn.v_proj", "o": "self_attn.o_proj",
         "gate": "mlp.gate_proj", "up": "mlp.up_proj", "down": "mlp.down_proj"}
START, END = 1, 2


def say(**line):
    print(json.dumps(line), flush=True)


def lines_of(name):
    with open(os.path.join(FOLDER, name)) as f:
        return [json.loads(line) for line in f]


def tokens_of(example, tok):
    """(ids, whether each is learned), as Pocket's chat template has them."""
    ids, learned = [], []
    for message in example["messages"]:
        text = "".join(part["text"] for part in message["content"])
        answers = message["role"] == "assistant"
        head = [START] + tok.encode(message["role"] + "\n")
        body = tok.encode(text) + [END]
        ids += head + body + tok.encode("\n")
        learned += [False] * len(head) + [answers] * len(body) + [False]
    return ids, learned


def write(loras, rank, alpha):
    tensors = {}
    for at, lora in enumerate(loras):
        part = gradients.PARTS[at % 7]
        name = f"base_model.model.model.layers.{at // 7}.{NAMES[part]}"
        heads = {"q": c.heads, "k": c.kv_heads}.get(part)
        # Rows of queries and keys are in llama.cpp's order: pairs of neighbours become two halves.
        b = lora.b if heads is None else lora.b.view(heads, -1, 2, rank).transpose(1, 2).reshape(lora.b.shape)
        tensors[f"{name}.lora_A.weight"], tensors[f"{name}.lora_B.weight"] = lora.a, b
    header, blobs, at = {}, [], 0
    for name, tensor in tensors.items():
        blob = tensor.detach().contiguous().numpy().tobytes()
        header[name] = {"dtype": "F32", "shape": list(tensor.shape), "data_offsets": [at, at + len(blob)]}
        blobs.append(blob)
        at += len(blob)
    output = os.path.join(FOLDER, "output")
    os.makedirs(output, exist_ok=True)
    text = json.dumps(header).encode()
    with open(os.path.join(output, "adapter_model.safetensors"), "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text + b"".join(blobs))
    with open(os.path.join(output, "adapter_config.json"), "w") as f:
        json.dump({"peft_type": "LORA", "r": rank, "lora_alpha": alpha, "base_model_name_or_path": "pocket"}, f)


def main():
    config = json.load(open(os.path.join(FOLDER, "config.json")))
    torch.manual_seed(config["seed"])
    torch.set_num_threads(config["threads"])
    say(type="phase", phase="preparing", share=0)
    gradients.RANK, gradients.ALPHA = config["rank"], config["alpha"]
    model = gradients.load(os.path.dirname(config["base"]["decoder"]))
    loras = gradients.adapt(model)
    metadata, _ = importlib.import_module("import").read(config["base"]["decoder"])
    tok = bpe.Tokenizer(metadata["tokenizer.ggml.tokens"], [m.split(" ") for m in metadata["tokenizer.ggml.merges"]])
    examples = [tokens_of(example, tok) for example in lines_of("train.jsonl")]
    batch = config["batchExamples"]
    steps = math.ceil(len(examples) * config["epochs"] / batch)
    say(type="examples", examples=len(examples), evaluation=0, tokens=sum(len(ids) for ids, _ in examples),
        learnedTokens=sum(sum(learned) for _, learned in examples), images=0, imageTokens=0, truncated=0, dropped=0, steps=steps)
    say(type="phase", phase="training", share=0)
    parameters = [q for lora in loras for q in (lora.a, lora.b)]
    optimizer = torch.optim.AdamW(parameters, config["learningRate"], weight_decay=0)
    r, began, trained = random.Random(config["seed"]), time.time(), 0
    for step in range(1, steps + 1):
        rate = config["learningRate"] * min(1, step / max(1, config["warmupSteps"])) * (1 + math.cos(math.pi * step / steps)) / 2
        for group in optimizer.param_groups:
            group["lr"] = rate
        losses = []
        for ids, learned in r.sample(examples, min(batch, len(examples))):
            target = torch.tensor([[i if learn else -100 for i, learn in zip(ids, learned)]])[:, 1:]
            keep = target != -100
            given = torch.tensor([ids])[:, :-1]
            losses.append(F.cross_entropy(model(given, None, given == -1, keep), target[keep], reduction="none"))
            trained += len(ids)
        loss = torch.cat(losses).mean()
        optimizer.zero_grad()
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(parameters, 1.0).item()
        optimizer.step()
        say(type="step", step=step, epoch=step * batch / len(examples), loss=loss.item(), learningRate=rate, gradientNorm=norm,
            tokens=trained, seconds=time.time() - began)
    say(type="phase", phase="writing", share=0)
    write(loras, config["rank"], config["alpha"])
    say(type="done", step=steps, earlyStopped=False, bestStep=None)


signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
main()
