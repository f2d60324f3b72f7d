"""Signs and receipts: printed words with a frame or lines around them."""
import math

from PIL import Image, ImageDraw

from prints import CAPITALS, LONGEST, SIGNS, WORDS, font, some_font, text_picture
from world import COLORS, Scene, Thing, jitter, usable_on

SIGN_TEXTS = [text for text in SIGNS.split("|") if len(text) <= LONGEST]
GOODS = "BREAD MILK TEA COFFEE WATER APPLE LEMON SUGAR SALT RICE".split()


def fitting(d, text, w, h, path):
    """The largest font, of 9 pixels or more, in which a text is no wider than w and no higher than h."""
    size = max(9, int(h))
    while size > 9 and d.textlength(text, font=font(path, size)) > w:
        size -= 1
    return font(path, size)


def sign_picture(r, w, h, world, bgname, bg):
    """A few words in white or black on a coloured plate, on one line or two."""
    img = Image.new("RGB", (w, h), bg)
    d = ImageDraw.Draw(img)
    color = r.choice([c for c in usable_on(bgname) if c not in ("gray",)])
    ink = "black" if color in ("yellow", "orange", "pink", "cyan", "white") else "white"
    if color == "white" and r.random() < .4:
        ink = "red"
    a, b = w * r.uniform(.4, .48), h * r.uniform(.25, .46)
    fill, form = jitter(COLORS[color], r), r.random()
    plate = (w / 2 - a, h / 2 - b, w / 2 + a, h / 2 + b)
    if form < .2:
        a = b = min(a, b)
        plate = (w / 2 - a, h / 2 - b, w / 2 + a, h / 2 + b)
        d.polygon(corners(w / 2, h / 2, a, 8), fill=fill)
    elif form < .3:
        d.ellipse(plate, fill=fill)
    else:
        d.rounded_rectangle(plate, radius=min(a, b) * r.choice([0, .2, .5]), fill=fill, outline=jitter(COLORS[ink], r) if r.random() < .2 else None, width=max(1, int(min(w, h) / 40)))
    words = r.choice(SIGN_TEXTS if r.random() < .6 else WORDS)
    text = r.choice([str.upper, str.upper, str.title])(words)
    parts, lines = text.split(" "), [text]
    if len(parts) > 1 and (form < .3 or b > .5 * a or r.random() < .2):
        cut = (len(parts) + 1) // 2
        lines = [" ".join(parts[:cut]), " ".join(parts[cut:])]
    path = some_font(r, world.held_out)
    widest = max(lines, key=len)
    f = fitting(d, widest, (1.5 if form < .3 else 1.8) * a, (1.1 if len(lines) == 1 else .6) * b, path)
    if f.size < world.least_em * .85:
        return text_picture(r, w, h, world, bgname, bg)
    paint, letters, step = jitter(COLORS[ink], r), [], f.size * 1.2
    for i, line in enumerate(lines):
        y = h / 2 + step * (i - (len(lines) - 1) / 2)
        d.text((w / 2, y), line, font=f, fill=paint, anchor="mm")
        left = w / 2 - f.getlength(line) / 2
        edges = [left + f.getlength(line[:k]) for k in range(len(line) + 1)]
        letters += [(c, (edges[k] + edges[k + 1]) / 2, y) for k, c in enumerate(line)]
        if i < len(lines) - 1:
            letters.append((" ", edges[-1] + .1 * f.size, y))
    return img, Scene("sign", bgname, things=[Thing("plate", color, 4, plate)], text=text, text_color=ink, letters=letters)


def corners(cx, cy, radius, n):
    """A polygon that stands on one of its sides."""
    return [(cx + radius * math.cos((2 * k + 1) * math.pi / n), cy + radius * math.sin((2 * k + 1) * math.pi / n)) for k in range(n)]


def receipt_picture(r, w, h, world, bgname, bg):
    """A shop's name, two or three lines of goods with whole prices, and their total."""
    img = Image.new("RGB", (w, h), (252, 251, 248))
    d = ImageDraw.Draw(img)
    goods = r.sample(GOODS, r.randint(2, 3))
    prices = [r.randint(1, 9) for _ in goods]
    lines = [("".join(r.choice(CAPITALS) for _ in range(4)) + " SHOP", ""), *zip(goods, map(str, prices)), ("TOTAL", str(sum(prices)))]
    step, path = h / (len(lines) + .6), some_font(r)
    for i, (left, right) in enumerate(lines):
        y = step * (i + .8)
        f = fitting(d, "TOTAL 99 ", w * .9, step * .8, path)
        d.text((w * .06, y), left, font=f, fill=(20, 20, 20), anchor="lm")
        d.text((w * .94, y), right, font=f, fill=(20, 20, 20), anchor="rm")
    d.line([w * .06, step * (len(lines) - .7), w * .94, step * (len(lines) - .7)], fill=(60, 60, 60))
    return img, Scene("receipt", "white", text=str(sum(prices)), text_color="black", values=dict(zip(goods, prices)))
