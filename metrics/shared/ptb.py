"""Words of captions as the COCO caption evaluation makes them: tokens of the Penn Treebank, without Java.

Sources: Marcus et al. 1993, Building a Large Annotated Corpus of English: The Penn Treebank; Chen et al. 2015,
arXiv:1504.00325, section 3 (the evaluation, which runs Stanford's PTBTokenizer 3.4.1 with lower-casing and then drops
tokens of punctuation). Fitted to what that tool answers; some hundred of its answers are kept in
`tests/metrics/shared/ptb_fixtures.json`.

Contractions are two words ("do n't", "it 's", "can not"). Hyphens, periods and slashes inside a word stay, as do the
periods of known abbreviations and of initials. A number is one word. Quotes, commas, colons, semicolons, single
periods, question and exclamation marks, ellipses and dashes disappear. Any other symbol is a word.

The tool's oddities are kept, since they are in every published value. Brackets are not dropped, because "-LRB-" is
looked for among tokens that are lower-cased by then. Nor are "!!" and "?!", which its list lacks. A pound sign becomes
"#" and a euro sign "$". An emoji disappears. A word before ".," keeps the period. The parts of "1 1/2" are two words,
as for the BLEU and CIDEr of that evaluation, whose ROUGE has one.

Differs from the tool, on purpose:
- Letters younger than its Unicode, or beyond 16 bits, are letters; it deletes them, and vowel signs of some scripts.
- A caption is read by itself. The tool drops the period of a single letter at the end of a caption if the next caption
  of the file begins with "A", "The" or the like, and a line separator in a caption shifts all that follow.
- Telephone numbers, rare smileys, numeric HTML entities and other forms rare in captions fall into their parts.
- The locale does not matter; by it, a Java before 18 reads all but ASCII.
"""

import re
import unicodedata
from collections.abc import Callable, Sequence

_ABBREVIATIONS = (
    "adj adm adv al ala alex apr ariz assn assoc asst atty attys aug ave bhd bldg blvd brig bros calif capt cf cie "
    "cmdr co col colo comdr conn corp cos cpl ct dak dec dept det dr drs elec ens esq est etc ext feb fla fri ft ga "
    "gen gov govs hon inc ind insp intl invt jan jos jr jul jun kan kans ky lt ltd maj mar md messrs mfg mich minn "
    "mlle mme mo mon mont mr mrs ms msgr mt mtg natl neb nev nov oct okla penn pfc ph plc ppte ppty pres prof profs "
    "pte pty pvt rd rep reps rev rt sen sens sep sept seq sfc sgt spc sq sr st ste supt supts sys tel tenn thu thurs "
    "treas tue tues univ va vs vt wed wis wisc wm wyo"
)
_CAPITALISED = "ark az del ill la mass miss ore pa tex wash"
_BEFORE_NUMBERS = "art ca fig figs no nos op pp prop"
_STARTS = (  # of a sentence, by which the single letter before ends one
    "A About According After An As At But Earlier He Her Here However If In It Last Many More Now Once One Other Our "
    "She Since So Some Such That The Their Then There These They This We What When While Yet You"
)
_FILES = (
    "bat bmp c cgi class cpp dll doc docx exe gif gz h htm html jar java jpeg jpg mov mp3 pdf php pl png ppt ps py "
    "sql tar txt wav x xml zip"
)
_SPLIT = {
    "cannot": ("can", "not"),
    "gimme": ("gim", "me"),
    "gonna": ("gon", "na"),
    "gotta": ("got", "ta"),
    "lemme": ("lem", "me"),
    "more'n": ("more", "'n"),
    "wanna": ("wan", "na"),
}
_BRACKETS = {"(": "-lrb-", ")": "-rrb-", "[": "-lsb-", "]": "-rsb-", "{": "-lcb-", "}": "-rcb-"}
_ENTITIES = {"amp": "&", "apos": "'", "gt": " > ", "lt": " < ", "mdash": " ", "nbsp": " ", "ndash": " ", "quot": " "}
_REPLACED = {
    "\x80": " $ ",
    "\x92": "\u2019",
    "\xa2": " cents ",
    "\xa3": " # ",
    "\xa4": " $ ",
    "\xad": "",
    "\xbc": " 1/4 ",
    "\xbd": " 1/2 ",
    "\xbe": " 3/4 ",
    "\u20a0": " $ ",
    "\u20ac": " $ ",
    "\u2153": " 1/3 ",
    "\u2154": " 2/3 ",
}
_SYMBOL = re.compile(  # what is a word by itself beyond ASCII, besides an apostrophe and two hyphens
    r"[\xa1\xa5-\xa9\xac\xae-\xb4\xb6-\xb9\xbf\xd7\xf7\u037e\u0387\u0589\u05be\u05c0\u05c3\u05c6\u05f3\u05f4\u060c\u061b"
    r"\u061f\u066a\u066d\u06d4\u0964\u0965\u0e3f\u2010\u2011\u2016\u2017\u2019-\u201a\u201e-\u2023\u2030-\u2038\u203b"
    r"\u203e-\u2042\u2070-\u208e\u20a4\u2100-\u214f\u2155-\u215e\u2190-\u2bff\u3001\u3002\u3012\u30fb\uff01-\uff0f"
    r"\uff1a-\uff20\uff3b-\uff40\uff5b-\uff65\uffe0\uffe1\uffe5\uffe6]"
)

# Forms are looked for in the shape of a text, where each letter beyond ASCII is an "ä" and each digit a "0".
_L, _X, _A = r"[A-Za-zä]", r"[A-Za-z0-9ä]", r"['\u2019]"  # a letter; a letter or digit; an apostrophe
_PART = rf"(?:[dloDLO]{_A}(?={_X}{_X}))?{_X}+"  # of a compound
_SIDE = r"[A-Za-z0-9]+(?:-[A-Za-z]+){0,2}"  # of a slash
_FORMS = tuple(
    re.compile(form)
    for form in (
        rf"{_L}{_X}*(?:[.!?]{_L}{_X}*)*",  # dog, end.start
        rf"{_PART}(?:[-\u2010\u2011]{_PART})*",  # t-shirt, 4-year-old, o'clock
        rf"{_X}+(?:[-_]{_X}+)*",  # a_b
        r"[A-Za-z0-9][A-Za-z0-9.,]*(?:-[A-Za-z0-9]+)+",  # 1.5-inch, 3,000-foot
        rf"{_SIDE}(?:/{_SIDE}){{1,2}}",  # and/or
        r"[A-Z]+(?:[&+][A-Z]+)+",  # AT&T
        rf"{_L}+[aeiouyAEIOUY]{_A}[aeiouAEIOU]{_L}*",  # hawai'i, ma'am
        rf"({_L}*[A-MO-Za-mo-z])[nN](?:{_A}|`)[tT]",  # do|n't
        rf"[nN](?:{_A}|`)(?:{_X}{_X}+|[tT])",
        rf"({_A}(?:[sdmSDM]|ll|re|ve|LL|RE|VE|Ll|Re|Ve))(?:[^A-Za-z]|$)",  # dog|'s, they|'re
        rf"(?i:{_A}n{_A}|{_A}n(?!{_L})|{_A}(?:em|till?|cause)|y{_A}(?={_L}))",  # rock 'n' roll, y'|all
        rf"(?i:[dlj]{_A}(?!s(?!{_L}))|(?:ol|somethin|dunkin){_A}(?!{_L}))",
        rf"(?i:c{_A}est|c{_A}mon|s{_A}mores|n?e{_A}er|cap{_A}n|r{_A}us|more'n|('t)(?:is|was))",
        rf"{_A}[0-9][0-9](?:[sS]|(?![\w.,;:!?%/\"'\u2019-]))",  # '90s
        r"[-+]?(?:[0-9]*(?:[.:,][0-9]+)+|[0-9]+)",  # 1,000.5
        r"(?:[0-9]{1,4}[- ])?[0-9]{1,4}/[0-9]{1,4}",  # 1 1/2
        r"[A-Z]*\$",  # US$
        rf"(?i:ph\.d|ed\.d|{_ABBREVIATIONS.replace(' ', '|')})\.",
        rf"(?=[A-Z])(?i:{_CAPITALISED.replace(' ', '|')})\.",
        rf"((?i:{_BEFORE_NUMBERS.replace(' ', '|')})\.)\s?[0-9]",  # no. 5
        r"[A-Za-z](?:\.[A-Za-z])*\.",  # U.S.
        rf"([A-Za-z])\.\s+(?:{_STARTS.replace(' ', '|')})(?!\S)",
        rf"{_X}+(?:\.{_X}+)*\.(?i:{_FILES.replace(' ', '|')})(?=[\s.,!?]|$)",  # 001.jpg
        rf"({_PART}(?:-{_PART})*\.)[,;:\u3001]",  # dog.,
        r"</?[A-Za-z!?][\w.:-]*(?:\s+[A-Za-z][\w.-]*(?:=\"[^\"]*\")?)*\s*/?>",  # <b>
        r"<?[A-Za-z0-9][^\s\"<>|(){}]*@(?:[^\s\"<>|(){}.]+\.)*[^\s\"<>|(){}.]+>?",  # me@example.org
        r"https?://[^\s\"<>|(){}]*\.[^\s\"<>|(){}]*[^\s\"<>|.!?(){},-]",
        rf"(?:{_L}{_X}*\.)+(?:com|net|org|edu)/[^\s\"<>|(){{}}]+[^\s\"<>|.!?(){{}},-]",
        rf"[@#]{_L}+",
        r"@[A-Za-z_][A-Za-z_0-9]*",
        r"[cC](?:#|\+\+)|(?i:pro|anti)-",
        r"[<>]?[:;=][-'*o]?[][(){@|\\DOPdp](?![A-Za-z0-9])",  # :-)
        r"\([-^=~<>x]_[-^=~<>x]\)|[-^=~<>x]_[-^=~<>x]",  # ^_^
        r"[!?]+|-+|\.{3,5}|\*+|_+|@+|#+|[\xb2\xb3\xb9\u2070-\u207f]+|[\u2080-\u208e]+|''|``|<<|>>",
        r"\S",
    )
)
_PLAIN = re.compile(r"([A-Za-zä]+)(?!\S)|([A-Za-zä]{2,})[.,;:!?](?!\S)")  # most words, with what is dropped after them
_SHORTENED = frozenset(f"{_ABBREVIATIONS} {_CAPITALISED} {_BEFORE_NUMBERS}".split())
_DROPPED = re.compile(r"[.,:;?!\u2010\u2011]|[`'\"\u2019]+|-{1,4}|\.{3,5}")
_ENTITY = re.compile(rf"&({'|'.join(_ENTITIES)});")


def tokenize(text: str) -> list[str]:
    """The words of a caption, lower-cased, none of them empty or with whitespace in it; a text may have none."""
    text = _ENTITY.sub(lambda entity: _ENTITIES[entity[1]], text).translate(_CLEANED)
    shape = text if text.isascii() else text.translate(_SHAPES)
    words: list[str] = []
    start = 0
    while start < len(shape):
        if shape[start] == " ":
            start += 1
            continue
        plain = _PLAIN.match(shape, start)
        if plain and not (plain[2] and plain[2].lower() in _SHORTENED):
            end, following = plain.end(plain.lastindex or 0), plain.end()
        else:
            end = following = _longest(shape, start)
        words += _written(text[start:end].lower())
        start = following
    return [word for word in words if not _DROPPED.fullmatch(word)]


def _longest(shape: str, start: int) -> int:
    """End of the token at `start`: of the form that reaches farthest, counting what it looks at beyond its end."""
    reached = end = start + 1
    for form in _FORMS:
        match = form.match(shape, start)
        if match and match.end() > reached:
            reached, end = match.end(), match.end(match.lastindex or 0)
    return end


def _written(token: str) -> Sequence[str]:
    """A lower-cased token as the tool writes it."""
    if token in _SPLIT:
        return _SPLIT[token]
    if token in {"n\u2019t", "\u2019s", "\u2019d", "\u2019m", "\u2019ll", "\u2019re", "\u2019ve"}:
        return (token.replace("\u2019", "'"),)
    if token in _BRACKETS:
        return (_BRACKETS[token],)
    return token.replace("(", "-lrb-").replace(")", "-rrb-").split()


class _Characters(dict[int, str]):
    """A table for `str.translate` that is filled as characters are met."""

    def __init__(self, translate: Callable[[str], str]) -> None:
        self._translate = translate

    def __missing__(self, code: int) -> str:
        self[code] = self._translate(chr(code))
        return self[code]


def _cleaned(character: str) -> str:
    """A letter, mark, digit or symbol as it is; a space for what the tool deletes, and for most quotes and dashes."""
    if "\x20" < character < "\x7f" or _SYMBOL.match(character):
        return character
    if character in _REPLACED:
        return _REPLACED[character]
    category = unicodedata.category(character)
    is_mark = category[0] == "M" and character < "\u2000"  # beyond are variation selectors and their like
    return character if is_mark or category[0] == "L" or category == "Nd" else " "


def _shape(character: str) -> str:
    """One character that stands for all of its kind."""
    if character.isascii() or _SYMBOL.match(character):
        return character
    return "0" if character.isdecimal() else "ä"


_CLEANED = _Characters(_cleaned)
_SHAPES = _Characters(_shape)
