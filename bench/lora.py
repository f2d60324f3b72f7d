"""Tokens that PyTorch trains each second with LoRA on a decoder of the llama type with random weights, in 32-bit floats on the
CPU: `python3 lora.py '{"layers": 30, "width": 576, …}'`. The server's trainer is measured beside it by lora.ts."""
import json
import math
import sys
import time

import torch
import torch.nn as nn
import torch.nn.functional as F

o = json.loads(sys.argv[1])
torch.set_num_threads(o["threads"])
torch.manual_seed(0)


class Lora(nn.Module):
    def __init__(self, inputs, outputs):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs) * .7 / math.sqrt(inputs), requires_grad=False)
        self.a = nn.Parameter(torch.randn(o["rank"], inputs) / math.sqrt(inputs))
        self.b = nn.Parameter(torch.zeros(outputs, o["rank"]))

    def forward(self, x):
        return x @ self.weight.t() + (x @ self.a.t() @ self.b.t()) * 2


def norm(x):
    return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-5)


class Layer(nn.Module):
    def __init__(self):
        super().__init__()
        self.h, self.kv = o["heads"], o["keyHeads"]
        self.d = o["width"] // self.h
        w, k, f = o["width"], self.kv * self.d, o["feedForward"]
        self.q, self.k, self.v, self.o = Lora(w, w), Lora(w, k), Lora(w, k), Lora(w, w)
        self.gate, self.up, self.down = Lora(w, f), Lora(w, f), Lora(f, w)

    def turn(self, x, cos, sin):
        a, b = x[..., 0::2], x[..., 1::2]
        return torch.stack((a * cos - b * sin, a * sin + b * cos), -1).flatten(-2)

    def forward(self, x, cos, sin, mask):
        B, T, _ = x.shape
        y = norm(x)
        q = self.turn(self.q(y).view(B, T, self.h, self.d).transpose(1, 2), cos, sin)
        k = self.turn(self.k(y).view(B, T, self.kv, self.d).transpose(1, 2), cos, sin)
        v = self.v(y).view(B, T, self.kv, self.d).transpose(1, 2)
        k, v = (t.repeat_interleave(self.h // self.kv, 1) for t in (k, v))
        a = (q @ k.transpose(-1, -2) / math.sqrt(self.d) + mask).softmax(-1) @ v
        x = x + self.o(a.transpose(1, 2).reshape(B, T, -1))
        y = norm(x)
        return x + self.down(F.silu(self.gate(y)) * self.up(y))


def main():
    layers = nn.ModuleList([Layer() for _ in range(o["layers"])])
    embeddings = torch.randn(o["vocabulary"], o["width"]) * .04
    parameters = [p for p in layers.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(parameters, 1e-4)
    sequences, cells, learned = o["sequences"], o["cells"], o["learned"]
    head = o["width"] // o["heads"]
    angle = torch.arange(cells).float()[:, None] * 10000 ** (-torch.arange(0, head, 2).float() / head)
    mask = torch.full((cells, cells), float("-inf")).triu(1)
    ids = torch.randint(0, o["vocabulary"], (sequences, cells))
    times, cpu = [], []
    for _ in range(o["steps"]):
        start, before = time.time(), time.process_time()
        x = embeddings[ids]
        for layer in layers:
            x = layer(x, angle.cos(), angle.sin(), mask)
        scores = norm(x[:, -learned - 1:-1]) @ embeddings.t()
        loss = F.cross_entropy(scores.flatten(0, 1), ids[:, -learned:].flatten())
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        times.append(time.time() - start)
        cpu.append(time.process_time() - before)
    with open("/proc/self/status") as f:
        resident = [int(line.split()[1]) * 1024 for line in f if line.startswith("VmHWM")][0]
    print(json.dumps({"seconds": sorted(times)[len(times) // 2], "cpuSeconds": sorted(cpu)[len(cpu) // 2], "memoryBytes": resident}))


main()
