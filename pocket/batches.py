"""Batches for training, drawn afresh by worker processes: pictures, their labels, and chats about them as token ids."""
import math
import random
import time
from dataclasses import replace

import numpy as np
import torch

import chatml
import chats
import draw
import sight
from draw import PATCHES
from where import MOST, MOST_COLS, MOST_ROWS, TOLD

SMALL = [(128, 128)] * 3 + [(160, 112), (112, 160)]
ASPECTS = (1, 1, 1, 1.33, 1.33, .75, .75, 1.5, .67, 2, .5)
# How much likelier a wide picture is to be of each kind: most are a word or a line cut out.
WIDE = .1, 6, .5, 0, .5, 3, 0, .7


def size_of(r, world):
    """(width, height, the world of the pictures): what the server's preprocessing makes of people's pictures."""
    least, most = PATCHES
    if r.random() < world.wide:
        rows = r.choice((2, 3, 3, 3, 4, 4, 4, 5, 5, 5, 6, 6, 7))
        cols = r.randint(-(-least // rows), most // rows)
        return 16 * cols, 16 * rows, replace(world, kinds=tuple(a * b for a, b in zip(world.kinds, WIDE)))
    if r.random() < world.small:
        return *r.choice(SMALL), world
    patches, aspect = r.uniform(least, most), r.choice(ASPECTS)
    rows = max(2, round(math.sqrt(patches / aspect)))
    cols = min(max(round(patches / rows), -(-least // rows)), most // rows)
    return 16 * cols, 16 * rows, world


def pictures_of(drawn, w, h):
    """(pixels [N, 3, h, w] in [-1, 1], labels [N, patches, kinds], backgrounds [N], letters) of drawn scenes. Letters are
    (lined [N, patches], which picture each line is in [L], paths [L, slots], texts [L, most letters], filled up with 0)."""
    pixels = torch.tensor(np.stack([np.asarray(im) for im, _ in drawn])).permute(0, 3, 1, 2).float() / 127.5 - 1
    labels, backgrounds = zip(*(sight.labels_of(scene, w, h) for _, scene in drawn))
    lined, paths, texts = zip(*(sight.letters_of(scene.letters, w, h) for _, scene in drawn))
    which = [i for i, lines in enumerate(texts) for _ in lines]
    paths, texts = sum(paths, []), sum(texts, [])
    most = max(map(len, texts), default=1)
    letters = (torch.tensor(np.stack(lined)), torch.tensor(which, dtype=torch.long), torch.tensor(np.array(paths), dtype=torch.long),
               torch.tensor([text + [0] * (most - len(text)) for text in texts], dtype=torch.long))
    return pixels, torch.tensor(np.stack(labels)), torch.tensor(backgrounds), letters


def sight_batch(r, size, world):
    """As many pictures as have `size` times 80 patches."""
    w, h, world = size_of(r, world)
    return pictures_of([draw.draw(r, w, h, world) for _ in range(max(4, size * 80 * 256 // (w * h)))], w, h)


class Batches(torch.utils.data.IterableDataset):
    """`make(random, *arguments)` again and again, from the clock's seed."""

    def __init__(self, make, *arguments):
        self.make, self.arguments = make, arguments

    def __iter__(self):
        worker = torch.utils.data.get_worker_info()
        torch.set_num_threads(1)
        r = random.Random(time.time_ns() + (worker.id if worker else 0))
        while True:
            yield self.make(r, *self.arguments)


def branches(r, chat, picture_tokens, length):
    """One row of `length` tokens at most: what the chats have in common, then as many first questions about it as fit, each
    unaware of the others. The pictures are so read once for all of them. Gives ids, what to learn (or -100), positions,
    branch numbers (0: in common), the cells of things where a question names them (or -1), and what depends on whether the
    model can read a text (as `told_apart` has it, or 0)."""
    opened = [i for role, parts in chat.before for i in chatml.open_ids(role) + chatml.part_ids(parts, picture_tokens) + [chatml.END] + chatml.tok.encode("\n")]
    first_text = chat.opening and r.random() < .15
    trunk = opened + chatml.open_ids("user")
    asked = None
    if first_text:
        # The question stands before the pictures: no other can share it.
        asked = chat.turn(r)
        trunk += chatml.tok.encode(asked.question)
    trunk += chatml.part_ids(chat.opening, picture_tokens)
    ids, learn, positions, branch = list(trunk), [-100] * len(trunk), list(range(len(trunk))), [0] * len(trunk)
    cells, depends = [-1] * len(trunk), [0] * len(trunk)
    newline, number = chatml.tok.encode("\n"), 0
    while True:
        number += 1
        new, labels, named, reading, other = [], [], [], [], None
        for turn in range(r.choices((1, 2, 3), (10, 4, 1.5))[0] if not first_text else 3):
            given, asked = asked is not None, asked or chat.turn(r, again=turn > 0)
            text = newline + chatml.open_ids("user") if turn else []
            head = text + ([] if given else chatml.tok.encode(asked.question)) + [chatml.END] + newline + chatml.open_ids("assistant")
            answer, learned, spelled = chatml.answer_ids(r, asked.answer)
            if asked.unread and not given:
                other = told_apart(answer, spelled, chatml.answer_ids(r, asked.unread)[0], number)
                reading = [0] * (len(new) + len(head)) + other[0]
            places = [-1] * (len(head) + len(answer))
            for end, cell in asked.named if not given else ():
                places[len(text) + len(chatml.tok.encode(asked.question[:end])) - 1] = cell
            spellings = [text for text, how in asked.answer if how == "spelled"]
            at = [i for i, s in enumerate(spelled) if s]
            if len(spellings) == 1 and len(spellings[0]) == len(asked.letters):
                # Each letter is looked for at the token before it. Some have two tokens.
                places_of = [place for letter, place in zip(spellings[0], asked.letters) for _ in chatml.tok.encode(letter)]
                for i, place in zip(at, places_of):
                    places[len(head) + i - 1] = place
            new, named = new + head + answer, named + places
            labels += [-100] * len(head) + learned
            asked = None
            if other:
                break
        if len(ids) + len(new) > length and number > 1:
            break
        grown = [(new, labels, named, reading or [0] * len(new))]
        if other and r.random() < .6:
            # The same question once more, with the answer of who cannot read.
            before = new[:len(new) - len(answer)]
            grown.append((before + other[1], [-100] * len(before) + other[1], [-1] * (len(before) + len(other[1])), [0] * len(before) + other[2]))
        for add, labels, named, reading in grown:
            positions += range(len(trunk), len(trunk) + len(add))
            ids += add
            learn += labels
            branch += [number] * len(add)
            cells += named
            depends += reading
            number += 1
        number -= 1
        if first_text:
            break
    return ids, learn, positions, branch, cells, depends


# What a token of two answers is, beside the number of the first one's branch: of the printed text, or where the answers part.
PRINTED, IF_READ, IF_NOT, MARKS = 1, 2, 3, 4


def told_apart(answer, spelled, other, number):
    """Of an answer with printed text and one without: (the marks of the first, the second's ids, its marks). Who cannot read
    the text exactly is to say the second."""
    parting = next(i for i, (a, b) in enumerate(zip(answer, other)) if a != b)
    # What follows the text ends it.
    printed = [s or (i > 0 and spelled[i - 1]) for i, s in enumerate(spelled)]
    first = [number * MARKS + PRINTED if p else 0 for p in printed]
    # The letter where the answers part decides between them, and is no sign of having read.
    first[parting] = number * MARKS + IF_READ
    return first, other, [number * MARKS + IF_NOT if i == parting else 0 for i in range(len(other))]


TRIES = 5                                                   # of a chat that is to fit


def talk_batch(r, size, world):
    """(pixels, labels, backgrounds), ids, learn, positions, branch, cells, depends [rows, T], and what is at each picture token
    (`where.TOLD`). A batch has about the tokens of `size`
    rows of one picture of 80 patches."""
    n = r.choices(range(len(world.pictures)), world.pictures)[0]
    w, h, world = size_of(r, replace(world, small=1 - (1 - world.small) * .6 ** max(0, n - 1), wide=world.wide / max(1, n)))
    rows, cols = h // 16, w // 16
    tokens = rows * (cols + 1) - 1
    # Tools are long, so their chats are among themselves.
    tools = n == 1 and r.random() < .06
    text = world.spoken + 160 * tools
    size = max(3, round(size * 280 / (max(n, .3) * tokens + text)))
    drawn, packed = [], []
    for _ in range(size):
        scenes = [draw.draw(r, w, h, world) for _ in range(n)]
        # One that is too long makes all rows of the batch as long.
        for _ in range(TRIES):
            row = branches(r, chats.chat(r, [s for _, s in scenes], tools), tokens, text + n * tokens)
            if len(row[0]) <= text + n * tokens:
                break
        packed.append(row)
        drawn += scenes
    T = max(len(ids) for ids, *_ in packed)
    out = [torch.full((size, T), fill) for fill in (chatml.EOT, -100, 0, -1, -1, 0)]
    for i, parts in enumerate(packed):
        for t, part in zip(out, parts):
            t[i, :len(part)] = torch.tensor(part)
    if not n:
        return None, out, None
    pictures = pictures_of(drawn, w, h)
    where = torch.zeros(len(drawn), rows, cols + 1, len(TOLD), dtype=torch.long)
    where[..., 0], where[..., 1] = torch.arange(rows)[:, None].clamp(max=MOST_ROWS - 1), torch.arange(cols + 1).clamp(max=MOST_COLS - 1)
    where[..., 2] = (torch.arange(len(drawn)) % n)[:, None, None]
    labels = pictures[1].view(len(drawn), rows, cols, -1)
    centres = labels[..., 2] == 1
    so_far = torch.zeros(len(drawn), rows, cols + 1, dtype=torch.long)
    so_far[..., :cols] = centres
    where[..., 3] = so_far.flatten(1).cumsum(1).view(so_far.shape).clamp(max=MOST)
    for i, row, col in centres.nonzero().tolist():
        before = centres[i].clone()
        before[row, col + 1:], before[row + 1:] = False, False
        for at, kind in ((4, 1), (5, 0)):
            where[i, row, col, at] = min(MOST, int((before & (labels[i, ..., kind] == labels[i, row, col, kind])).sum()))
    return pictures, out, where.flatten(1, 2)[:, :-1].reshape(-1, len(TOLD))
