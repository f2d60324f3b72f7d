"""Writes pictures of one shape that training never sees, for the server's own test: `python3 held_out.py ../test/pocket/held-out.json`.

Training seeds from the clock; this seed is fixed, and the pictures are drawn like those of the stage `one`.
"""
import base64
import io
import json
import random
import sys

import scenes
import train

COUNT, SEED = 200, 20_261


def main():
    r = random.Random(SEED)
    out = []
    while len(out) < COUNT:
        picture, scene = scenes.make_scene(r, *r.choice(train.SIZES), train.STAGES["one"])
        if scene["kind"] == "text" or len(scene["objects"]) != 1:
            continue
        png = io.BytesIO()
        picture.save(png, "PNG", optimize=True)
        shape = scene["objects"][0]
        out.append({"shape": shape["shape"], "color": shape["color"], "background": scene["bg"], "png": base64.b64encode(png.getvalue()).decode()})
    with open(sys.argv[1], "w") as f:
        f.write("[\n" + ",\n".join(json.dumps(x) for x in out) + "\n]\n")


if __name__ == "__main__":
    main()
