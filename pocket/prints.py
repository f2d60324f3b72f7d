"""Pictures of printed text: a few characters, a word, a number, in many free fonts."""
import glob

from PIL import Image, ImageDraw, ImageFont

from world import COLORS, Scene, jitter, usable_on

FOLDERS = ("truetype/dejavu", "truetype/liberation2", "truetype/freefont", "truetype/open-sans", "truetype/lato", "truetype/roboto", "truetype/hack",
           "truetype/crosextra", "truetype/inconsolata", "opentype/cantarell", "opentype/urw-base35", "opentype/linux-libertine", "opentype/comic-neue",
           "opentype/courier-prime")
# Scripts, symbols, and cuts so thin or narrow that their letters vanish at 16 pixels.
UNREADABLE = ("Symbol", "D050000L", "Z003", "Dingbats", "Hairline", "Thin", "Light", "ExtLt", "Math", "Initials", "Black", "Condensed", "Emoji")
WORDS = ("open closed stop go exit enter sale free hello world yes no push pull hot cold up down left right red green blue cat dog bird fish tree house car "
         "bus train road park shop bank hotel cafe bread milk tea coffee water apple lemon sugar salt rice total price tax cash card thanks welcome danger "
         "caution wet floor paint fire help info press start end menu home back next first last one two three four five six seven eight nine ten new old "
         "big small fast slow summer winter spring day night sun moon star").split()
CAPITALS, SMALL, DIGITS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ", "abcdefghijklmnopqrstuvwxyz", "0123456789"
CHARACTERS = CAPITALS + SMALL + DIGITS
# Without I, O and Q, which some fonts draw like 1 and 0.
DISTINCT = "ABCDEFGHJKLMNPRSTUVWXYZ0123456789"

_fonts = {}
_files = []


def font_files():
    if not _files:
        found = sorted(f for folder in FOLDERS for ext in ("ttf", "otf", "t1") for f in glob.glob(f"/usr/share/fonts/{folder}/**/*.{ext}", recursive=True))
        _files.extend(f for f in found if not any(u in f for u in UNREADABLE))
    return _files


def font(path, size):
    if (path, size) not in _fonts:
        _fonts[path, size] = ImageFont.truetype(path, size)
    return _fonts[path, size]


def some_text(r):
    t = r.random()
    if t < .45:
        return "".join(r.choice(DISTINCT) for _ in range(r.choices([1, 2, 3, 4, 5], [3, 4, 4, 3, 1])[0]))
    if t < .65:
        return "".join(r.choice(DIGITS) for _ in range(r.choices([1, 2, 3, 4], [3, 3, 2, 1])[0]))
    word = r.choice(WORDS)
    return r.choice([word, word.upper(), word.upper(), word.capitalize()])


def text_picture(r, w, h, world, bgname, bg):
    img = Image.new("RGB", (w, h), bg)
    d = ImageDraw.Draw(img)
    text, color, path = some_text(r), r.choice(usable_on(bgname)), r.choice(font_files())
    size = int(h * r.uniform(.34, .66))
    while True:
        f = font(path, size)
        x0, y0, x1, y1 = d.textbbox((0, 0), text, font=f)
        if x1 - x0 < w * .94 and y1 - y0 < h * .88 or size < 12:
            break
        size = int(size * .9)
    x = r.randint(1, max(1, int(w - (x1 - x0) - 1))) - x0
    y = r.randint(1, max(1, int(h - (y1 - y0) - 1))) - y0
    d.text((x, y), text, font=f, fill=jitter(COLORS[color], r))
    edges = [f.getlength(text[:i]) for i in range(len(text) + 1)]
    letters = [(c, (x + edges[i], y + y0, x + edges[i + 1], y + y1)) for i, c in enumerate(text)]
    return img, Scene("text", bgname, text=text, text_color=color, letters=letters)
