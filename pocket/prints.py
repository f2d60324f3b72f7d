"""Printed text: characters, words, numbers, prices and short lines, in many free fonts, a little turned, dark on light and light on dark."""
import functools
import glob
import math
import os
import zlib

from PIL import Image, ImageDraw, ImageFont

from world import BACKGROUNDS, COLORS, Scene, jitter, usable_on

FOLDERS = ("truetype/dejavu", "truetype/liberation2", "truetype/freefont", "truetype/lato", "truetype/roboto", "truetype/hack", "truetype/crosextra",
           "truetype/adf", "truetype/andika", "truetype/charis", "truetype/gentium-basic", "truetype/firacode", "truetype/jetbrains-mono",
           "truetype/mononoki", "truetype/tuffy", "opentype/urw-base35", "opentype/linux-libertine", "opentype/dosis",
           "opentype/fantasque-sans", "opentype/jura", "opentype/league-spartan", "opentype/play")
# The pictures that Pocket is measured by have their text in these, and no other picture has. One glob a family.
HELD_OUT = ("truetype/open-sans/OpenSans-[RB]*", "opentype/cantarell/Cantarell-[RB]*", "truetype/crosextra/Caladea-[RB]*", "truetype/inconsolata/*",
            "opentype/comic-neue/*Neue-[RB]*", "opentype/courier-prime/*Prime*", "opentype/linux-libertine/LinBiolinum_R[!I]*", "truetype/karla/Karla-[RB]*",
            "truetype/vollkorn/Vollkorn-[RB]*", "opentype/cabin/Cabin-[RB]*", "opentype/urw-base35/P052-*", "opentype/quattrocento/Quattrocento*",
            "truetype/noto/NotoSans-[RB]*", "truetype/noto/NotoSerif-[RB]*", "truetype/noto/NotoSansMono-[RB]*")
# Scripts, symbols, old letters, and cuts so thin or narrow that their letters vanish at 16 pixels.
UNREADABLE = ("Symbol", "D050000L", "Z003", "Dingbats", "Hairline", "Thin", "Light", "ExtLt", "Math", "Initials", "Black", "Condensed", "Emoji", "Cond", "Script",
              "Oldania", "Shadow", "Keyboard", "BiolinumO", "Std-Italic", "Oblique-Swash", "_K", "_I", "Display_", "Style", "LinLibertine_DR", "Extra", "Heavy",
              "TuffyInf", "Sketch", "Mekanus",
              # Figures that hang below the line: 0 is drawn like o.
              "EBGaramond", "Accanthis")
SIGNS = ("stop|exit|open|closed|sale|free|push|pull|enter|danger|wet floor|no entry|stop|exit|keep out|no parking|no smoking|way out|mind the gap|for sale|to let|"
         "please wait|hot|cold|caution|warning|private|reserved|out of order|staff only|fire exit|slow|yield|one way|dead end|do not enter|push to open|"
         "help|info|welcome|thank you|menu|bar|cafe|hotel|bank|taxi|police|toilet|ladies|gents|ticket office|cash only|new|hello|yes|no|on|off|start|go")
WORDS = ("open closed stop go exit enter sale free hello world yes no push pull hot cold up down left right red green blue cat dog bird fish tree house car "
         "bus train road park shop bank hotel cafe bread milk tea coffee water apple lemon sugar salt rice total price tax cash card thanks welcome danger "
         "caution wet floor paint fire help info press start end menu home back next first last one two three four five six seven eight nine ten new old "
         "big small fast slow summer winter spring day night sun moon star").split()
CAPITALS, SMALL, DIGITS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ", "abcdefghijklmnopqrstuvwxyz", "0123456789"
MARKS = " .,:;!?-+/%&$€£#'\"()@*="
CHARACTERS = CAPITALS + SMALL + DIGITS + MARKS
# Without I, O and Q, which some fonts draw like 1 and 0.
DISTINCT = "ABCDEFGHJKLMNPRSTUVWXYZ0123456789"
LONGEST = 24                                                # characters of a line


def found(patterns):
    root = "/usr/share/fonts/"
    return sorted(f for p in patterns for f in glob.glob(root + p, recursive=True) if f.endswith((".ttf", ".otf", ".t1")))


@functools.cache
def held_out_fonts():
    return [f for f in found(HELD_OUT) if not any(u in f for u in UNREADABLE + ("Italic", "Oblique"))]


@functools.cache
def font_files(italic):
    held = set(found(HELD_OUT))
    files = [f for f in found(folder + "/**/*" for folder in FOLDERS) if f not in held and not any(u in f for u in UNREADABLE)]
    return [f for f in files if any(cut in f for cut in ("Italic", "Oblique", "Ital", "-It", "Obl")) == italic]


def some_font(r, held_out=False):
    """The path of a font. Slanted ones are few on what people photograph."""
    return r.choice(held_out_fonts() if held_out else font_files(r.random() < .15))


@functools.lru_cache(3000)
def font(path, size):
    return ImageFont.truetype(path, size)


def is_held_out(word):
    """One word in twenty is for measuring."""
    return zlib.crc32(word.lower().encode()) % 20 == 0


@functools.cache
def words(held_out=False):
    """Debian's `wamerican`: words of 2 to 12 letters, those that training may show or the others."""
    path = "/usr/share/dict/words"
    if not os.path.exists(path):
        raise SystemExit(f"{path} is missing: apt-get install wamerican")
    with open(path) as f:
        return [w for w in (line.strip() for line in f) if 2 <= len(w) <= 12 and w.isascii() and w.isalpha() and is_held_out(w) == held_out]


def cased(r, text):
    return r.choice([text.lower(), text.lower(), text.upper(), text.upper(), text.capitalize()])


def number_text(r):
    n = r.choice([r.randrange(10), r.randrange(100), r.randrange(1000), r.randrange(10_000), r.randrange(10_000_000)])
    return r.choice([str(n), str(n), f"{n:,}", f"{r.randrange(100)}%", f"{r.randrange(24)}:{r.randrange(60):02}", f"No. {n}", f"#{n}", f"{r.randrange(1900, 2100)}",
                     f"{r.randrange(1, 29)}/{r.randrange(1, 13)}/{r.randrange(2000, 2040)}", f"{n / 10:.1f}", f"-{n}", f"+{n}", f"{r.randrange(9)}+{r.randrange(9)}={r.randrange(18)}"])


def price_text(r):
    euros, cents = r.choice([r.randrange(10), r.randrange(100), r.randrange(2000)]), r.choice([99, 50, 95, 0, r.randrange(100)])
    amount = r.choice([f"{euros}.{cents:02}", f"{euros}.{cents:02}", f"{euros},{cents:02}", f"{euros}"])
    return r.choice([f"${amount}", f"${amount}", f"€{amount}", f"£{amount}", f"{amount} €", f"{amount} EUR", amount, f"only ${amount}", f"{r.randrange(5, 95, 5)}% OFF"])


def line_text(r, most, held_out=False):
    """Two to five words, at most so many characters."""
    line = r.choice(words(held_out))
    while r.random() < .8:
        word = r.choice(words(held_out)) if r.random() < .8 else str(r.randrange(100)) if r.random() < .5 else r.choice(WORDS)
        if len(line) + 1 + len(word) > most:
            break
        line += " " + word
    line = r.choice([line.lower(), line.upper(), line.capitalize(), line.title()])
    return line + r.choice(["", "", "", ".", "!", "?", ":"]) if len(line) < most else line


def some_text(r, most=12, held_out=False):
    """Text of `most` characters at most: glyphs, words, numbers, prices, signs; and lines, if they may be so long."""
    if most < 4:
        return "".join(r.choice(CAPITALS + SMALL + DIGITS) for _ in range(r.randint(1, most)))
    for _ in range(50):
        t = r.random()
        if t < .1:
            text = "".join(r.choice(DISTINCT if r.random() < .6 else CHARACTERS.replace(" ", "")) for _ in range(r.randint(1, min(most, 8))))
        elif t < .22:
            text = number_text(r)
        elif t < .3:
            text = price_text(r)
        elif t < .38:
            text = r.choice([str.upper, str.upper, str.title])(r.choice(SIGNS.split("|")))
        elif t < .6 or most < 14:
            text = cased(r, r.choice(words(held_out)))
        else:
            text = line_text(r, most, held_out)
        if len(text) <= most:
            return text
    return text[:most].strip()


def paints(r, bgname, bg):
    """(name of the ink or "", ink, name of the background or "", background): mostly colours that have names."""
    if r.random() < .6:
        ink = r.choice(usable_on(bgname))
        return ink, jitter(COLORS[ink], r), bgname, bg
    while True:
        a, b = ([r.randrange(256) for _ in range(3)] for _ in range(2))
        if abs(sum(a) * .33 - sum(b) * .33) > 75:
            return "", tuple(a), "", tuple(b)


def text_picture(r, w, h, world, bgname, bg):
    """Text of one line, or now and then of two, as large as it fits or smaller. The letters' places are (character, x, y)."""
    inkname, ink, bgname, bg = paints(r, bgname, bg)
    path = some_font(r, world.held_out)
    least = world.least_em
    if r.random() < world.filled:
        f = font(path, round(least * max(1., min(h * .75 / least, world.most_em)) ** (r.random() ** 1.5)))
        lines = [filling(r, f, w) for _ in range(max(1, int((h - f.size * .3) / (f.size * 1.3))))]
        img, scene = set_lines(r, w, h, lines, f, inkname, ink, bgname, bg, r.uniform(-5, 5) if r.random() < world.turned else 0)
        scene.kind = "page"
        return img, scene
    for _ in range(40):
        # The length first: of sizes, the large ones leave room for short texts only.
        t = r.random()
        text = some_text(r, r.randint(1, 3) if t < .06 else r.randint(3, 12) if t < .5 or world.longest < 13 else r.randint(13, world.longest), world.held_out)
        most = min(h * .75, w * .96 / (len(text) * .52), least * world.most_em)
        if most < least:
            continue
        em = least * (most / least) ** (r.random() ** .7)
        f = font(path, max(6, round(em)))
        lines = [text]
        if " " in text and em * 2.6 < h and r.random() < .25:
            parts = text.split(" ")
            cut = r.randint(1, len(parts) - 1)
            lines = [" ".join(parts[:cut]), " ".join(parts[cut:])]
        if max(f.getlength(line) for line in lines) < w * .97 and em * (.8 + 1.25 * (len(lines) - 1)) < h:
            break
    else:
        f, lines = font(path, max(6, round(least))), [text[:max(1, int(w / least))].strip() or "A"]
    return set_lines(r, w, h, lines, f, inkname, ink, bgname, bg, r.uniform(-5, 5) if r.random() < world.turned else 0)


def filling(r, f, w):
    """A line of any letters and words, as wide as the picture."""
    line = some_text(r, 3)
    while f.getlength(line) < w * .9:
        line += r.choice(("", " ")) + (r.choice(CHARACTERS) if r.random() < .5 else some_text(r, r.randint(3, 9)))
    while len(line) > 1 and f.getlength(line) > w * .97:
        line = line[:-1].rstrip()
    return line


def set_lines(r, w, h, lines, f, inkname, ink, bgname, bg, degrees):
    """A picture of lines, somewhere, turned around its middle."""
    em, step = f.size, f.size * r.uniform(1.1, 1.35)
    mask = Image.new("L", (w, h))
    d = ImageDraw.Draw(mask)
    widths = [f.getlength(line) for line in lines]
    ascent = em * .78
    tall = ascent + step * (len(lines) - 1)
    left = r.uniform(0, max(0, w - max(widths)) * .98)
    top = r.uniform(-.04 * em, max(0, h - tall - em * .24)) if h > tall + em * .24 else (h - tall - .2 * em) / 2
    c, s, letters = math.cos(math.radians(degrees)), math.sin(math.radians(degrees)), []
    for i, line in enumerate(lines):
        x, base = left + (max(widths) - widths[i]) * r.choice([0, .5]), top + ascent + step * i
        d.text((x, base), line, font=f, fill=255, anchor="ls")
        edges = [f.getlength(line[:k]) for k in range(len(line) + 1)]
        middle = base - em * .3
        for k, letter in enumerate(line + (" " if i < len(lines) - 1 else "")):
            u = (x + (edges[k] + edges[k + 1]) / 2 if k < len(line) else x + edges[-1] + .1 * em) - w / 2
            v = middle - h / 2
            letters.append((letter, w / 2 + u * c + v * s, h / 2 - u * s + v * c))
    if degrees:
        mask = mask.rotate(degrees, Image.BILINEAR)
    img = Image.new("RGB", (w, h), bg)
    img.paste(ink, mask=mask)
    return img, Scene("text", bgname, text=" ".join(lines), text_color=inkname, letters=letters)
