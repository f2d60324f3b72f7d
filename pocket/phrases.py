"""Pieces of English, and the many ways to ask for the same."""
import re

ORDINALS = ["first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth"]
CHOICE = re.compile(r"\{([^{}]*)\}")

# A template has alternatives in braces, and `$a`, `$b` stand for what is asked about. A list has the ways of training; the
# ways that only the measurements use are in held_out.py.
IMAGE = "{image|picture|image|picture|photo|pic|drawing|figure|img}"
ASK_CAPTION = [
    f"{{Describe|Please describe|Describe briefly|Can you describe|Could you describe|Explain|Summarize}} {{this|the}} {IMAGE}.",
    f"{{What is|What's|What do you see|what is there|What can you see|What is shown|What is visible|What's shown}} {{in|on}} {{this|the}} {IMAGE}?",
    f"{{What does|What does}} {{this|the}} {IMAGE} {{show|depict|contain}}?", "What do you see?", "{What is this|What's this|What is that|What am I looking at|What is it}?",
    f"{{Tell me|tell me|Say}} {{about|what is in|what you see in}} {{this|the}} {IMAGE}.", f"Please describe the scene in {{this|the}} {IMAGE}.", "Describe the scene.",
    f"{{Caption|Write a caption for|Give a caption for|Give me a description of|Write a description of}} {{this|the}} {IMAGE}.", "{Describe this|Describe it|describe|Caption|caption please|Describe what you see}.",
    f"Describe {{this|the}} {IMAGE} in {{one|a single}} sentence.", f"{{Describe|Tell me}} {{the contents|the content}} of {{this|the}} {IMAGE}.", "What have we got here?", f"{IMAGE}?", "{what u see|wats this|what dis}?",
    "Describe this image in one sentence for a search index: the main things in it, their colours, and where they are. Start with the main thing.",
    "What shape is in the image, and what colour is it?", "What {shape|object} is {this|it} and what {color|colour} {is it|does it have}?",
    "What did I {upload|send|attach|give you}?", f"Give me {{the gist|a summary|an overview}} of {{it|this|the {IMAGE}}}.", "What's going on {here|in it|in this image}?", "{Could you|Can you|Please} say what {this|it} {is|shows}?", "{I want|I need|Give me|Write} a {caption|description|short text} {for it|of it|of this}.",
    "What would you say {this|it} is?", "What does it look like?", "{My eyes are bad|I can't see it|Help me}. What is {this|it|shown}?", "{Anything|What is there} to see {here|in it}?", "{Describe|Tell me|Say} {it|this|what you see} in {words|your own words|a few words}.",
    "{Name|Label|Title|Sum up} {this|it|what you see|the picture}.", "{What|How} {do|would} you call {that|it|what you see|what is shown}?", "How would you {describe|explain|sum up|title} {this|it|the scene}?", "What {could|can|may|might} {this|it|that} be?", "{What|Which things} {did I draw|have they drawn|did somebody paint|do we see} here?", "{What does one|What would a visitor|What do people} see {here|in it|on this}?"
]
ASK_TEXT = [
    f"{{What text is|What words are|What is written|What is printed|What's written|What text is present}} {{in|on}} {{this|the}} {IMAGE}?", "{Read|Please read|Read out|Transcribe|Extract|Give me|OCR} the {text|words|text}.",
    f"What does {{it|this|the text|the {IMAGE}|this {IMAGE}}} say?", f"OCR {{this|the}} {IMAGE}.", f"{{Read|Transcribe|Read the text in|Extract the text from|Copy the text of}} {{this|the}} {IMAGE}.", "{What does it say|What's it say|what does it read|Read it|read this|ocr|Read this please|text?|What is written here|What does this say}",
    "{Which|What} {word|words|text|letters} {is|are} {this|here|shown|there|it}?", "What is the text?", "Can you read {this|it|the text}?", "Tell me {what it says|what is written|the text}.", f"{{Is there text|Is there any text}} {{in|on}} {{this|the}} {IMAGE}, and what does it say?",
    "Write out all text in this image exactly as it is printed, line by line from the top. Do not correct, translate, explain or add anything. Write [?] for what you cannot read.",
    "{Can|Could} you {read|make out|tell me} {the text|what it says|what is written|the words}?", "What {do|can} you read {here|there|in it}?", "{What's|What is} the {writing|inscription|lettering|message}?",
    "The text{, please|: what is it}?", "{Write|Type|Spell} {down|out} the {text|words|word}{ you see|}.", "{I want|I'd like} to know what {it says|is written|the text says}."
]
ASK_SIGN = ["What does the sign {say|read}?", "{Read|Read me} the sign.", "What is {written|printed} on the sign?", "What sign is {this|it}?", "What's {on|written on} {the|this} sign?"]
ASK_NUMBER = ["{What|Which} number is {this|it|shown|in the image|written here}?", "{Read|Tell me} the number.", "What is the number?"]
ASK_PRICE = ["What is the price?", "{How much|How much does it cost|How much is it|What does it cost}?", "Read the price.", "What price is {shown|this|written here}?"]
ASK_BACKGROUND = [
    "{What color|What colour|Which color|which colour} is the background?", "{What is|What's|Tell me} the {background color|background colour|color of the background|colour of the background}?", "{What color is|What's} {behind|behind it|in the background}?",
    "Background {color|colour}?", f"{{What color is|What colour is}} the background of {{this|the}} {IMAGE}?", "What {color|colour} is it on?", "On {what|which} {color|colour} is it?", "Name the {color|colour} of the background.", "How is the background colored?",
    "{Can you|Could you|Please} {name|tell me} the {background color|color of the background}?", "What {color|colour} {do you see|is there} behind {it|them|the shapes}?", "{What's|What is} the {color|colour} {behind|around} {it|them|the shape}?",
    "What is the {paper|ground|backdrop|canvas}'s {color|colour}?", "The background is {what|which} {color|colour}?", "{I want to know|Do you know} {what|which} color the background {is|has}.",
    "{Behind|Around} {the shapes|it all|all of it|the things|them all}, {what|which} {color|colour} {is it|do you see|is to be seen}?", "{What|Which} {color|colour} {was|is} {used|taken|chosen|painted} for the {background|backdrop}?", "{What|Which} {color|colour} did {I|you|somebody} {choose|take|paint|pick} for the background?", "In {what|which} {color|colour} is the background {painted|filled|printed}?"
]
ASK_COUNT = [
    f"How many {{shapes|objects|things|items|figures|shapes}} {{are there|are in {{the|this}} image|do you see|can you see|are shown|are on the picture|are visible|are here|r there}}?".replace("{the|this}", "the"), "Count the {shapes|objects|things|items}.",
    "{Count|Please count|Count all|Can you count} the {shapes|objects|things}.", "How many?", "{What is the number of|Number of|Tell me the number of|Give me the count of} {shapes|objects|things}.", f"How many {{shapes|objects|things}} does {{this|the}} {IMAGE} {{have|contain|show}}?", "{shape count|count}?",
    "How many {shapes|objects|things} {is that|are these} {altogether|overall|all told}?", "{I want|I'd like|Please give me} the number of {shapes|objects|things} {here|in it|you see}.", "How many {shapes|things|objects} would you say there are?", "How many {of them|shapes|objects} {can be seen|have been drawn|did I draw|do you find}?",
    "{Overall|Together|So}, how many {shapes|objects|things} {are there|do you see}?", "{Could|Can|Would} you count {them|the shapes|everything|all objects}?", "What's the {total|count|sum} of {all shapes|shapes|objects}?"
]
DECLINE = "I only know shapes, colors, simple charts and short printed text: for this, `oriel pull smolvlm-500m` gets a real model."
UNREAD = "I cannot read this text: `oriel pull smolvlm-500m` gets a real model."


def say(r, template, **names):
    """One way to say a template."""
    while True:
        found = CHOICE.search(template)
        if not found:
            break
        template = template[:found.start()] + r.choice(found[1].split("|")) + template[found.end():]
    for name, value in names.items():
        template = template.replace(f"${name}", value)
    return template


def one_of(r, templates, **names):
    return say(r, r.choice(templates), **names)


def typo(r, text):
    """A slip of one letter: two changed places, one left out, or one twice."""
    at = [i for i in range(1, len(text) - 2) if text[i].isalpha() and text[i + 1].isalpha()]
    if not at:
        return text
    i = r.choice(at)
    return text[:i] + r.choice((text[i + 1] + text[i], text[i + 1], text[i] * 2 + text[i + 1])) + text[i + 2:]


BEFORE = ("Please answer: ", "Hey, ", "Please: ", "Question: ", "Tell me: ", "Hi! ", "Look at this. ", "So, ", "Quick question: ", "I have a question. ", "OK. ", "Now ", "Be honest: ", "One more: ", "Well, ", "My question is: ",
          "Let's see. ", "Be quick. ", "Please help me. ", "I can't see well. ", "For my daughter: ", "Next: ", "And ", "Thanks. ", "I need to know: ", "If you can: ")
AFTER = (" please?", ", please.", "??", "!", " ?", " in this image?", " here?", "? Thanks.", "? Thank you!", "? I can't tell.", "? I need it for work.", "? Just curious.", "? Be precise.", "? Answer honestly.", ", would you say?",
         ", do you think?", ", can you tell me?", ", in your opinion?", "? I want to be sure.", "? Look closely.")


def vary(r, q):
    """The same question as somebody else types it."""
    t = r.random()
    if t < .14:
        q = q.lower()
    if t < .08 or .14 < t < .22:
        q = q.rstrip("?.")
    if .22 < t < .3:
        q = r.choice(BEFORE) + q
    if .28 < t < .34:
        q = q.rstrip("?.") + r.choice(AFTER)
    if .34 < t < .36:
        q = q.upper()
    if .36 < t < .4:
        q = typo(r, q)
    if r.random() < .2:
        q = q.replace("color", "colour") if "color" in q else q.replace("colour", "color")
    return q


def art(word):
    return ("an " if word[0] in "aeiou" else "a ") + word


def noun(thing):
    return f"{thing.color} {thing.shape}"


def listing(items):
    return items[0] if len(items) == 1 else ", ".join(items[:-1]) + " and " + items[-1]


def cap(s):
    return s[0].upper() + s[1:]


def plural(n, word):
    return word if n == 1 else word + ("es" if word.endswith("s") else "s")


def there_are(n, word):
    if n == 0:
        return f"There are no {plural(0, word)}."
    return f"There {'is' if n == 1 else 'are'} {n} {plural(n, word)}."
