"""Names of control tokens in captions, by their ids."""

import copy

import open_clip
import pytest
import tokenizers
import transformers
from open_clip.tokenizer import SimpleTokenizer
from tokenizers import models, pre_tokenizers, processors

from models.shared.packaged import text_tower
from models.shared.plain_text import plain_text

NAMES = ["<end_of_text>", "<start_of_text>", "<|endoftext|>", "<END_OF_TEXT>", "&lt;end_of_text&gt;", "</w>", "[SEP]"]


def clip_tokens(tokenizer: SimpleTokenizer, text: str) -> list[int]:
    (row,) = tokenizer([text]).tolist()
    return row[: row.index(tokenizer.eot_token_id) + 1]


@pytest.mark.parametrize("name", NAMES)
def test_clip_reads_control_tokens_as_text(name: str) -> None:
    tokenizer = plain_text(SimpleTokenizer())
    start, *text, end = clip_tokens(tokenizer, f"a {name} cat")
    assert (start, end) == (tokenizer.sot_token_id, tokenizer.eot_token_id)
    assert not {start, end} & set(text) and tokenizer.encoder["cat</w>"] == text[-1]
    written = "".join(tokenizer.decode(text).split())
    assert written == f"a{name.lower().replace('&lt;', '<').replace('&gt;', '>')}cat"


def test_open_clip_alone_would_end_the_caption() -> None:
    """What `plain_text` is for; an open_clip that reads them as text by itself does not need it."""
    tokenizer = SimpleTokenizer()
    assert len(clip_tokens(tokenizer, "a <end_of_text> cat")) == 3


@pytest.mark.parametrize("text", ["a cat", "it's 3 o'clock", "<b>café 狐</b> #1 don't", "<|x|> end of text", ""])
def test_all_other_text_has_the_tokens_that_it_had(text: str) -> None:
    assert plain_text(SimpleTokenizer())([text]).equal(SimpleTokenizer()([text]))


def test_tokens_of_ones_own_are_text_too() -> None:
    tokenizer = plain_text(SimpleTokenizer(additional_special_tokens=["<mask>"]))
    assert not set(tokenizer.all_special_ids) & set(tokenizer.encode("a <mask> <end_of_text>"))


@pytest.mark.parametrize("name", ["[CLS]", "[SEP]", "[PAD]", "[MASK]", "[UNK]"])
def test_minilm_reads_control_tokens_as_text(name: str) -> None:
    tower = text_tower()
    tokenizer = tower.tokenizer
    start, *text, end = tower.token_ids([f"a {name} cat"])[0][0].tolist()
    control = {tokenizer.token_to_id(each) for each in ("[CLS]", "[SEP]", "[PAD]", "[MASK]", "[UNK]")}
    assert {start, end} <= control and not control & set(text)
    assert tokenizer.decode(text) == f"a [ {name[1:-1].lower()} ] cat"


def test_a_copy_reads_them_as_text_too() -> None:
    """Fine-tunes are copies of what they start from."""
    tower = copy.deepcopy(text_tower())
    ids, _ = tower.token_ids(["a [SEP] cat"])
    assert (ids == tower.tokenizer.token_to_id("[SEP]")).sum() == 1
    tokenizer = copy.deepcopy(plain_text(SimpleTokenizer()))
    assert tokenizer.eot_token_id not in tokenizer.encode("<end_of_text>")


def wordlevel() -> tokenizers.Tokenizer:
    words = ["[UNK]", "[SEP]", "a", "cat", "[", "]", "SEP"]
    made = tokenizers.Tokenizer(models.WordLevel({word: index for index, word in enumerate(words)}, unk_token="[UNK]"))
    made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    made.add_special_tokens(["[SEP]"])
    made.post_processor = processors.TemplateProcessing(single="$A [SEP]", special_tokens=[("[SEP]", 1)])
    return made


def test_tokenizers_of_transformers_and_open_clips_wrapper() -> None:
    fast = transformers.PreTrainedTokenizerFast(tokenizer_object=wordlevel(), sep_token="[SEP]", unk_token="[UNK]")
    assert fast("a [SEP] cat")["input_ids"] == [2, 1, 3, 1]
    wrapper = open_clip.tokenizer.HFTokenizer.__new__(open_clip.tokenizer.HFTokenizer)
    wrapper.tokenizer = fast
    assert plain_text(wrapper) is wrapper
    assert fast("a [SEP] cat")["input_ids"] == [2, 4, 6, 5, 3, 1]


def test_an_unknown_tokenizer_is_refused() -> None:
    with pytest.raises(ValueError, match="a tokenizer of type object may read control tokens"):
        plain_text(object())
