"""Write a checkpoint as the GGUF pair that the server loads: `python3 export.py last.pt FOLDER [--type f16|q8_0]`.

The decoder is an ordinary llama-type GGUF, the vision file an mmproj of type pixtral, so other programs of the llama.cpp
family read them too. Beside what those need, the vision file says how many patches a picture may have (`draw.PATCHES`),
and the decoder that it wants greedy sampling.

With --reference FILE it also writes what PyTorch computes from the exported weights for one picture: embeddings,
first-token logits and the greedy answer, for the server's tests to compare with.
"""
import argparse
import json
import os
import struct

import numpy as np
import torch
from PIL import Image, ImageDraw

import bpe
import chatml
from draw import PATCHES
from evaluate import answer, load, round_to_f16
from model import Config as c
from shapes import draw_shape
from world import COLORS

U32, I32, F32, BOOL, STR, ARR = 4, 5, 6, 7, 8, 9
TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{% if m['content'] is string %}{{ m['content'] }}{% else %}"
    "{% for p in m['content'] %}{% if p['type'] == 'text' %}{{ p['text'] }}{% elif p['type'] in ['image', 'image_url'] %}"
    "<__media__>{% endif %}{% endfor %}{% endif %}<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def text(x):
    b = x.encode()
    return struct.pack("<Q", len(b)) + b


def pair(key, kind, value):
    out = text(key) + struct.pack("<I", kind)
    if kind == STR:
        return out + text(value)
    if kind == ARR:
        of, values = value
        out += struct.pack("<IQ", of, len(values))
        return out + (b"".join(map(text, values)) if of == STR else struct.pack(f"<{len(values)}{ {F32: 'f', I32: 'i', U32: 'I'}[of] }", *values))
    return out + struct.pack({U32: "<I", F32: "<f", BOOL: "<?", I32: "<i"}[kind], value)


def q8_0(a):
    x = a.reshape(-1, 32).astype(np.float32)
    scale = np.abs(x).max(1) / 127
    q = np.round(x / np.where(scale == 0, 1, scale)[:, None]).astype(np.int8)
    return b"".join(np.float16(s).tobytes() + row.tobytes() for s, row in zip(scale, q))


def encode_tensor(t, kind):
    """(ggml's number for the type, bytes)"""
    a = t.detach().float().numpy()
    if a.ndim < 2:
        return 0, a.astype(np.float32).tobytes()
    if kind == "q8_0" and a.ndim == 2 and a.shape[1] % 32 == 0:
        return 8, q8_0(a)
    return 1, a.astype(np.float16).tobytes()


def write(path, pairs, tensors, kind):
    infos, blobs, offset = b"", [], 0
    for name, t in tensors:
        number, blob = encode_tensor(t, kind)
        dims = tuple(t.shape)[::-1]
        infos += text(name) + struct.pack("<I", len(dims)) + struct.pack(f"<{len(dims)}Q", *dims) + struct.pack("<IQ", number, offset)
        blobs.append(blob)
        offset += (len(blob) + 31) // 32 * 32
    head = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(pairs)) + b"".join(pair(*p) for p in pairs) + infos
    with open(path, "wb") as f:
        f.write(head + b"\0" * (-len(head) % 32))
        for blob in blobs:
            f.write(blob + b"\0" * (-len(blob) % 32))


def layer(prefix, L, names):
    parts = (L.q, L.k, L.v, L.o, L.gate, L.up, L.down)
    return [(f"{prefix}.{n}.weight", norm.weight) for n, norm in zip(names[:2], (L.n1, L.n2))] + [(f"{prefix}.{n}.weight", w.weight) for n, w in zip(names[2:], parts)]


def decoder_tensors(m):
    names = "attn_norm", "ffn_norm", "attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down"
    return [("token_embd.weight", m.emb.weight), ("output_norm.weight", m.norm.weight)] + [t for i, L in enumerate(m.layers) for t in layer(f"blk.{i}", L, names)]


def vision_tensors(m):
    names = "ln1", "ln2", "attn_q", "attn_k", "attn_v", "attn_out", "ffn_gate", "ffn_up", "ffn_down"
    return [("v.patch_embd.weight", m.patch.weight), ("v.pre_ln.weight", m.vpre.weight), ("mm.1.weight", m.mm1.weight), ("mm.1.bias", m.mm1.bias),
            ("mm.2.weight", m.mm2.weight), ("mm.2.bias", m.mm2.bias), ("v.token_embd.img_break", m.img_break)] + [t for i, L in enumerate(m.vis) for t in layer(f"v.blk.{i}", L, names)]


def export(m, folder, kind):
    specials, file_type = len(bpe.SPECIALS), 1 if kind == "f16" else 7
    write(os.path.join(folder, "pocket.gguf"), [
        ("general.architecture", STR, "llama"), ("general.name", STR, "Pocket"), ("general.license", STR, "mit"), ("general.file_type", U32, file_type),
        ("general.description", STR, "The built-in model: answers simple questions about pictures of shapes."),
        ("general.sampling.temp", F32, 0.0),
        ("llama.vocab_size", U32, c.vocab), ("llama.context_length", U32, 4096), ("llama.embedding_length", U32, c.width), ("llama.block_count", U32, c.layers),
        ("llama.feed_forward_length", U32, c.ff), ("llama.attention.head_count", U32, c.heads), ("llama.attention.head_count_kv", U32, c.kv_heads),
        ("llama.attention.layer_norm_rms_epsilon", F32, c.eps), ("llama.rope.dimension_count", U32, c.width // c.heads), ("llama.rope.freq_base", F32, c.theta),
        ("tokenizer.ggml.model", STR, "gpt2"), ("tokenizer.ggml.pre", STR, "smollm"), ("tokenizer.ggml.tokens", ARR, (STR, chatml.VOCAB)),
        ("tokenizer.ggml.token_type", ARR, (I32, [3] * specials + [1] * (c.vocab - specials))), ("tokenizer.ggml.merges", ARR, (STR, [" ".join(x) for x in chatml.MERGES])),
        ("tokenizer.ggml.bos_token_id", U32, chatml.EOT), ("tokenizer.ggml.eos_token_id", U32, chatml.END), ("tokenizer.ggml.padding_token_id", U32, chatml.EOT),
        ("tokenizer.ggml.add_bos_token", BOOL, False), ("tokenizer.chat_template", STR, TEMPLATE),
    ], decoder_tensors(m), kind)
    write(os.path.join(folder, "mmproj-pocket.gguf"), [
        ("general.architecture", STR, "clip"), ("general.name", STR, "Pocket"), ("general.type", STR, "mmproj"), ("general.license", STR, "mit"), ("general.file_type", U32, file_type),
        ("clip.has_vision_encoder", BOOL, True), ("clip.projector_type", STR, "pixtral"), ("clip.use_silu", BOOL, True), ("clip.vision.image_size", U32, round(PATCHES[1] ** .5) * c.patch),
        ("clip.vision.image_min_pixels", U32, PATCHES[0] * c.patch ** 2), ("clip.vision.image_max_pixels", U32, PATCHES[1] * c.patch ** 2),
        ("clip.vision.patch_size", U32, c.patch), ("clip.vision.embedding_length", U32, c.vision_width), ("clip.vision.feed_forward_length", U32, c.vision_ff),
        ("clip.vision.block_count", U32, c.vision_layers), ("clip.vision.attention.head_count", U32, c.vision_heads), ("clip.vision.attention.layer_norm_epsilon", F32, c.eps),
        ("clip.vision.projection_dim", U32, c.width), ("clip.vision.image_mean", ARR, (F32, [.5] * 3)), ("clip.vision.image_std", ARR, (F32, [.5] * 3)),
    ], vision_tensors(m), kind)


def reference(m, path):
    """What PyTorch makes of the f16 weights, digit by digit, for one picture that is not scaled."""
    round_to_f16(m)
    picture = Image.new("RGB", (176, 112), (252, 250, 249))
    draw_shape(ImageDraw.Draw(picture), "heart", 88, 56, 42, COLORS["purple"], (252, 250, 249))
    px = torch.tensor(np.asarray(picture)).permute(2, 0, 1)[None].float() / 127.5 - 1
    msgs = [("user", [None, "What is in this image?"])]
    with torch.no_grad():
        seen = m.encode(px)
        ids = torch.tensor([chatml.prompt(msgs, seen.shape[1])])
        first = m(ids, seen, ids == chatml.IMG)[0, -1]
        said = answer(m, msgs, [px])
    with open(path, "w") as f:
        json.dump({
            "width": picture.width, "height": picture.height, "rgb": np.asarray(picture).tobytes().hex(), "question": msgs[0][1][1], "imageTokens": seen.shape[1],
            "embeddings": [round(v, 4) for v in seen[0].flatten().tolist()], "firstTokenLogits": [round(v, 4) for v in first.tolist()], "answer": said,
        }, f)


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("weights")
    p.add_argument("folder")
    p.add_argument("--type", default="f16", choices=("f16", "q8_0"))
    p.add_argument("--reference")
    o = p.parse_args()
    m = load(o.weights)
    export(m, o.folder, o.type)
    if o.reference:
        reference(m, o.reference)


if __name__ == "__main__":
    main()
