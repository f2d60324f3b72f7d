"""Chats as token ids: the same text that the GGUF's chat template renders."""
import itertools
import json
import os
import re

import bpe

HERE = os.path.dirname(os.path.abspath(__file__))
EOT, START, END, IMG, IMG_BREAK, IMG_END = range(6)
_t = json.load(open(os.path.join(HERE, "tok.json")))
VOCAB, MERGES = _t["vocab"], _t["merges"]
tok = bpe.Tokenizer(VOCAB, MERGES)


def given_ids(r, text):
    """(ids of what a grammar writes, what is to be learned of them). A grammar takes the likeliest token of those that fit: names
    may come in any pieces, and who has not learned that a colon follows a name writes spaces without end."""
    t = r.random()
    if t < .5:
        ids = tok.encode(text)
        return ids, ids
    ids, learn = [], []
    for part in re.findall(r"\w|\W+", text) if t < .8 else text:
        new = tok.encode(part)
        ids += new
        learn += new if t < .8 and not re.match(r"\w", part) else [-100] * len(new)
    return ids, learn


def answer_ids(r, pieces):
    """(ids of an answer of [(text, how)], what is to be learned of them, which are of printed text). Printed text goes letter
    by letter, as it is seen: its `how` is "spelled". What is not learned, a grammar writes."""
    ids, learn, spelled = [], [], []
    pieces = [("".join(text for text, _ in same), how) for how, same in itertools.groupby(pieces, lambda piece: piece[1])]
    for i, (text, how) in enumerate(pieces):
        if not how:
            new, learned = given_ids(r, text)
            # How an answer begins, the grammar alone decides.
            learned = learned if ids else [-100, *learned[1:]]
        else:
            space = how is True and text.endswith(" ") and i + 1 < len(pieces) and pieces[i + 1][1] == "spelled"
            new = learned = [i for c in text for i in tok.encode(c)] if how == "spelled" else tok.encode(text[:-1]) + tok.encode(" ") if space else tok.encode(text)
        ids += new
        learn += learned
        spelled += [how == "spelled"] * len(new)
    return ids + [END], learn + [END], spelled + [False]


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
