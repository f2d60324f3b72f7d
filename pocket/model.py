"""Pocket: a Pixtral-type vision transformer, a two-layer projector and a llama-type decoder, 7.5 million parameters in all.

Every formula is the one ggml computes for these architectures, so that the exported GGUF pair answers as PyTorch does:
RMS norms, rotary positions over adjacent pairs, SwiGLU, and in the vision half two rotary axes whose second one
starts at theta^(-2/head_dim) (llama.cpp, tools/mtmd/clip.cpp, build_rope_2d).
"""
import math

import torch
import torch.nn as nn
import torch.nn.functional as F

from chatml import VOCAB


class Config:
    patch = 16                                   # pixels
    vision_width, vision_layers, vision_heads, vision_ff = 256, 6, 4, 640
    width, layers, heads, kv_heads, ff = 192, 6, 3, 3, 512
    vocab = len(VOCAB)
    theta = 10000.0
    eps = 1e-5


class RMSNorm(nn.Module):
    def __init__(self, width, eps):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.eps = eps

    def forward(self, x):
        return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + self.eps) * self.weight


def rotate(x, cos, sin):
    """Rotary positions over adjacent pairs, ggml's NORM mode. x: [..., tokens, head_dim]"""
    a, b = x[..., 0::2], x[..., 1::2]
    return torch.stack((a * cos - b * sin, a * sin + b * cos), -1).flatten(-2)


def rope_1d(tokens, head_dim, theta):
    f = theta ** (-torch.arange(0, head_dim, 2).float() / head_dim)
    angle = torch.arange(tokens).float()[:, None] * f
    return angle.cos(), angle.sin()


def rope_2d(rows, cols, head_dim, theta):
    half = head_dim // 2
    f = theta ** (-torch.arange(0, half, 2).float() / half)
    y = torch.arange(rows).repeat_interleave(cols).float()[:, None] * f
    x = torch.arange(cols).repeat(rows).float()[:, None] * f * theta ** (-2.0 / head_dim)
    angle = torch.cat((y, x), 1)
    return angle.cos(), angle.sin()


class Layer(nn.Module):
    def __init__(self, width, heads, kv_heads, ff, eps):
        super().__init__()
        self.h, self.kv, self.hd = heads, kv_heads, width // heads
        self.n1, self.n2 = RMSNorm(width, eps), RMSNorm(width, eps)
        kv_width = kv_heads * self.hd
        self.q, self.k = nn.Linear(width, width, False), nn.Linear(width, kv_width, False)
        self.v, self.o = nn.Linear(width, kv_width, False), nn.Linear(width, width, False)
        self.gate, self.up, self.down = nn.Linear(width, ff, False), nn.Linear(width, ff, False), nn.Linear(ff, width, False)

    def looks(self, x, cos, sin, mask):
        """Where the first head looks: the logarithms of its attention [B, T, T]. The rest as `forward` has it."""
        y = self.n1(x)
        q, k = (rotate(F.linear(y, w.weight[:self.hd]), cos.squeeze(1), sin.squeeze(1)) for w in (self.q, self.k))
        return (q @ k.transpose(1, 2) / math.sqrt(self.hd) + mask.squeeze(1)).float().log_softmax(-1)

    def forward(self, x, cos, sin, mask, keep=None):
        """x [B, T, D]. With `keep` [B, T] the result has only the kept positions, [kept, D]: a last layer needs no others."""
        B, T, D = x.shape
        y = self.n1(x)
        q = rotate(self.q(y).view(B, T, self.h, self.hd).transpose(1, 2), cos, sin)
        k = rotate(self.k(y).view(B, T, self.kv, self.hd).transpose(1, 2), cos, sin)
        v = self.v(y).view(B, T, self.kv, self.hd).transpose(1, 2)
        # The heads that share a key read it in one product: [B * kv, heads a key * T, T]. Queries are fewer numbers to scale than
        # scores, and their scale, an eighth, rounds nothing.
        q = q.reshape(B * self.kv, -1, self.hd) / math.sqrt(self.hd)
        a = (q @ k.reshape(B * self.kv, T, self.hd).transpose(1, 2)).view(B, self.h, T, T)
        if mask is not None:
            a = a + mask
        a = a.softmax(-1).to(v.dtype).reshape(B * self.kv, -1, T) @ v.reshape(B * self.kv, T, self.hd)
        a = a.view(B, self.h, T, self.hd).transpose(1, 2).reshape(B, T, D)
        if keep is not None:
            x, a = x[keep], a[keep]
        x = x + self.o(a)
        y = self.n2(x)
        return x + self.down(F.silu(self.gate(y)) * self.up(y))


class Pocket(nn.Module):
    def __init__(self, c=Config):
        super().__init__()
        self.c = c
        self.patch = nn.Conv2d(3, c.vision_width, c.patch, c.patch, bias=False)
        self.vpre = RMSNorm(c.vision_width, c.eps)
        self.vis = nn.ModuleList([Layer(c.vision_width, c.vision_heads, c.vision_heads, c.vision_ff, c.eps) for _ in range(c.vision_layers)])
        self.mm1, self.mm2 = nn.Linear(c.vision_width, c.width), nn.Linear(c.width, c.width)
        self.img_break = nn.Parameter(torch.randn(c.width) * .02)
        self.emb = nn.Embedding(c.vocab, c.width)
        self.layers = nn.ModuleList([Layer(c.width, c.heads, c.kv_heads, c.ff, c.eps) for _ in range(c.layers)])
        self.norm = RMSNorm(c.width, c.eps)
        for p in self.parameters():
            if p.dim() > 1:
                nn.init.normal_(p, std=.02 if p.dim() == 2 else (3 * c.patch ** 2) ** -.5)
        for layer in list(self.vis) + list(self.layers):
            for w in (layer.o, layer.down):
                w.weight.data /= math.sqrt(2 * c.layers)

    def see(self, pixels):
        """pixels [N, 3, H, W] in [-1, 1] -> one embedding a patch [N, rows * cols, width], row by row."""
        c, p = self.c, self.c.patch
        N, _, H, W = pixels.shape
        rows, cols = H // p, W // p
        # A convolution whose stride is its kernel is one matrix product over patches, several times faster on a CPU.
        patches = pixels.view(N, 3, rows, p, cols, p).permute(0, 2, 4, 1, 3, 5).reshape(N, rows * cols, 3 * p * p)
        # The stream between layers stays in 32 bits when the products are computed in 16.
        x = self.vpre((patches @ self.patch.weight.view(c.vision_width, -1).t()).float())
        cos, sin = rope_2d(rows, cols, c.vision_width // c.vision_heads, c.theta)
        for layer in self.vis:
            x = layer(x, cos, sin, None)
        return self.mm2(F.gelu(self.mm1(x), approximate="tanh")).float()

    def with_breaks(self, seen, rows, cols):
        """Put the break embedding after every row of patches but the last: [N, rows * (cols + 1) - 1, width]."""
        N, _, D = seen.shape
        x = torch.cat((seen.view(N, rows, cols, D), self.img_break.expand(N, rows, 1, D)), 2)
        return x.reshape(N, rows * (cols + 1), D)[:, :-1]

    def encode(self, pixels):
        _, _, H, W = pixels.shape
        return self.with_breaks(self.see(pixels), H // self.c.patch, W // self.c.patch)

    def forward(self, ids, pictures=None, where=None, keep=None, positions=None, mask=None, between=None):
        """Logits at every position of ids [B, T], or only where `keep` is true. `where` marks the picture positions in ids.

        `positions` [B, T] and `mask` [B, 1, T, T] say where tokens stand and what they see, if that is not simply all before
        them. `between` is called with the stream [B, T, width] as it is after each layer, the layer's number, and a function that
        gives where the next layer looks (`Layer.looks`)."""
        x = self.emb(ids)
        if pictures is not None:
            x = x.clone()
            x[where] = pictures.reshape(-1, x.shape[-1])
        B, T, D = x.shape
        cos, sin = rope_1d(T, D // self.c.heads, self.c.theta)
        if positions is not None:
            cos, sin = cos[positions][:, None], sin[positions][:, None]
        if mask is None:
            mask = torch.full((T, T), float("-inf")).triu(1)
        for i, layer in enumerate(self.layers):
            last = i == len(self.layers) - 1
            x = layer(x, cos, sin, mask, keep if last else None)
            if between is not None and not last:
                between(x, i, lambda: self.layers[i + 1].looks(x, cos, sin, mask))
        return self.norm(x) @ self.emb.weight.t()
