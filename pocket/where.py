"""Tells the language half where it is, since answers alone teach it slowly.

Read at the picture tokens after its second layer, it must know the row, the column, the number of the picture, how many
things began so far, and at a thing how many of its colour and of its shape there were: counting then is to look at the
last one. Read after its fourth layer where a question names a thing, it must know where that is, or
that it is nowhere: a relation then is to compare two places. Where it names many, it must know how many, and where a bar,
its value. Before each letter of a printed text, it must know where that stands: to read it is all that is left."""
import torch
import torch.nn as nn
import torch.nn.functional as F

from model import Config

MOST_ROWS, MOST_COLS, MOST = 16, 51, 9
# Rows, columns and the break after them, pictures, things so far, and of them those of this colour and of this shape.
CLASSES = (MOST_ROWS, MOST_COLS, 8, MOST + 1, MOST + 1, MOST + 1)
TOLD = ("row", "column", "picture", "so far", "so far of colour", "so far of shape")
CELLS, NOWHERE, COUNTS, VALUES = 10, 9, MOST + 1, 11
# Names of bars are told after those of cells and counts.
VALUE = CELLS + COUNTS
# And those of letters, by row, column and quarter of a patch, after values.
LETTER_AT, QUARTERS = VALUE + VALUES, 4


class Where(nn.Module):
    def __init__(self, width=Config.width):
        super().__init__()
        self.read = nn.Linear(width, sum(CLASSES))
        self.named = nn.Linear(width, CELLS + COUNTS)
        self.value = nn.Linear(width, VALUES)
        self.letter = nn.Linear(width, MOST_ROWS + MOST_COLS)
        self.quarter = nn.Linear(width, QUARTERS)

    def loss(self, x, truth):
        """x [tokens, width], truth [tokens, kinds]. Gives the loss and the shares that were right."""
        logits = self.read(F.layer_norm(x.float(), x.shape[-1:])).split(CLASSES, 1)
        loss = sum(F.cross_entropy(z, y) for z, y in zip(logits, truth.unbind(1)))
        told = {name: (z.argmax(1) == y).float().mean().item() for name, z, y in zip(TOLD[:4], logits, truth.unbind(1))}
        for name, z, y in zip(TOLD[4:], logits[4:], truth.unbind(1)[4:]):
            # Few tokens are things.
            if (y > 0).any():
                loss = loss + F.cross_entropy(z[y > 0], y[y > 0])
                told[name] = (z.argmax(1) == y)[y > 0].float().mean().item()
        return loss, told

    def loss_of_names(self, x, named):
        """x [names, width], named [names]: the cell of what each of them names, CELLS and how many there are, VALUE and the
        value of a bar, or LETTER_AT and where a letter is (`letter_at`)."""
        x = F.layer_norm(x.float(), x.shape[-1:])
        places, counts = self.named(x).split((CELLS, COUNTS), 1)
        rows, cols = self.letter(x).split((MOST_ROWS, MOST_COLS), 1)
        letters, patch, quarter = named >= LETTER_AT, (named - LETTER_AT) // QUARTERS, (named - LETTER_AT) % QUARTERS
        loss, told = 0, {}
        for kind, logits, which, y in (("named", places, named < CELLS, named), ("counted", counts, (named >= CELLS) & (named < VALUE), named - CELLS),
                                       ("valued", self.value(x), (named >= VALUE) & ~letters, named - VALUE),
                                       ("letter's row", rows, letters, patch // MOST_COLS), ("letter's column", cols, letters, patch % MOST_COLS), ("letter's quarter", self.quarter(x), letters, quarter)):
            if which.any():
                loss = loss + F.cross_entropy(logits[which], y[which])
                told[kind] = (logits.argmax(1) == y)[which].float().mean().item()
        return loss, told


def letter_at(x, y):
    """A letter's middle in pixels, as `Where.loss_of_names` has it."""
    patch = min(int(y / 16), MOST_ROWS - 1) * MOST_COLS + min(int(x / 16), MOST_COLS - 1)
    return LETTER_AT + patch * QUARTERS + int(x * QUARTERS / 16) % QUARTERS


def loss_of_looks(looks, cells, places, cols):
    """How unlikely the head of `Layer.looks` [B, T, T] looks at the patch of each letter from the token before it, and the share of
    looks that have it. cells [B, T] as of `Where.loss_of_names`; places [B, T]: the tokens of the only picture, of `cols` patches a
    row. None where no letter is told."""
    rows, at = (cells >= LETTER_AT).nonzero(as_tuple=True)
    if not len(rows):
        return None
    patch = (cells[rows, at] - LETTER_AT) // QUARTERS
    first, last_row = places.int().argmax(1)[rows], (places.sum(1)[rows] + 1) // (cols + 1) - 1
    # The middle of a letter may be a little outside.
    token = first + torch.minimum(patch // MOST_COLS, last_row) * (cols + 1) + torch.minimum(patch % MOST_COLS, torch.tensor(cols - 1))
    seen = looks[rows, at]
    return -seen.gather(1, token[:, None]).mean(), (seen.argmax(1) == token).float().mean().item()
