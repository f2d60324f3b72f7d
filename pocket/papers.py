"""Signs and receipts: printed words with a frame or lines around them."""
from PIL import Image, ImageDraw

from prints import CAPITALS, WORDS, font, font_files
from world import COLORS, Scene, Thing, jitter, usable_on

SIGN_WORDS = [w.upper() for w in WORDS if len(w) <= 6]
GOODS = "BREAD MILK TEA COFFEE WATER APPLE LEMON SUGAR SALT RICE".split()


def fitting(d, text, w, h, path):
    """The largest font, of 9 pixels or more, in which a text is no wider than w and no higher than h."""
    size = max(9, int(h))
    while size > 9 and d.textlength(text, font=font(path, size)) > w:
        size -= 1
    return font(path, size)


def sign_picture(r, w, h, world, bgname, bg):
    """A word in white or black on a coloured plate."""
    img = Image.new("RGB", (w, h), bg)
    d = ImageDraw.Draw(img)
    color = r.choice([c for c in usable_on(bgname) if c not in ("white", "black", "gray")])
    ink = "black" if color in ("yellow", "orange", "pink", "cyan") else "white"
    a, b = w * r.uniform(.4, .47), h * r.uniform(.2, .4)
    plate = (w / 2 - a, h / 2 - b, w / 2 + a, h / 2 + b)
    d.rounded_rectangle(plate, radius=min(a, b) * r.choice([0, .2, .5]), fill=jitter(COLORS[color], r))
    text = r.choice(SIGN_WORDS)
    d.text((w / 2, h / 2), text, font=fitting(d, text, 1.8 * a, 1.1 * b, r.choice(font_files())), fill=jitter(COLORS[ink], r), anchor="mm")
    return img, Scene("sign", bgname, things=[Thing("plate", color, 4, plate)], text=text, text_color=ink)


def receipt_picture(r, w, h, world, bgname, bg):
    """A shop's name, two or three lines of goods with whole prices, and their total."""
    img = Image.new("RGB", (w, h), (252, 251, 248))
    d = ImageDraw.Draw(img)
    goods = r.sample(GOODS, r.randint(2, 3))
    prices = [r.randint(1, 9) for _ in goods]
    lines = [("".join(r.choice(CAPITALS) for _ in range(4)) + " SHOP", ""), *zip(goods, map(str, prices)), ("TOTAL", str(sum(prices)))]
    step, path = h / (len(lines) + .6), r.choice(font_files())
    for i, (left, right) in enumerate(lines):
        y = step * (i + .8)
        f = fitting(d, "TOTAL 99 ", w * .9, step * .8, path)
        d.text((w * .06, y), left, font=f, fill=(20, 20, 20), anchor="lm")
        d.text((w * .94, y), right, font=f, fill=(20, 20, 20), anchor="rm")
    d.line([w * .06, step * (len(lines) - .7), w * .94, step * (len(lines) - .7)], fill=(60, 60, 60))
    return img, Scene("receipt", "white", text=str(sum(prices)), text_color="black", values=dict(zip(goods, prices)))
