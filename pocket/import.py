"""Reads an exported GGUF pair back into a checkpoint to train on from: `python3 import.py ../models/pocket last.pt`.

The pair may be of a smaller model: what it lacks is grown, and the answers stay the same. What reads the new channels, heads and
layers is random, what writes them is zero. Tokens that tok.json has and the file has not, begin as the mean of the pieces
that the file knows them by.
"""
import os
import struct
import sys

import numpy as np
import torch

import bpe
import chatml
from export import decoder_tensors, vision_tensors
from model import Pocket

SIMPLE = {0: "<B", 1: "<b", 2: "<H", 3: "<h", 4: "<I", 5: "<i", 6: "<f", 7: "<?", 10: "<Q", 11: "<q", 12: "<d"}
STR, ARR = 8, 9


class Reader:
    def __init__(self, data):
        self.data, self.at = data, 0

    def take(self, form):
        value, = struct.unpack_from(form, self.data, self.at)
        self.at += struct.calcsize(form)
        return value

    def text(self):
        n = self.take("<Q")
        self.at += n
        return self.data[self.at - n:self.at].decode()

    def value(self, kind):
        if kind == STR:
            return self.text()
        if kind == ARR:
            of = self.take("<I")
            return [self.value(of) for _ in range(self.take("<Q"))]
        return self.take(SIMPLE[kind])


def read(path):
    """({key: value}, {name: array}) of a GGUF file whose tensors are F32, F16 or Q8_0"""
    with open(path, "rb") as f:
        r = Reader(f.read())
    r.at = 8
    tensors, pairs = r.take("<Q"), r.take("<Q")
    metadata = {}
    for _ in range(pairs):
        key = r.text()
        metadata[key] = r.value(r.take("<I"))
    infos = []
    for _ in range(tensors):
        name = r.text()
        dims = [r.take("<Q") for _ in range(r.take("<I"))]
        infos.append((name, dims[::-1], r.take("<I"), r.take("<Q")))
    start, out = (r.at + 31) // 32 * 32, {}
    for name, shape, kind, offset in infos:
        n, at = int(np.prod(shape)), start + offset
        if kind == 8:
            blocks = np.frombuffer(r.data, np.dtype([("scale", "<f2"), ("q", "i1", 32)]), n // 32, at)
            values = blocks["q"] * blocks["scale"].astype(np.float32)[:, None]
        else:
            values = np.frombuffer(r.data, "<f4" if kind == 0 else "<f2", n, at).astype(np.float32)
        out[name] = values.reshape(shape)
    return metadata, out


def with_new_tokens(embeddings, metadata):
    vocab = metadata["tokenizer.ggml.tokens"]
    known = bpe.Tokenizer(vocab, [tuple(m.split(" ")) for m in metadata["tokenizer.ggml.merges"]])
    new = [embeddings[known.word(token)].mean(0) for token in chatml.VOCAB[len(vocab):]]
    return np.stack([*embeddings, *new])


def grow(name, parameter, old):
    """Puts an old tensor into the first rows and columns of a parameter, or begins a layer that adds nothing yet."""
    if any(writes in name for writes in ("patch_embd", "attn_out", "ffn_down")):
        parameter.zero_()
    if old is None:
        return
    old = torch.tensor(old)
    if name.startswith("blk.") and ("attn_k" in name or "attn_v" in name) and old.shape[1] == parameter.shape[1]:
        # Heads that shared keys and values begin with the same.
        old = old.repeat(len(parameter) // len(old), 1)
    if old.dim() == 1 and len(old) < len(parameter):
        # A norm divides by the root of a mean over all channels, of which the new ones are zero.
        parameter.fill_(1)
        old *= (len(old) / len(parameter)) ** .5
    parameter[tuple(slice(n) for n in old.shape)] = old


def main():
    folder, path = sys.argv[1:]
    model = Pocket()
    for file, wanted in (("pocket.gguf", decoder_tensors), ("mmproj-pocket.gguf", vision_tensors)):
        metadata, found = read(os.path.join(folder, file))
        if "token_embd.weight" in found:
            found["token_embd.weight"] = with_new_tokens(found["token_embd.weight"], metadata)
        with torch.no_grad():
            for name, parameter in wanted(model):
                grow(name, parameter, found.get(name))
    torch.save({"model": model.state_dict()}, path)


if __name__ == "__main__":
    main()
