"""Chats as token ids: the same text that the GGUF's chat template renders."""
import json
import os

import bpe

HERE = os.path.dirname(os.path.abspath(__file__))
EOT, START, END, IMG, IMG_BREAK, IMG_END = range(6)
_t = json.load(open(os.path.join(HERE, "tok.json")))
VOCAB, MERGES = _t["vocab"], _t["merges"]
tok = bpe.Tokenizer(VOCAB, MERGES)


def answer_ids(pieces):
    """(ids of an answer of [(text, how)], what is to be learned of them). Printed text goes letter by letter, as it is seen:
    its `how` is "spelled". What is not learned, a grammar writes."""
    ids, learn = [], []
    for i, (text, how) in enumerate(pieces):
        space = how is True and text.endswith(" ") and i + 1 < len(pieces) and pieces[i + 1][1] == "spelled"
        new = [i for c in text for i in tok.encode(c)] if how == "spelled" else tok.encode(text[:-1]) + tok.encode(" ") if space else tok.encode(text)
        ids += new
        learn += new if how else [-100] * len(new)
    return ids + [END], learn + [END]


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
