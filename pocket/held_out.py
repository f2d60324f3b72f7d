"""Writes the questions that Pocket is measured by: `python3 held_out.py ../test/pocket/held-out.json`.

Training seeds from the clock; this seed is fixed. The pictures are as people send them, of 16 to 4000 pixels, not as the
model sees them, so that the server's own preprocessing is measured too. A line is a picture (base64) or a case:
its skill, the chat (numbers stand for pictures), and the right answer.
"""
import base64
import io
import json
import random
import sys

import chats
import questions as q
from draw import picture
from phrases import ORDINALS
from world import SHAPES, World

SEED = 20_261
CLEAN = World(rough=0, nested=0, sized=0)
ONE = World(shapes=(1,), nested=0, sized=0, rough=0)
ROUGH = World(shapes=(1,), nested=0, sized=0, rough=1)
FEW = World(shapes=(0, 4, 4, 2), nested=0, sized=0, rough=.15, alike=.15)
ANY = World(shapes=(1,) * 9, nested=0, sized=0, rough=.15, alike=.3)


class Set:
    def __init__(self):
        self.r, self.pictures, self.cases = random.Random(SEED), [], []

    def draw(self, world, kind="shapes", least=72, most=300, jpeg=None):
        """(number of a new picture, its scene)"""
        r = self.r
        w = int(least * (most / least) ** r.random())
        h = max(16, int(w * r.choice([1, 1, .75, .8, 1.25, 1.33])))
        img, scene = picture(r, w, h, world, kind)
        data = io.BytesIO()
        img.save(data, "PNG", optimize=True)
        # Noise is for jpeg: as PNG it would be most of the file.
        if jpeg or jpeg is None and (r.random() < .15 or data.tell() > 6000):
            data = io.BytesIO()
            img.save(data, "JPEG", quality=80)
        self.pictures.append(base64.b64encode(data.getvalue()).decode())
        return len(self.pictures) - 1, scene

    def case(self, skill, messages, answer):
        self.cases.append({"skill": skill, "messages": [{"role": role, "content": parts} for role, parts in messages], "answer": answer})

    def about(self, skill, number, asked):
        """A first question about one picture, if there is one."""
        if asked:
            self.case(skill, [("user", [number, asked.question])], asked.full)


def right_skill(r, make, scene, skill):
    """A question of one skill, where a maker has several."""
    for _ in range(200):
        asked = make(r, scene)
        if asked and asked.skill == skill:
            return asked


def one_shape(s):
    """The first eight shapes apart from the others: they are what the smallest training learns."""
    for i in range(260):
        while True:
            number, scene = s.draw(ONE, most=180)
            if (scene.things[0].shape in SHAPES[:8]) == (i < 200):
                break
            s.pictures.pop()
        which = "one shape" if i < 200 else "one of the newer shapes"
        s.about(f"{which}: colour", number, right_skill(s.r, q.color, scene, "colour"))
        s.about(f"{which}: shape", number, q.shape(s.r, scene))
        s.about(f"{which}: caption", number, q.describe(s.r, scene))
        if i < 200:
            s.about("one shape: background", number, q.background(s.r, scene))
    for _ in range(50):
        number, scene = s.draw(ROUGH, most=140)
        s.about("noise, blur, jpeg, turns: colour", number, right_skill(s.r, q.color, scene, "colour"))
        s.about("noise, blur, jpeg, turns: shape", number, q.shape(s.r, scene))
    for i in range(30):
        number, scene = odd_size(s, i)
        s.about("odd sizes: colour", number, right_skill(s.r, q.color, scene, "colour"))


def odd_size(s, i):
    world = World(shapes=(1,), nested=0, sized=0, rough=0, middle=1, big=1)
    return s.draw(world, least=16, most=40, jpeg=False) if i % 2 else s.draw(world, least=1000, most=2000, jpeg=False)


def several_shapes(s):
    for _ in range(100):
        number, scene = s.draw(FEW)
        s.about("colours", number, right_skill(s.r, q.color, scene, "colour"))
        s.about("shapes", number, q.shape(s.r, scene))
        s.about("places", number, q.place(s.r, scene))
        s.about("yes/no", number, q.yes_no(s.r, scene))
        s.about("relations", number, q.relation(s.r, scene))
        s.about("captions", number, q.describe(s.r, scene))
    for _ in range(80):
        number, scene = s.draw(ANY, most=240)
        s.about("counts 1-9", number, right_skill(s.r, q.count, scene, "count"))
        s.about("counts of a kind", number, right_skill(s.r, q.count, scene, "count of a kind"))
    for world, skill, make in ((World(shapes=(0, 1, 1, 1), sized=1, nested=0, rough=.1), "sizes", q.largest), (World(nested=1, rough=.1), "inside", q.relation)):
        for _ in range(40):
            number, scene = s.draw(world)
            s.about(skill, number, make(s.r, scene))


def text_and_charts(s):
    while sum(c["skill"] == "printed words" for c in s.cases) < 80:
        number, scene = s.draw(CLEAN, "text", most=160)
        if len(scene.text) <= 8 and min(y1 - y0 for _, (_, y0, _, y1) in scene.letters) >= 14:
            s.about("printed words", number, q.read(s.r, scene))
        else:
            s.pictures.pop()
    for kind in ("bars", "pie"):
        for _ in range(30):
            number, scene = s.draw(CLEAN, kind)
            s.about("charts: highest and largest", number, q.extreme_part(s.r, scene))
            s.about("charts: how many", number, q.how_many_parts(s.r, scene))
            s.about("charts: value", number, q.part_value(s.r, scene))


def chats_and_refusals(s, singles):
    r = s.r
    for _ in range(80):
        n = r.choice([2, 3, 4])
        shown = r.sample(singles, n)
        i = r.randrange(n)
        question, answer = r.choice([
            (f"What is in the {ORDINALS[i]} image?", f"The {ORDINALS[i]} image shows {q.short(shown[i][1])}."),
            (f"What color is the background of the {ORDINALS[i]} image?", f"The background of the {ORDINALS[i]} image is {shown[i][1].background}."),
        ])
        numbers = [number for number, _ in shown]
        s.case("picture order", [("user", [*numbers, question])], answer)
        first, second = q.describe(r, shown[0][1]), q.background(r, shown[0][1])
        s.case("several turns", [("user", [numbers[0], first.question]), ("assistant", [first.full]), ("user", [second.question])], second.full)
    for texts, styled, _ in chats.SYSTEMS[1:]:
        for _ in range(30):
            number, scene = r.choice(singles)
            asked = r.choice([q.background, q.shape, lambda r, s: right_skill(r, q.color, s, "colour")])(r, scene)
            s.case("system prompt", [("system", [r.choice(texts)]), ("user", [number, asked.question])], styled(asked))
    for _ in range(50):
        number, scene = s.draw(CLEAN, "photo", least=96, most=160, jpeg=True)
        s.about("refusals: photographs", number, q.ask(r, scene))
        number, scene = r.choice(singles)
        s.about("refusals: not in the picture", number, right_skill(r, q.color, scene, "false premise"))
    for questions, answer in chats.WITHOUT:
        for question in r.sample(questions, min(len(questions), 5)):
            s.case("no picture", [("user", [question])], answer)


def main():
    s = Set()
    one_shape(s)
    singles = []
    for _ in range(60):
        singles.append(s.draw(ONE, most=140))
    several_shapes(s)
    text_and_charts(s)
    chats_and_refusals(s, singles)
    lines = [json.dumps({"picture": p}) for p in s.pictures] + [json.dumps(c) for c in s.cases]
    with open(sys.argv[1], "w") as f:
        f.write("[\n" + ",\n".join(lines) + "\n]\n")


if __name__ == "__main__":
    main()
