"""Questions about one picture, each with its full answer and its answer in a word or two."""
from dataclasses import dataclass, replace

import asides
from phrases import (ASK_BACKGROUND, ASK_CAPTION, ASK_COUNT, ASK_NUMBER, ASK_PRICE, ASK_SIGN, ASK_TEXT, DECLINE, UNREAD, art, cap, listing, noun, one_of, plural,
                     there_are)
from prints import DISTINCT
from world import COLORS, NOTHING_KNOWN, PLACES, SHAPES, Thing


@dataclass
class Asked:
    skill: str
    question: str
    full: str
    brief: str
    spelled: str = ""            # printed text in the answer, which is learned letter by letter
    thing: Thing | None = None   # what "it" is in the next question
    facts: dict | None = None    # what a schema may ask for: {kind of field: value}


def short(scene):
    """What a picture shows, without its background."""
    if scene.kind in NOTHING_KNOWN:
        return "something that I cannot tell"
    if scene.kind == "text":
        return f"the text {scene.text}" if scene.text else "a text that I cannot read"
    if scene.kind == "sign":
        return f"a {scene.things[0].color} sign that " + (f"says {scene.text}" if scene.text else "I cannot read")
    if scene.kind == "receipt":
        return f"a receipt of {len(scene.values)} goods"
    if scene.kind == "bars":
        return f"a chart of {len(scene.values)} bars"
    if scene.kind == "pie":
        return f"a pie chart of {len(scene.values)} parts"
    things = scene.things
    if scene.inside:
        return f"{art(noun(things[1]))} inside {art(noun(things[0]))}"
    if len(things) > 4:
        return f"{len(things)} shapes"
    return listing([art(noun(t)) for t in things])


def unread(asked, scene):
    """The same question with what is true to say of a text that one cannot read, or None where nothing is read."""
    if not asked.spelled:
        return None
    full, brief = UNREAD, UNREAD
    if asked.skill == "caption" and scene:
        blurred = replace(scene, text="")
        full, brief = cap(caption(blurred)) + ".", cap(short(blurred)) + "."
    return replace(asked, skill=asked.skill if asked.skill == "caption" else "cannot tell", full=full, brief=brief, spelled="", facts=None)


def caption(scene):
    if not scene.background:
        return short(scene)
    if scene.kind == "text":
        return f"{short(scene)} in {scene.text_color} on a {scene.background} background"
    return f"{short(scene)} on a {scene.background} background"


def once(things, key):
    """Those that nothing else is like, by `key`."""
    return [t for t in things if sum(key(u) == key(t) for u in things) == 1]


ASK_CHART = ["What does {this|the} {chart|graph|diagram} {show|tell me|say}?", "{Describe|Explain|Summarize} {this|the} {chart|graph}."]


def describe(r, scene):
    spelled, only = "" if scene.kind == "receipt" else scene.text, scene.things[0] if len(scene.things) == 1 and scene.kind == "shapes" else None
    facts = {"description": cap(caption(scene)) + "."}
    if only:
        facts |= {"shape": only.shape, "color": only.color}
    asks = ASK_CHART if scene.kind in ("bars", "pie") and r.random() < .3 else ASK_CAPTION
    return Asked("caption", one_of(r, asks), cap(caption(scene)) + ".", cap(short(scene)) + ".", spelled, only, facts)


def background(r, scene):
    if scene.background:
        return Asked("background", one_of(r, ASK_BACKGROUND), f"The background is {scene.background}.", cap(scene.background), facts={"background": scene.background})


ASK_COLOR = ["{What color is|What colour is|Which color is|What color has|what's the color of|whats the color of} the $a?", "What is the {color|colour} of the $a?", "{Which|What} {color|colour} {is|does} the $a{| have}?",
             "{Tell me|Name|Report|Give me|Say} the {color|colour} of the $a.", "The $a is {what|which} color?", "{Color|Colour} of the $a?", "The {color|colour} of the $a {please|is}?", "How is the $a colored?",
    "{I'd like|I want} to know {what color|which colour} the $a {is|has}.", "The $a: {what|which} {color|colour}?", "{Can|Could} you {tell me|say|name} the {color|colour} of the $a?",
    "Do you know {what|which} color the $a {is|has}?", "{And|So|Now} the $a, {what|which} {color|colour} {is it|does it have}?", "What {color|colour} did {they|you|I} {make|give|use for} the $a?",
    "{In|With} {what|which} {color|colour} {is|was} the $a {painted|drawn|filled|printed}?", "{What|Which} {color|colour} {have they painted|did I paint|did somebody draw|would you paint} the $a?", "The $a has been {painted|drawn|filled} in {what|which} {color|colour}?"]
ASK_ITS_COLOR = ["{What|Which} {color|colour} is {it|this|that}?", "What {color|colour} is {it|the shape|this shape|the object|this thing}?", "{Color|Colour}?", "{Report|Tell me|Name} the {color|colour}.", "What is {its|the} {color|colour}?", "{What color|what colour|which color} does {it|the shape} have?",
                 "{Whats|what is|What's} the {color|colour}?", "And {its|the} {color|colour}?", "What {color|colour} is the {shape|thing|object|figure}?", "In {what|which} {color|colour} is {it|this}?", "{In|With} {what|which} {color|colour} {is|was} it {painted|drawn|filled}?"]
ASK_ITS_SHAPE = ["{What|Which} shape is {it|this|that|shown|in the image|here}?", "What is {its|the} shape?", "What {kind|sort|type} of shape is {it|this}?", "{Name|Report|Tell me|Identify} the shape.", "{Shape|What shape|which shape}?", "What shape do you see?", "What {form|geometric shape} {is it|is this}?", "And the shape?"]
ASK_SHAPE = ["{What|Which} shape is $a?", "What is the $a shape?", "What is the $a {thing|object|one}?", "What shape {has the color|is in|is colored} $a?", "Which {shape|object|thing} is $a?", "What is $a?", "Name the $a shape.", "What $a shape {is there|do you see}?", "What shape is the $a {one|thing|object}?",
    "{Can|Could} you {tell me|say|name} {which|what} shape is $a?", "The $a {one|object|thing} is {what|which} shape?", "{I want to know|I'd like to know|Do you know} {what|which} shape {is $a|the $a one is|the $a thing has}.",
    "What do you call the $a {thing|figure|one}?", "What's the $a {thing|one} called?", "$a is {what|which} shape?"]
ASK_IS_COLOR = ["Is {it|this} $a?", "Is the {shape|object|thing} $a?", "Is {its|the} {color|colour} $a?", "{It is|It's} $a, right?", "Would you say it is $a?"]
ASK_IS_SHAPE = ["Is {it|this|that} $a?", "Is the shape $a?", "Is {this|it} {really|actually} $a?", "{It is|It's} $a, right?", "Do you see $a here?", "Does it look like $a?"]


def color(r, scene):
    things = once(scene.things, lambda t: t.shape)
    if r.random() < .25:
        missing = r.choice([s for s in SHAPES if all(t.shape != s for t in scene.things)])
        return Asked("false premise", one_of(r, ASK_COLOR, a=missing), f"There is no {missing}.", f"No {missing}.")
    if things:
        t = r.choice(things)
        q = one_of(r, ASK_ITS_COLOR) if len(scene.things) == 1 and r.random() < .4 else one_of(r, ASK_COLOR, a=t.shape)
        return color_of(t, q)


def color_of(t, q):
    return Asked("colour", q, f"The {t.shape} is {t.color}.", cap(t.color), thing=t, facts={"color": t.color, "shape": t.shape})


def shape(r, scene):
    if r.random() < .12:
        missing = r.choice([c for c in COLORS if all(t.color != c for t in scene.things)])
        return Asked("false premise", one_of(r, ASK_SHAPE[:3], a=missing), f"There is no {missing} shape.", f"No {missing} shape.")
    things = once(scene.things, lambda t: t.color)
    if things:
        t = r.choice(things)
        q = one_of(r, ASK_ITS_SHAPE) if len(scene.things) == 1 and r.random() < .4 else one_of(r, ASK_SHAPE, a=t.color)
        return shape_of(t, q)


def shape_of(t, q):
    return Asked("shape", q, f"The {t.color} shape is {art(t.shape)}.", cap(t.shape), thing=t, facts={"shape": t.shape, "color": t.color})


def is_it(r, t, shown):
    """Whether a thing, "it", has a colour or is of a shape."""
    if r.random() < .5:
        c = t.color if r.random() < .5 else r.choice(list(COLORS))
        q = one_of(r, ASK_IS_COLOR, a=c) if shown == 1 or r.random() < .5 else r.choice((f"Is the {t.shape} {c}?", f"Is it {c}?"))
        return Asked("is it", q, f"{'Yes' if c == t.color else 'No'}, the {t.shape} is {t.color}.", "Yes" if c == t.color else "No", thing=t, facts={"yes": c == t.color})
    s = t.shape if r.random() < .5 else r.choice(SHAPES)
    return Asked("is it", one_of(r, ASK_IS_SHAPE, a=art(s)), f"{'Yes' if s == t.shape else 'No'}, it is {art(t.shape)}.", "Yes" if s == t.shape else "No", thing=t, facts={"yes": s == t.shape})


def is_only(r, scene):
    if len(scene.things) == 1:
        return is_it(r, scene.things[0], 1)
    things = once(scene.things, lambda t: t.shape)
    if things:
        t = r.choice(things)
        c = t.color if r.random() < .45 else r.choice([u.color for u in scene.things if u.color != t.color and r.random() < .9] or list(COLORS))
        return Asked("is it", r.choice((f"Is the {t.shape} {c}?", f"Does the {t.shape} have the color {c}?", f"Is the color of the {t.shape} {c}?")), f"{'Yes' if c == t.color else 'No'}, the {t.shape} is {t.color}.",
                     "Yes" if c == t.color else "No", thing=t, facts={"yes": c == t.color})


COUNTED = ["How many $a {are there|do you see|are in the image|can you see|are in the picture|are shown|are here}?", "Count the $a.", "{Number of|The number of|How many} $a?", "What is the number of $a?", "How many $a does the {image|picture} have?", "{Count|Tell me how many} $a{| there are}.", "How many $a {altogether|overall|exactly|now}?", "There are how many $a?",
           "{And|So|OK,} how many $a {are there|do you see}?", "{Give me|Say|Find|Report} the {count|number|amount} of $a.", "How many of {them|these|the shapes} are $a?", "How many times do you see $a?",
    "{Can|Could|Will} you {count|tell me the number of} $a?", "{I want|I need} {to know how many $a there are|the number of $a}.", "{Altogether|Overall|Together}, how many $a {are there|do you see}?", "$a: how many?",
    "How many $a {did I draw|have been drawn|would you say there are|can be seen}?", "{What's|What is} the {total|count|number} of $a?", "How many $a do {we|you} {have|find|get}?"]


def count(r, scene):
    t = r.random()
    if t < .35:
        n = len(scene.things)
        return Asked("count", one_of(r, ASK_COUNT), there_are(n, "shape"), str(n), thing=scene.things[0] if n == 1 else None, facts={"count": n})
    if t < .68:
        s = r.choice(scene.things).shape if r.random() < .85 else r.choice(SHAPES)
        n = sum(u.shape == s for u in scene.things)
        return Asked("count of a kind", one_of(r, COUNTED, a=plural(2, s)), there_are(n, s), str(n), facts={"count": n})
    if t < .9:
        c = r.choice(scene.things).color if r.random() < .85 else r.choice(list(COLORS))
        n = sum(u.color == c for u in scene.things)
        q = one_of(r, COUNTED, a=f"{c} {r.choice(('shapes', 'shapes', 'objects', 'things'))}") if r.random() < .8 else f"How many {r.choice(('shapes', 'objects'))} are {c}?"
        return Asked("count of a kind", q, there_are(n, f"{c} shape"), str(n), facts={"count": n})
    t = r.choice(scene.things)
    n = sum(noun(u) == noun(t) for u in scene.things)
    return Asked("count of a kind", one_of(r, COUNTED, a=f"{t.color} {plural(2, t.shape)}"), there_are(n, noun(t)), str(n), facts={"count": n})


WHERE = ["Where is the $a?", "{Where's|where is} the $a {in the image|located|}?", "In {what|which} {part|corner|place} of the image is the $a?", "What is the position of the $a?", "{Locate|Find} the $a.", "Where do you see the $a?", "{Position|Place} of the $a?",
    "{Tell me|Say|Can you say|Do you know|I'd like to know} where the $a is.", "{On|At} {which|what} {side|place} {is the $a|do you see the $a|can I find the $a}?", "The $a is {where|at which place|in which corner}?",
    "Where {can I find|would I find|did I put|do I look for|should I look for} the $a?", "$a: where?", "{I'm looking for|I don't see|Show me} the $a. Where is it?", "In {what|which} {area|region|section|quarter} is the $a?"]
AT = ["What is {at|in} the $a?", "{What|Which} shape is {at|in} the $a?", "What do you see {at|in} the $a?", "Is there something {at|in} the $a?", "What {is there|object is} {at|in} the $a?"]


def place(r, scene):
    if len(scene.things) == 1 and r.random() < .3:
        return place_of(scene.things[0], r.choice(("Where is it?", "Where is the shape?", "Where in the image is it?", f"Where is the {scene.things[0].shape}?")))
    if r.random() < .7:
        things = once(scene.things, noun)
        if things:
            t = r.choice(things)
            names = [noun(t)] + [t.shape] * (sum(u.shape == t.shape for u in scene.things) == 1) + [f"{t.color} shape"] * (sum(u.color == t.color for u in scene.things) == 1)
            return place_of(t, one_of(r, WHERE, a=r.choice(names)))
    cell = r.choice(scene.things).cell if r.random() < .7 else r.randrange(9)
    there = [t for t in scene.things if t.cell == cell]
    q = one_of(r, AT, a=PLACES[cell])
    if not there:
        return Asked("place", q, f"There is nothing at the {PLACES[cell]}.", "Nothing")
    return Asked("place", q, f"{cap(art(noun(there[0])))} is at the {PLACES[cell]}.", cap(noun(there[0])), thing=there[0], facts={"shape": there[0].shape, "color": there[0].color})


def place_of(t, q):
    return Asked("place", q, f"The {noun(t)} is at the {PLACES[t.cell]}.", cap(PLACES[t.cell]), thing=t, facts={"position": PLACES[t.cell]})


IS_THERE = ["Is there $a?", "Is there $a in {the|this} {image|picture}?", "Do you see $a?", "{Can you see|Can you find|Does the image have|Does the image show|Does the picture contain|Any chance there is} $a?", "{Is|is} $a {here|shown|visible|in it}?", "There is $a, right?", "Do you see $a here?",
            "{Tell me|Check|Say} {if|whether} there is $a.", "{Is it true|Am I right} that there is $a?", "I {see|think I see} $a. Right?", "Does it {have|show|contain} $a?", "$a, is there one?", "And $a?",
    "{Not sure|Let me know|I want to know|I'd like to know|Can you tell me} if there is $a.", "{Could|Might|May} {it|this|the image} {have|show|contain} $a?", "Is $a {one of them|part of it|somewhere in it|one of the shapes}?", "Can $a be {seen|found} {here|in it|in the image}?",
    "{Have we got|Have you got|Do we have|Did I draw} $a{| here}?", "There's $a, {isn't there|no}?", "Will I see $a {here|in it}?", "$a: {yes or no|is it there}?"]
ARE_THERE = ["Are there any $a?", "{Are there|Do you see} $a {in the image|here|}?", "Any $a?", "{Do you see|Can you see} any $a?"]


def yes_no(r, scene):
    t = r.choice(scene.things)
    names = {noun(u) for u in scene.things} | {u.shape for u in scene.things}
    what = noun(t) if r.random() < .75 else t.shape
    if r.random() < .48:
        # What is not there, though its colour and its shape are, is the hardest.
        near = [f"{u.color} {v.shape}" for u in scene.things for v in scene.things if f"{u.color} {v.shape}" not in names]
        while what in names:
            what = r.choice(near) if near and r.random() < .5 else r.choice((f"{t.color} {r.choice(SHAPES)}", f"{r.choice(list(COLORS))} {t.shape}", r.choice(SHAPES)))
    found = [u for u in scene.things if what in (noun(u), u.shape)]
    q = one_of(r, ARE_THERE, a=what + ("es" if what.endswith("s") else "s")) if r.random() < .15 else one_of(r, IS_THERE, a=art(what))
    return Asked("yes/no", q, f"Yes, there is {art(what)}." if found else f"No, there is no {what}.", "Yes" if found else "No", thing=found[0] if len(found) == 1 else None, facts={"yes": bool(found)})


def colors(r, scene):
    """All colours, of four things at most."""
    if len(scene.things) < 5 and not scene.inside:
        names = list(dict.fromkeys(t.color for t in scene.things))
        q = one_of(r, ["{What|Which} {colors|colours} {are there|do you see|are in the image|are used|are the shapes|do the shapes have}?", "{Name|List} the {colors|colours}{| of the shapes}.", "What are the {colors|colours} of the shapes?"])
        return Asked("colours", q, f"The {'color is' if len(names) == 1 else 'colors are'} {listing(names)}.", cap(listing(names)), facts={"colors": names})


def shapes(r, scene):
    """All shapes, of four at most."""
    if len(scene.things) < 5 and not scene.inside:
        q = one_of(r, ["{What|Which} {shapes|objects|things|figures} {are there|do you see|are in the image|can you see|are shown}?", "{Name|List} {the|all|all the} {shapes|objects}.", "What {shapes|objects} does the image {have|show|contain}?"])
        text = listing([art(noun(t)) for t in scene.things])
        return Asked("shapes", q, cap(text) + ".", cap(text) + ".", facts={"shapes": [t.shape for t in scene.things]})


def no_text(r, scene):
    return Asked("no text", one_of(r, ASK_TEXT) if r.random() < .6 else r.choice(("Is there text?", "Is there any text in the image?", "Does it have text?", "Any text?", "Are there words in it?")), "There is no text.", "No text")


SIDES = [("left of", "to the left of", "on the left of"), ("right of", "to the right of", "on the right of"), ("above", "over", "higher than"), ("below", "under", "beneath")]

ASK_RELATION = ["Is the $a $c the $b?", "Is the $a $d the $b?", "Does the $a stand $e the $b?", "Does the $a {lie|sit|appear} $e the $b?", "Is the $a {located|placed|positioned|shown|standing|somewhere} $c the $b?", "{Can you see|Do you see} the $a $c the $b?",
                "The $a is $c the $b, {right|correct|yes or no|is that so}?", "{Yes or no|Please check|Tell me|Quick question|Check this}: is the $a $c the $b?", "{Is it true|Is it right|Is it correct|Am I right} that the $a is $c the $b?", "I think the $a is $c the $b. {Is that right|Am I right|Correct}?",
                "{Check|Verify|Decide|Find out} {if|whether} the $a is $c the $b.", "Can the $a be found $c the $b?", "Seen from the $b, is the $a $c it?", "$a $c the $b?",
    "{Let me know|I want to know|I'd like to know|I wonder} {if|whether} the $a is $c the $b.", "The $a is $c the $b, {or is it|no|or not|don't you think|isn't that so|wouldn't you say|does it not seem}?", "{Do you agree|Can you confirm|Do you think|Do you find} that the $a is $c the $b?",
    "The $a is $c the $b, {is it|is it not|hm|yes|true|am I wrong|wouldn't you agree|as far as you can see|if I see it right|or am I mistaken}?", "The $a {stands|lies|sits} $e the $b, {doesn't it|does it|right|no}?", "{Would|Do} you {agree|believe|find|reckon} that the $a is $c the $b?",
    "{You would|I'd|One could} say that the $a is $c the $b, {wouldn't you|right|correct|no}?", "{Say|Answer|Tell me|Please tell} {if|whether} the $a is $c the $b{, yes or no|}.", "{Could|Can} it be that the $a is $c the $b?", "{Statement|Claim|My guess}: the $a is $c the $b. {Is it so|Correct|True|Do you agree}?",
    "Isn't the $a $c the $b?", "{Right or wrong|Yes or no|Fact check}: the $a is $c the $b.", "{And|So|Now} is the $a $c the $b?", "If I look at the $b, is the $a $c it?"]


def relation(r, scene):
    if scene.inside:
        inner, outer = scene.things[1], scene.things[0]
        if r.random() < .7:
            q = one_of(r, ["What is {inside|in|within} the $a?", "{What|Which} shape is {inside|in} the $a?", "What do you see {inside|in} the $a?", "What does the $a contain?", "{Tell me|Say|I'd like to know} what is {inside|in} the $a.", "What has the $a {inside|in its middle}?", "Is there something {inside|in} the $a? What?", "What is the $a {around|holding}?"], a=r.choice((outer.shape, noun(outer))))
            return Asked("inside", q, f"{cap(art(noun(inner)))} is inside the {outer.shape}.", cap(noun(inner)), thing=inner)
        a, b = r.sample((inner, outer), 2)
        return Asked("inside", f"Is the {noun(a)} inside the {noun(b)}?", f"{'Yes' if a is inner else 'No'}, the {noun(a)} is {'' if a is inner else 'not '}inside the {noun(b)}.", "Yes" if a is inner else "No")
    things = once(scene.things, noun)
    if len(things) > 1:
        a, b = r.sample(things, 2)
        sides = list(zip(SIDES, (a.cell % 3 < b.cell % 3, a.cell % 3 > b.cell % 3, a.cell // 3 < b.cell // 3, a.cell // 3 > b.cell // 3)))
        # Things above each other are neither left nor right of each other, though one may stand a little to a side.
        level = sides[:2] if a.cell % 3 == b.cell % 3 else sides[2:] if a.cell // 3 == b.cell // 3 else []
        (words, yes) = r.choice(level) if level and r.random() < .6 else r.choice([side for side in sides if side[1]]) if r.random() < .4 else r.choice(sides)
        x, y = (noun(t) if r.random() < .5 or sum(u.shape == t.shape for u in scene.things) > 1 else t.shape for t in (a, b))
        q = one_of(r, ASK_RELATION, a=x, b=y, c=r.choice(words), d=words[0], e=words[1] if words[0].endswith("of") else words[0])
        return Asked("relation", q,
                     f"{'Yes' if yes else 'No'}, the {noun(a)} is {'' if yes else 'not '}{words[0]} the {noun(b)}.", "Yes" if yes else "No", thing=a, facts={"yes": yes})


def beside(r, scene):
    """What is on one side of a thing, if exactly one is."""
    things = once(scene.things, noun)
    if len(things) < 2 or scene.inside:
        return None
    t, (words, axis, sign) = r.choice(things), r.choice([(SIDES[0], 0, -1), (SIDES[1], 0, 1), (SIDES[2], 1, -1), (SIDES[3], 1, 1)])
    there = [u for u in scene.things if ((u.cell % 3, u.cell // 3)[axis] - (t.cell % 3, t.cell // 3)[axis]) * sign > 0]
    if len(there) == 1:
        return Asked("beside", f"What is {r.choice(words[:2])} the {noun(t)}?", f"{cap(art(noun(there[0])))} is {words[0]} the {noun(t)}.", cap(noun(there[0])), thing=there[0])


def largest(r, scene):
    if scene.odd is not None:
        which, t = ("largest", scene.things[scene.odd]) if scene.odd_is_large else ("smallest", scene.things[scene.odd])
        other = {"largest": "{largest|biggest|largest}", "smallest": "{smallest|littlest|smallest}"}[which]
        q = one_of(r, [f"{{Which|What}} {{shape|object|one}} is the {other}?", f"What is the {other} {{shape|object|thing}}?", f"Which is the {other}?", f"Name the {other} shape.", f"{{Find|Identify|Show me|Give me}} the {other} {{shape|object|one}}.", f"{{Of these|Among them|Here}}, {{which|what}} is the {other}?", f"{{Which|What}} {{color|shape}} is the {other} {{one|thing}}?", f"{{Can you tell me|I want to know}} which {{shape|one|object}} is the {other}."])
        return Asked("size", q, f"The {noun(t)} is the {which}.", cap(noun(t)), thing=t, facts={"shape": t.shape, "color": t.color})


def ended(text):
    return text if text[-1] in ".!?" else text + "."


def read(r, scene):
    asks = ASK_TEXT
    if scene.kind == "sign" and r.random() < .6:
        asks = ASK_SIGN
    elif scene.text.isdigit() and r.random() < .4:
        asks = ASK_NUMBER
    elif any(c in scene.text for c in "$€£") and r.random() < .5:
        asks = ASK_PRICE
    return Asked("text", one_of(r, asks), f"The text says {ended(scene.text)}", scene.text, scene.text, facts={"text": scene.text})


def text_color(r, scene):
    if scene.text_color:
        return Asked("text colour", one_of(r, ["{What color|What colour|Which color} is the {text|word|writing}?", "What is the {color|colour} of the {text|letters|writing}?", "In {what|which} color is the text?"]),
                     f"The text is {scene.text_color}.", cap(scene.text_color), facts={"color": scene.text_color})


def says(r, scene):
    yes = r.random() < .5
    text = scene.text if yes else "".join(r.choice(DISTINCT) for _ in scene.text)
    yes = text == scene.text
    return Asked("text yes/no", one_of(r, ["Does it say $a?", "Is the text $a?", "Does the image say $a?", "Does it read $a?"], a=text), f"{'Yes' if yes else 'No'}, it says {ended(scene.text)}", "Yes" if yes else "No", scene.text, facts={"yes": yes})


def no_shapes(r, scene):
    return Asked("false premise", f"What color is the {(s := r.choice(SHAPES))}?", f"There is no {s}.", f"No {s}.")


def how_many_parts(r, scene):
    n, word = len(scene.values), "bar" if scene.kind == "bars" else "part"
    words = ("bars", "bars", "columns") if scene.kind == "bars" else ("parts", "slices", "pieces", "sectors", "segments")
    return Asked("chart count", one_of(r, ["How many $a {are there|do you see|does it have|does the chart have|are in the chart}?", "Count the $a.", "{How many|Number of} $a?", "How many $a {altogether|overall|are shown|are drawn here}?", "{Give me|Tell me|Say|Report} {the number of $a|how many $a there are}.", "There are how many $a?", "{And|So} how many $a?", "{Can you|Could you|Please} count the $a?", "{I want|I'd like} to know how many $a {there are|it has}.", "How many $a {did they draw|make up the chart|is that|do you get}?"], a=r.choice(words)), there_are(n, word), str(n), facts={"count": n})


def extreme_part(r, scene):
    if scene.kind == "bars":
        word, names, most, least = "bar", ("bar", "bar", "column"), ("highest", "highest", "tallest", "largest", "biggest", "longest"), ("lowest", "lowest", "shortest", "smallest")
    else:
        word, names, most, least = "part", ("part", "slice", "piece", "sector"), ("largest", "largest", "biggest"), ("smallest", "smallest", "littlest")
    up = r.random() < .55
    c = (max if up else min)(scene.values, key=scene.values.get)
    q = one_of(r, ["{Which|What} $b is {the $a|$a}?", "{Which|What} {color|colour} {is|has} the $a $b?", "What is the $a $b?", "The $a $b is which color?", "Name the $a $b.", "{Which|What} {color|colour} is the $a $b?", "{Find|Identify|Show me|Report} the $a $b.", "{And|So} {which|what} is the $a $b?", "{Which|What} {color|colour} does the $a $b have?", "Which of them is the $a?", "{Among|From} the $bs, {which|what} is the $a?", "Can you {name|tell me|find} the $a $b?", "{I want to know|Do you know} which $b is the $a.", "{I need|Give me} the color of the $a $b."], a=r.choice(most if up else least), b=r.choice(names))
    return Asked("chart", q, f"The {c} {word} is the {(most if up else least)[0]}.", cap(c), facts={"color": c})


def part_value(r, scene):
    if scene.kind == "bars":
        c = r.choice(list(scene.values))
        q = one_of(r, ["What is the value of the $a {bar|column}?", "{How high|How tall|How much} is the $a bar?", "What value {has|does} the $a bar{| have}?", "The $a bar {shows|is at} {what|which} value?", "Value of the $a bar?", "What number is the $a bar?", "{Read|Give me|Find|Report} the value of the $a bar.", "{How big|How large|How long} is the $a bar?", "{And|So} the $a bar?", "Which value is the $a bar's?", "{Can you|Could you} {read|tell me} the {value|height} of the $a bar?", "{I want|I'd like} to know the value of the $a bar.", "The $a bar{, what value|, how high| is how high}?", "{What|Which} number {belongs to|goes with} the $a bar?", "{At what|At which} value is the $a bar?", "What's the $a bar's {value|height|number}?"], a=c)
        return Asked("chart value", q, f"The value of the {c} bar is {scene.values[c]}.", str(scene.values[c]), facts={"value": scene.values[c]})


def compare_parts(r, scene):
    a, b = r.sample(list(scene.values), 2)
    word, (more, less) = ("bar", ("higher", "lower")) if scene.kind == "bars" else ("part", ("larger", "smaller"))
    up = r.random() < .6
    yes = (scene.values[a] > scene.values[b]) == up
    how = more if up else less
    return Asked("chart compare", r.choice((f"Is the {a} {word} {how} than the {b} {word}?", f"Is {a} {how} than {b}?")), f"{'Yes' if yes else 'No'}, the {a} {word} is {'' if yes else 'not '}{how} than the {b} {word}.", "Yes" if yes else "No", facts={"yes": yes})


def kind_of_chart(r, scene):
    name = "bar chart" if scene.kind == "bars" else "pie chart"
    return Asked("chart kind", one_of(r, ("What kind of chart is this?", "What type of chart is it?", "Which chart is this?", "What sort of {chart|graph|plot} {is it|do you see}?", "Is this a bar chart or a pie chart?")), f"It is a {name}.", cap(name), facts={"kind": scene.kind.rstrip("s")})


def sign_color(r, scene):
    return Asked("sign", one_of(r, ["{What color|What colour|Which color} is the sign?", "What is the {color|colour} of the sign?"]), f"The sign is {scene.things[0].color}.", cap(scene.things[0].color), facts={"color": scene.things[0].color})


def total(r, scene):
    return Asked("receipt", one_of(r, ["What is the total?", "How much is the total?", "What's the {sum|total}?"]), f"The total is {scene.text}.", scene.text, scene.text)


def price(r, scene):
    goods = r.choice(list(scene.values))
    return Asked("receipt", one_of(r, ["How much is the $a?", "What does the $a cost?"], a=goods.lower()), f"The {goods.lower()} is {scene.values[goods]}.", str(scene.values[goods]))


def aside(r, scene):
    """Something that Pocket cannot answer about a picture that it knows."""
    return cannot(asides.about_a_picture(r, scene))


def cannot(question):
    return Asked("cannot tell", question, DECLINE, DECLINE)


ABOUT = {
    "shapes": [(describe, 8), (color, 8), (shape, 4), (count, 16), (place, 7), (yes_no, 12), (relation, 17), (beside, 2.5), (largest, 3.5), (is_only, 5), (background, 2.5), (colors, 1), (shapes, 1), (no_text, .7), (aside, 8)],
    "text": [(read, 9), (describe, 2.5), (text_color, 1), (says, .6), (background, .6), (aside, 1.2), (no_shapes, .2)],
    "bars": [(extreme_part, 4), (part_value, 8), (how_many_parts, 3), (compare_parts, 2), (describe, 1), (kind_of_chart, .4), (background, .3), (aside, 1.4)],
    "sign": [(read, 5), (sign_color, 1.5), (describe, 1.5), (background, .5), (aside, 1)],
    "receipt": [(total, 4), (price, 3), (describe, 1), (aside, .5)],
    "pie": [(extreme_part, 4), (how_many_parts, 3), (compare_parts, 2), (describe, 1), (kind_of_chart, .4), (background, .3), (aside, 1.4)],
}


def about_it(r, scene, thing):
    """A question about what the turn before was about."""
    t = r.random()
    if t < .35:
        return color_of(thing, one_of(r, ASK_ITS_COLOR))
    if t < .55:
        return shape_of(thing, one_of(r, ASK_ITS_SHAPE))
    if t < .75:
        return place_of(thing, one_of(r, ["Where is {it|that one|that}?", "{And where|Where exactly|In which part of the image} is it?", "Where?", "What is its position?"]))
    return is_it(r, thing, len(scene.things))


def ask(r, scene):
    """One question about one picture, of a kind that its scene allows."""
    if scene.kind in NOTHING_KNOWN:
        return cannot(asides.about_anything(r))
    if scene.odd is not None and r.random() < .2:
        # Few scenes have one.
        return largest(r, scene)
    makers, weights = zip(*ABOUT[scene.kind])
    while True:
        asked = r.choices(makers, weights)[0](r, scene)
        if asked:
            return asked
