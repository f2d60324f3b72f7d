"""Draws scenes (shapes, colours, places, short text) and writes questions and answers about one or more of them.

A `World` says how rich the pictures are; the curriculum in train.py widens it stage by stage. Everything is drawn
from the random generator that is passed in, so a seed gives the same pictures and questions again.
"""
import math
from dataclasses import dataclass

from PIL import Image, ImageDraw, ImageFont

COLORS = {
    "red": (220, 30, 30), "green": (30, 160, 50), "blue": (40, 70, 220), "yellow": (245, 215, 30),
    "orange": (245, 130, 20), "purple": (130, 40, 170), "pink": (250, 130, 190), "brown": (120, 70, 30),
    "black": (15, 15, 15), "white": (250, 250, 250), "gray": (128, 128, 128), "cyan": (40, 200, 215),
}
BACKGROUNDS = ["white", "black", "gray", "yellow", "blue", "green"]
SHAPES = ["circle", "square", "triangle", "star", "cross", "ring", "heart", "diamond"]
PLACES = ["top left", "top", "top right", "left", "center", "right", "bottom left", "bottom", "bottom right"]
ALPHABET = "ABCDEFGHJKLMNPRSTUVWXYZ0123456789"
DEJAVU = "/usr/share/fonts/truetype/dejavu/"
FONTS = [DEJAVU + f for f in ("DejaVuSans.ttf", "DejaVuSans-Bold.ttf", "DejaVuSansMono.ttf", "DejaVuSerif.ttf", "DejaVuSerif-Bold.ttf")]


@dataclass(frozen=True)
class World:
    max_shapes: int = 4
    text: float = .22            # share of pictures that show text
    big: float = .6              # share of single shapes in the middle that fill it
    middle: float = .5           # share of single shapes that stand in the middle
    backgrounds: tuple = (6, 2, 2, 1, 1, 1)
    pictures: tuple = (.5, 14, 3, 1.2)   # weights of 0, 1, 2 and 3 pictures a chat
    turns: tuple = (5, 3, 2, 1.5)        # weights of 1, 2, 3 and 4 questions about one picture


_fonts = {}


def font(path, size):
    if (path, size) not in _fonts:
        _fonts[path, size] = ImageFont.truetype(path, size)
    return _fonts[path, size]


def jitter(rgb, r, k=14):
    return tuple(max(0, min(255, c + r.randint(-k, k))) for c in rgb)


def draw_shape(d, shape, cx, cy, s, fill, bg):
    if shape == "circle":
        d.ellipse([cx - s, cy - s, cx + s, cy + s], fill=fill)
    elif shape == "ring":
        d.ellipse([cx - s, cy - s, cx + s, cy + s], fill=fill)
        t = s * .55
        d.ellipse([cx - t, cy - t, cx + t, cy + t], fill=bg)
    elif shape == "square":
        s *= .88
        d.rectangle([cx - s, cy - s, cx + s, cy + s], fill=fill)
    elif shape == "triangle":
        d.polygon([(cx, cy - s), (cx + s, cy + s * .8), (cx - s, cy + s * .8)], fill=fill)
    elif shape == "diamond":
        d.polygon([(cx, cy - s * 1.1), (cx + s * .75, cy), (cx, cy + s * 1.1), (cx - s * .75, cy)], fill=fill)
    elif shape == "star":
        pts = []
        for i in range(10):
            rad = s * 1.1 if i % 2 == 0 else s * .45
            a = -math.pi / 2 + i * math.pi / 5
            pts.append((cx + rad * math.cos(a), cy + rad * math.sin(a)))
        d.polygon(pts, fill=fill)
    elif shape == "cross":
        w = s * .35
        d.rectangle([cx - s, cy - w, cx + s, cy + w], fill=fill)
        d.rectangle([cx - w, cy - s, cx + w, cy + s], fill=fill)
    elif shape == "heart":
        d.ellipse([cx - s, cy - s * .85, cx + s * .08, cy + s * .23], fill=fill)
        d.ellipse([cx - s * .08, cy - s * .85, cx + s, cy + s * .23], fill=fill)
        d.polygon([(cx - s * .93, cy - s * .05), (cx + s * .93, cy - s * .05), (cx, cy + s)], fill=fill)


def make_scene(r, w, h, world, scale=None, kind=None):
    """A picture of w x h pixels and what is in it. It is drawn `scale` times larger and brought down as the server
    does it (`fit`), now and then with a shape that leaves black bars, as a person's large picture would."""
    W, H = w, h
    if r.random() < .4:
        w, h = r.choice([(w - r.randint(1, 14), h), (w, h - r.randint(1, 14))])
    kind = kind or ("text" if r.random() < world.text else "shapes")
    k = scale or r.choice([2, 2, 2, 3, 4])
    bgname = r.choices(BACKGROUNDS, world.backgrounds)[0]
    bg = jitter(COLORS[bgname], r, 6)
    img = Image.new("RGB", (w * k, h * k), bg)
    d = ImageDraw.Draw(img)
    scene = {"kind": kind, "bg": bgname, "objects": [], "text": None, "w": w, "h": h}
    usable = [c for c in COLORS if c != bgname and not (bgname == "gray" and c == "cyan")]
    if kind == "text":
        n = r.choices([1, 2, 3, 4, 5], [3, 4, 4, 3, 1])[0]
        text = "".join(r.choice(ALPHABET) for _ in range(n))
        col = r.choice(usable)
        f = r.choice(FONTS)
        size = int(h * k * r.uniform(.32, .62))
        while True:
            fo = font(f, size)
            x0, y0, x1, y1 = d.textbbox((0, 0), text, font=fo)
            if x1 - x0 < w * k * .92 and y1 - y0 < h * k * .85 or size < 14:
                break
            size = int(size * .88)
        x = r.randint(2, max(2, w * k - (x1 - x0) - 2)) - x0
        y = r.randint(2, max(2, h * k - (y1 - y0) - 2)) - y0
        d.text((x, y), text, font=fo, fill=jitter(COLORS[col], r))
        scene["text"], scene["textcolor"] = text, col
    else:
        n = r.randint(1, world.max_shapes) if world.max_shapes < 4 else r.choices([1, 2, 3, 4], [4, 4, 3, 2])[0]
        cells = sorted(r.sample(range(9), n))
        if n == 1 and r.random() < world.middle:
            cells = [4]
        for c in cells:
            cw, ch = w * k / 3, h * k / 3
            big = n == 1 and c == 4 and r.random() < world.big
            s = min(cw, ch) * (r.uniform(.8, 1.25) if big else r.uniform(.34, .46))
            slack = min(cw, ch) * (.3 if big else .12)
            cx = (c % 3 + .5) * cw + r.uniform(-slack, slack)
            cy = (c // 3 + .5) * ch + r.uniform(-slack, slack)
            o = {"shape": r.choice(SHAPES), "color": r.choice(usable), "cell": c}
            draw_shape(d, o["shape"], cx, cy, s, jitter(COLORS[o["color"]], r), bg)
            left, top = (W - w) // 2, (H - h) // 2
            o["box"] = ((cx - s) / k + left, (cy - s) / k + top, (cx + s) / k + left, (cy + s) / k + top)
            scene["objects"].append(o)
    return fit(img, W, H), scene


def fit(img, w, h):
    """The server's preprocessing for Pixtral-type models: bicubic, aspect kept, black bars around the middle."""
    scale = min(w / img.width, h / img.height)
    size = min(math.ceil(img.width * scale), w), min(math.ceil(img.height * scale), h)
    img = img.resize(size, Image.BICUBIC)
    if size == (w, h):
        return img
    out = Image.new("RGB", (w, h))
    out.paste(img, ((w - size[0]) // 2, (h - size[1]) // 2))
    return out


def art(word):
    return ("an " if word[0] in "aeiou" else "a ") + word


def noun(o):
    return f"{o['color']} {o['shape']}"


def listing(items):
    return items[0] if len(items) == 1 else ", ".join(items[:-1]) + " and " + items[-1]


def cap(s):
    return s[0].upper() + s[1:]


def plural(n, w):
    return w if n == 1 else (w + "es" if w.endswith("s") else w + "s")


def short(sc):
    return f"the text {sc['text']}" if sc["kind"] == "text" else listing([art(noun(o)) for o in sc["objects"]])


def caption(sc):
    if sc["kind"] == "text":
        return f"the text {sc['text']} in {sc['textcolor']} on a {sc['bg']} background"
    return short(sc) + f" on a {sc['bg']} background"


ASK_CAPTION = ["Describe the image.", "What is in this image?", "Can you describe this image?", "Describe this image.", "What do you see?",
               "What is in the image?", "tell me about the image", "Please describe the scene in the image.", "What's in this image?",
               "Describe the scene.", "Caption this image."]
ASK_TEXT = ["What text is in the image?", "Read the text.", "What text is present in the image?", "What does it say?", "What does the text say?", "OCR this image."]
ASK_BACKGROUND = ["What color is the background?", "What is the background color?"]


def ask(r, sc):
    """One (skill, question, full answer, brief answer) about one scene."""
    background = ("background", r.choice(ASK_BACKGROUND), f"The background is {sc['bg']}.", cap(sc["bg"]))
    describe = ("caption", r.choice(ASK_CAPTION), cap(caption(sc)) + ".", cap(short(sc)) + ".")
    t = r.random()
    if sc["kind"] == "text":
        if t < .7:
            return "text", r.choice(ASK_TEXT), f"The text says {sc['text']}.", sc["text"]
        if t < .8:
            return "text colour", r.choice(["What color is the text?", "What is the color of the text?"]), f"The text is {sc['textcolor']}.", cap(sc["textcolor"])
        return background if t < .88 else describe
    obs = sc["objects"]
    if t < .30:
        return describe
    if t < .44:
        only = [o for o in obs if sum(p["shape"] == o["shape"] for p in obs) == 1]
        if only:
            o = r.choice(only)
            return "colour", r.choice([f"What color is the {o['shape']}?", f"What is the color of the {o['shape']}?"]), f"The {o['shape']} is {o['color']}.", cap(o["color"])
    if t < .56:
        only = [o for o in obs if sum(p["color"] == o["color"] for p in obs) == 1]
        if only:
            o = r.choice(only)
            q = [f"What shape is {o['color']}?", f"Which shape is {o['color']}?", f"What is the {o['color']} shape?"]
            if len(obs) == 1:
                q += ["What shape is this?", "What shape is it?", "Which shape is in the image?"]
            return "shape", r.choice(q), f"The {o['color']} shape is {art(o['shape'])}.", cap(o["shape"])
    if t < .68:
        if r.random() < .3:
            s = r.choice(obs)["shape"] if r.random() < .7 else r.choice(SHAPES)
            n = sum(o["shape"] == s for o in obs)
            return "count", f"How many {plural(2, s)} are there?", f"There {'is' if n == 1 else 'are'} {n} {plural(n, s)}.", str(n)
        n = len(obs)
        q = r.choice(["How many shapes are there?", "How many shapes are in the image?", "How many objects are there?", "Count the shapes."])
        return "count", q, f"There {'is' if n == 1 else 'are'} {n} {plural(n, 'shape')}.", str(n)
    if t < .80:
        only = [o for o in obs if sum(noun(p) == noun(o) for p in obs) == 1]
        if only:
            o = r.choice(only)
            return "place", f"Where is the {noun(o)}?", f"The {noun(o)} is at the {PLACES[o['cell']]}.", cap(PLACES[o["cell"]])
    if t < .91:
        o = dict(r.choice(obs))
        if r.random() < .5:
            if r.random() < .5:
                o["color"] = r.choice(list(COLORS))
            else:
                o["shape"] = r.choice(SHAPES)
        yes = any(noun(p) == noun(o) for p in obs)
        return "yes/no", f"Is there {art(noun(o))}?", (f"Yes, there is {art(noun(o))}." if yes else f"No, there is no {noun(o)}."), "Yes" if yes else "No"
    return background


ORDINALS = ["first", "second", "third", "fourth"]


def ask_many(r, scs):
    """One (skill, question, full answer, brief answer) about several scenes."""
    t, n = r.random(), len(scs)
    if t < .35:
        if n == 2:
            q = r.choice(["Compare the two images.", "What is the difference between these images?", "Compare these images.", "Describe the two images."])
            return "compare", q, f"The first image shows {short(scs[0])} and the second image shows {short(scs[1])}.", f"First {short(scs[0])}, second {short(scs[1])}."
        q = r.choice(["Describe each image.", "Describe the images.", "Compare these images."])
        return "compare", q, " ".join(f"The {ORDINALS[i]} image shows {short(s)}." for i, s in enumerate(scs)), " ".join(f"{cap(ORDINALS[i])} {short(s)}." for i, s in enumerate(scs))
    i = r.randrange(n)
    if t < .70:
        q = r.choice([f"What is in the {ORDINALS[i]} image?", f"Describe the {ORDINALS[i]} image.", f"What is in image {i + 1}?"])
        return "which picture", q, f"The {ORDINALS[i]} image shows {short(scs[i])}.", cap(short(scs[i])) + "."
    if t < .85:
        return "how many pictures", r.choice(["How many images are there?", "How many images do you see?"]), f"There are {n} images.", str(n)
    return "which picture", f"What color is the background of the {ORDINALS[i]} image?", f"The background of the {ORDINALS[i]} image is {scs[i]['bg']}.", cap(scs[i]["bg"])


CHAT = [
    (["Hi", "Hello", "Hello!", "hi there", "Hey"], "Hello! Send me an image and ask about it."),
    (["Who are you?", "What are you?", "What can you do?"], "I am a tiny vision model. I can name shapes, colors, places and short text."),
    (["What is in this image?", "Describe the image.", "What color is the circle?", "What shape is this?"], "I do not see an image."),
    (["Thanks", "Thank you", "Thanks!"], "You are welcome."),
]
SYSTEM = [("You are a helpful assistant.", False), ("Hello", False), ("Answer in one word.", True), ("Answer briefly.", True), ("Be concise.", True)]


def vary(r, q):
    t = r.random()
    if t < .12:
        return q.lower()
    if t < .2:
        return q.rstrip("?.")
    return "Please answer: " + q if t < .25 else q


def chat(r, scs, world):
    """A chat about the scenes: [(role, [parts])]. A part is a text, or None where the next picture stands."""
    system = r.choice(SYSTEM) if r.random() < .3 else None
    brief = system is not None and system[1]
    msgs = [("system", [system[0]])] if system else []
    if not scs:
        for qs, a in r.sample(CHAT, r.choice([1, 1, 2])):
            msgs += [("user", [vary(r, r.choice(qs))]), ("assistant", [a])]
        return msgs
    pictures = [None] * len(scs)
    for turn in range(1 + r.choices(range(len(world.turns)), world.turns)[0]):
        _, q, full, short_answer = ask(r, scs[0]) if len(scs) == 1 else ask_many(r, scs)
        q = vary(r, q)
        parts = [q] if turn else pictures + [q] if r.random() < .7 else [q] + pictures
        msgs += [("user", parts), ("assistant", [short_answer if brief else full])]
    return msgs
