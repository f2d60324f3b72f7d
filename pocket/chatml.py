"""Chats as token ids: the same text that the GGUF's chat template renders."""
import json
import os

import bpe

HERE = os.path.dirname(os.path.abspath(__file__))
EOT, START, END, IMG, IMG_BREAK, IMG_END = range(6)
_t = json.load(open(os.path.join(HERE, "tok.json")))
VOCAB, MERGES = _t["vocab"], _t["merges"]
tok = bpe.Tokenizer(VOCAB, MERGES)


def answer_ids(text, spelled=""):
    """What is to be learned of an answer. Printed text in it goes letter by letter, as it is seen."""
    if spelled and spelled in text:
        before, after = text.split(spelled, 1)
        space = before.endswith(" ")
        return tok.encode(before.rstrip(" ")) + tok.encode(" " * space) + [i for c in spelled for i in tok.encode(c)] + tok.encode(after) + [END]
    return tok.encode(text) + [END]


def open_ids(role):
    return [START] + tok.encode(role + "\n")


def part_ids(parts, picture_tokens):
    """Each None part becomes `picture_tokens` places for embeddings and [IMG_END]."""
    return [i for p in parts for i in ([IMG] * picture_tokens + [IMG_END] if p is None else tok.encode(p))]


def prompt(msgs, picture_tokens):
    """Ids of a chat [(role, parts)] up to where its next answer begins."""
    ids = []
    for role, parts in msgs:
        ids += open_ids(role) + part_ids(parts, picture_tokens) + [END] + tok.encode("\n")
    return ids + open_ids("assistant")
