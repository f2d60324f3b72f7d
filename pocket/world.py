"""What there is in Pocket's world: the names of things, and how rich a stage of training lets it be.

Everything is drawn from the random generator that is passed in, so a seed gives the same pictures and questions again.
"""
from dataclasses import dataclass, field

COLORS = {
    "red": (220, 30, 30), "green": (30, 160, 50), "blue": (40, 70, 220), "yellow": (245, 215, 30),
    "orange": (245, 130, 20), "purple": (130, 40, 170), "pink": (250, 130, 190), "brown": (120, 70, 30),
    "black": (15, 15, 15), "white": (250, 250, 250), "gray": (128, 128, 128), "cyan": (40, 200, 215),
}
BACKGROUNDS = ["white", "black", "gray", "yellow", "blue", "green"]
SHAPES = ["circle", "square", "triangle", "star", "cross", "ring", "heart", "diamond", "oval", "rectangle", "arrow", "moon"]
PLACES = ["top left", "top", "top right", "left", "center", "right", "bottom left", "bottom", "bottom right"]
KINDS = ["shapes", "text", "bars", "pie", "photo", "sign", "receipt", "other"]
NOTHING_KNOWN = ("photo", "other")                          # of which Pocket can tell nothing, and says so


@dataclass(frozen=True)
class World:
    """Weights and shares, all of them relative to what stands beside them."""
    kinds: tuple = (50, 18, 7, 4, 3, 5, 2, 11)              # of KINDS
    shapes: tuple = (4, 4, 3, 2, 1, .7, .7, .7, .7)         # of 1 to 9 shapes
    big: float = .6                                         # share of single shapes in the middle that fill it
    middle: float = .5                                      # share of single shapes that stand in the middle
    alike: float = .35                                      # share of scenes of two shapes and three colours only
    one_color: float = 0                                    # share of scenes of one colour, where only its shape tells what is meant
    nested: float = .05                                     # share of scenes of one shape inside another
    sized: float = .2                                       # share of scenes of two to five shapes where one is larger or smaller
    backgrounds: tuple = (6, 2, 2, 1, 1, 1)
    values: float = .3                                      # share of bars that have their value on top
    rough: float = .3                                       # share of pictures with noise, blur, jpeg, a small turn
    pictures: tuple = (.6, 16, 2, .8, .3, .1, .1, .05, .05)  # of chats with 0 to 8 pictures
    wide: float = .3                                        # share of batches of wide pictures
    small: float = .15                                      # share of the others that are as small as they may be
    longest: int = 24                                       # characters of a text
    filled: float = 0                                       # share of texts that fill the picture, for teaching letters only
    turned: float = .5                                      # share of texts that are turned by up to 5 degrees
    least_em: float = 11                                    # the smallest type, in pixels
    most_em: float = 5                                      # the largest type, as a multiple of the smallest
    spoken: int = 190                                       # tokens of text in a chat beside its pictures, at least
    held_out: bool = False                                  # the fonts and words that training never shows


@dataclass
class Thing:
    shape: str
    color: str
    cell: int
    box: tuple


@dataclass
class Scene:
    kind: str
    background: str
    things: list = field(default_factory=list)
    text: str = ""
    text_color: str = ""
    letters: list = field(default_factory=list)             # (character, x, y of its middle)
    inside: bool = False                                    # the second thing is inside the first
    odd: int | None = None                                  # which thing is of another size than the others
    odd_is_large: bool = False
    values: dict = field(default_factory=dict)              # of a chart: colour -> value; of a receipt: goods -> price


def jitter(rgb, r, k=14):
    return tuple(max(0, min(255, c + r.randint(-k, k))) for c in rgb)


def usable_on(background):
    """The colours that can be told from a background."""
    return [c for c in COLORS if c != background and not (background == "gray" and c == "cyan")]
