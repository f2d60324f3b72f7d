"""Teaches the vision half alone, from labels that the generator knows, and goes on telling it while it learns to speak."""
import math

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F

from model import Config
from prints import CHARACTERS, LONGEST
from world import BACKGROUNDS, COLORS, NOTHING_KNOWN, SHAPES

COLOR_NAMES = list(COLORS)
SLOTS = 4                                                   # of a patch, side by side: each may say a letter
KINDS_OF_LABELS = ("shape", "color", "centre", "nth letter")
CLASSES = (len(SHAPES) + 2, len(COLORS) + 1, 2, LONGEST + 2)
LETTERS, READER = len(CHARACTERS) + 1, 96
# Letters that stand before the first one of a patch: who has spelled them finds there what comes next.
BEFORE, NOTHING_BEFORE = 2, LETTERS
WEIGHTS = (1., 1., .6, 1.)
# Of what is not there, beside what is.
NOTHING = (.3, .3, .3, .3)
# What a letter weighs, and that there is none where no line is.
LETTER, NO_LETTER = 1.5, .3
NOT_ASKED = -100
NO_LINE, LINE = 0, 1                                        # of a patch; NOT_ASKED: a line is near


class Sight(nn.Module):
    """Reads every picture token by itself: which shape and colour cover its patch, if any, which letters stand in it, which
    of the text its first one is, and what is behind all.

    A patch has slots for letters, side by side. The slots that a line of text runs through say its letters, one after the other,
    and nothing between: each letter in the slot of the model's choice (CTC, Graves et al., 2006). To say which slot has a
    letter's middle would be harder than to read: a font's side bearings move it by pixels."""

    def __init__(self, width=Config.width):
        super().__init__()
        self.patch = nn.Linear(width, sum(CLASSES))
        # One reader for all slots: a letter looks alike in each.
        self.slots, self.letter = nn.Linear(width, SLOTS * READER), nn.Linear(READER, LETTERS)
        self.before = nn.Linear(width, BEFORE * (LETTERS + 1))
        self.background = nn.Linear(width, len(BACKGROUNDS) + 1)

    def loss(self, seen, labels, backgrounds, letters):
        """seen [N, patches, width]; labels [N, patches, kinds + BEFORE] (0: none, NOT_ASKED); backgrounds [N]; letters as of `letters_of`.
        Gives the loss and what it tells: the share that was right of each kind, of backgrounds, and of lines of text."""
        seen = F.layer_norm(seen.float(), seen.shape[-1:])
        background = self.background(seen.mean(1))
        asked = backgrounds != NOT_ASKED
        loss, told = .3 * F.cross_entropy(background[asked], backgrounds[asked]) if asked.any() else 0, {}
        for kind, x, y, weight, nothing in zip(KINDS_OF_LABELS, self.patch(seen).split(CLASSES, 2), labels.unbind(2), WEIGHTS, NOTHING):
            asked_for, full = y != NOT_ASKED, y > 0
            each = torch.where(full, 1., nothing)[asked_for]
            if len(each):
                loss = loss + weight * (F.cross_entropy(x[asked_for], y[asked_for], reduction="none") * each).sum() / each.sum().clamp(min=1)
            told[kind] = (x.argmax(-1) == y)[full].float().mean().item() if full.any() else math.nan
        told["background"] = (background.argmax(-1) == backgrounds)[asked].float().mean().item()
        before, known = labels[..., len(CLASSES):], labels[..., len(CLASSES)] > 0
        if known.any():
            x, y = self.before(seen[known]).unflatten(1, (BEFORE, LETTERS + 1)).flatten(0, 1), before[known].flatten()
            loss = loss + .8 * F.cross_entropy(x, y)
            told["before"] = (x.argmax(1) == y).float().mean().item()
        read, right = self.loss_of_letters(self.letter(F.gelu(self.slots(seen).unflatten(2, (SLOTS, READER)))), *letters)
        return loss + read, told | right

    def loss_of_letters(self, logits, lined, which, paths, texts):
        """logits [N, patches, slots, letters]; the rest as of `letters_of`."""
        loss, none = 0, lined == NO_LINE
        if none.any():
            loss = NO_LETTER * (logits[none].logsumexp(-1) - logits[none][..., 0]).mean()
        if not len(which):
            return loss, {}
        slot = torch.arange(paths.shape[1], device=paths.device) % SLOTS
        said = logits[which[:, None], paths, slot].log_softmax(-1)
        lengths = (texts > 0).sum(1)
        # A line with more letters than slots counts as nothing.
        each = F.ctc_loss(said.transpose(0, 1), texts, torch.full_like(lengths, said.shape[1]), lengths, reduction="none", zero_infinity=True)
        a_letter = each.sum() / lengths.sum()
        right = [torch.unique_consecutive(line).tolist() for line in said.argmax(-1)]
        read = sum([x for x in line if x] == text[text > 0].tolist() for line, text in zip(right, texts)) / len(texts)
        return loss + LETTER * a_letter, {"letter": a_letter.item(), "read": read}


def largest(boxes, w, h, least=1 / 12, inside=False):
    """Which box has the largest part of each patch, if that is `least` of the patch or more: [patches], -1 for none.
    With `inside` the second box lies on the first, so what it covers is its own."""
    rows, cols = h // 16, w // 16
    best, out = np.full((rows, cols), 256. * least), np.full((rows, cols), -1)
    y, x = np.arange(rows)[:, None] * 16, np.arange(cols)[None] * 16
    for i, (x0, y0, x1, y1) in enumerate(boxes):
        area = np.clip(np.minimum(x + 16, x1) - np.maximum(x, x0), 0, 16) * np.clip(np.minimum(y + 16, y1) - np.maximum(y, y0), 0, 16)
        area = area * 8 if inside and i == 1 else area
        over = area > best
        best[over] = area[over]
        out[over] = i
    return out.reshape(-1)


def lines_of(letters):
    """The lines of a text, each a list of (letter, x, y): none goes back."""
    lines = []
    for letter in letters:
        if not lines or letter[1] < lines[-1][-1][1]:
            lines.append([])
        lines[-1].append(letter)
    return lines


NEAR = 3                                                    # pixels


def letters_of(letters, w, h):
    """What the patches of a picture say of its text: (whether a line runs through each [patches], the paths of lines, which are
    patches, one for each slot of the picture's width, and the numbers of their characters)."""
    rows, cols = h // 16, w // 16
    lined, paths, texts = np.full((rows, cols), NO_LINE), [], []
    x, column = (np.arange(cols * SLOTS) + .5) * 16 / SLOTS, np.arange(cols * SLOTS) // SLOTS
    for line in lines_of(letters):
        _, xs, ys = zip(*line)
        slope = (ys[-1] - ys[0]) / (xs[-1] - xs[0]) if len(line) > 1 else 0
        y = ys[0] + slope * (x - xs[0])
        row = np.clip(y // 16, 0, rows - 1).astype(int)
        for away in (-NEAR, NEAR):
            near = np.clip((y + away) // 16, 0, rows - 1).astype(int)
            lined[near, column] = np.where(lined[near, column] == LINE, LINE, NOT_ASKED)
        # One patch cannot say the letters of two lines.
        crossed = (lined[row, column] == LINE).any()
        lined[row, column] = LINE
        text = "".join(letter for letter, *_ in line).strip()
        if text and not crossed:
            paths.append(row * cols + column)
            texts.append([CHARACTERS.index(letter) + 1 for letter in text])
    return lined.reshape(-1), paths, texts


def nth_letters(letters, w, h):
    """[patches]: which of the text the first letter is whose middle is in a patch, from 1, and 0 for none. Blanks count."""
    rows, cols = h // 16, w // 16
    first = np.zeros((rows, cols), np.int64)
    for n, (letter, x, y) in enumerate(letters):
        row, col = int(y / 16), int(x / 16)
        if letter != " " and 0 <= row < rows and 0 <= col < cols and not first[row, col]:
            first[row, col] = min(n, LONGEST) + 1
    return first.reshape(-1)


def letters_before(letters, nth):
    """[patches, BEFORE]: the numbers of the characters before the first letter of each patch, the nearest one first; 0 where no
    letter is."""
    numbers = [NOTHING_BEFORE] * BEFORE + [CHARACTERS.index(letter) + 1 for letter, *_ in letters]
    return np.array([[numbers[n - 1 + BEFORE - away] if n and n <= LONGEST else 0 for away in range(1, BEFORE + 1)] for n in nth])


def labels_of(scene, w, h):
    """[patches, kinds + BEFORE]: what is asked about each patch, and the background's number. What the text is, `letters_of` says."""
    patches = (w // 16) * (h // 16)
    out = np.zeros((patches, len(KINDS_OF_LABELS) + BEFORE), np.int64)
    if scene.kind in NOTHING_KNOWN:
        pass
    elif scene.kind in ("shapes", "bars"):
        which = largest([t.box for t in scene.things], w, h, inside=scene.inside)
        # A bar, as the part of a pie, is the shape after the last.
        shape = [0] + [SHAPES.index(t.shape) + 1 if t.shape in SHAPES else len(SHAPES) + 1 for t in scene.things]
        color = [0] + [COLOR_NAMES.index(t.color) + 1 for t in scene.things]
        out[:, 0], out[:, 1] = np.array(shape)[which + 1], np.array(color)[which + 1]
        for x0, y0, x1, y1 in (t.box for t in scene.things):
            row, col = min(int((y0 + y1) / 32), h // 16 - 1), min(int((x0 + x1) / 32), w // 16 - 1)
            out[row * (w // 16) + col, 2] = 1
    elif scene.kind == "pie":
        # Only where the parts are: a patch beside it may have two.
        out[:] = NOT_ASKED
        out[:, 2] = 0
        for t in scene.things:
            out[int(t.box[1] / 16) * (w // 16) + int(t.box[0] / 16), :3] = len(SHAPES) + 1, COLOR_NAMES.index(t.color) + 1, 1
    elif scene.kind in ("text", "page"):
        out[:, 3] = nth_letters(scene.letters, w, h)
        out[:, 4:] = letters_before(scene.letters, out[:, 3])
        out[:, 1] = np.where(out[:, 3] > 0, COLOR_NAMES.index(scene.text_color) + 1, 0) if scene.text_color else NOT_ASKED
        if scene.kind == "page":
            out[:, 3:] = NOT_ASKED
    elif scene.kind == "sign":
        out[:] = NOT_ASKED
        out[:, 3] = nth_letters(scene.letters, w, h)
        out[:, 4:] = letters_before(scene.letters, out[:, 3])
    else:
        out[:] = NOT_ASKED
    if scene.kind in NOTHING_KNOWN:
        return out, len(BACKGROUNDS)
    return out, BACKGROUNDS.index(scene.background) if scene.background in BACKGROUNDS else NOT_ASKED
