"""Adds tokens to tok.json for what chats say often: `python3 vocabulary.py 1408`. Tokens that are there stay, and so do their numbers."""
import collections
import json
import os
import random
import sys

import bpe
import chatml
import chats
import draw
from world import World

PATH = os.path.join(chatml.HERE, "tok.json")


def texts(count):
    """What chats say, but for printed text, which has no tokens of its own."""
    r, world = random.Random(0), World()
    for _ in range(count):
        chat = chats.chat(r, [draw.draw(r, 80, 64, world)[1] for _ in range(r.choice((0, 1, 1, 1, 2)))], r.random() < .04)
        yield from (part for _, parts in [*chat.before, ("", chat.opening)] for part in parts if part)
        for turn in range(3):
            said = chat.turn(r, again=turn > 0)
            yield said.question
            yield from (text for text, how in said.answer if how != "spelled")


def extend(vocab, merges, texts, size):
    """The vocabulary and the merges, with the most frequent pairs of tokens until there are `size`."""
    tokenizer = bpe.Tokenizer(vocab, merges)
    words = collections.Counter(w for t in texts for w in bpe.pre(t))
    seqs = {w: [vocab[i] for i in tokenizer.word(w)] for w in words}
    vocab, merges = list(vocab), list(merges)
    while len(vocab) < size:
        pairs = collections.Counter()
        for w, n in words.items():
            for pair in zip(seqs[w], seqs[w][1:]):
                pairs[pair] += n
        (a, b), _ = max(pairs.items(), key=lambda one: (one[1], one[0]))
        merges.append([a, b])
        vocab.append(a + b)
        for w, s in seqs.items():
            i = 0
            while i < len(s) - 1:
                if s[i] == a and s[i + 1] == b:
                    s[i:i + 2] = [a + b]
                i += 1
    return vocab, merges


def main():
    vocab, merges = extend(chatml.VOCAB, chatml.MERGES, list(texts(20_000)), int(sys.argv[1]))
    with open(PATH, "w") as f:
        json.dump({"vocab": vocab, "merges": merges}, f)


if __name__ == "__main__":
    main()
