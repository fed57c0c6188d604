"""Captions are text to every tokenizer: a control token's name in a caption is the characters that it is written with.

Tokenizers look for the names of their control tokens (`<end_of_text>`, `[SEP]`) in what they are given, so that a
caption from the web could end itself, mask itself or pass for padding. CLIP pools at the token of the highest id, which
is its `<end_of_text>`: all behind one in a caption would not be read.
"""

from typing import Any


def plain_text(tokenizer: Any) -> Any:
    """Makes a tokenizer take names of control tokens as text; the tokens that it adds itself stay.

    A copy of a `Tokenizer` of `tokenizers` forgets it (`copy.deepcopy` goes through its JSON, which has no word for
    it), so that models call this wherever they tokenize; it costs nothing.

    Args:
        tokenizer: A `SimpleTokenizer` or `HFTokenizer` of open_clip, a `Tokenizer` of `tokenizers`, or a tokenizer of
            `transformers`; it is changed.

    Returns:
        The same tokenizer.

    Raises:
        ValueError: It is of another kind, of which this cannot be said.
    """
    if hasattr(tokenizer, "encode_special_tokens"):  # tokenizers
        tokenizer.encode_special_tokens = True
    elif hasattr(tokenizer, "split_special_tokens"):  # transformers
        tokenizer.split_special_tokens = True
    elif hasattr(tokenizer, "tokenizer"):  # open_clip's wrapper of one of transformers
        plain_text(tokenizer.tokenizer)
    elif hasattr(tokenizer, "pat"):  # open_clip's own, whose pattern names control tokens first
        from open_clip.tokenizer import re

        names = "|".join(tokenizer.decoder[token] for token in tokenizer.all_special_ids) + "|"
        pattern = tokenizer.pat.pattern
        assert pattern.startswith(names), f"open_clip's pattern does not start with {names}"
        tokenizer.pat = re.compile(pattern.removeprefix(names), tokenizer.pat.flags)
    else:
        raise ValueError(f"a tokenizer of type {type(tokenizer).__name__} may read control tokens out of captions")
    return tokenizer
