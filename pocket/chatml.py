"""Chats as token ids: the same text that the GGUF's chat template renders."""
import json
import os

import bpe

HERE = os.path.dirname(os.path.abspath(__file__))
EOT, START, END, IMG, IMG_BREAK, IMG_END = range(6)
_t = json.load(open(os.path.join(HERE, "tok.json")))
VOCAB, MERGES = _t["vocab"], _t["merges"]
tok = bpe.Tokenizer(VOCAB, MERGES)


def encode(msgs, picture_tokens, generate=False):
    """Ids and labels of a chat (labels are -100 where nothing is to be learned). Each None part becomes
    `picture_tokens` places for embeddings and [IMG_END]. With `generate` the ids end where an answer begins."""
    ids, labels = [], []

    def put(x, learn):
        ids.extend(x)
        labels.extend(x if learn else [-100] * len(x))

    for role, parts in msgs:
        put([START] + tok.encode(role + "\n"), False)
        for p in parts:
            if p is None:
                put([IMG] * picture_tokens + [IMG_END], False)
            else:
                put(tok.encode(p), role == "assistant")
        put([END], role == "assistant")
        put(tok.encode("\n"), False)
    if generate:
        put([START] + tok.encode("assistant\n"), False)
    return ids, labels
