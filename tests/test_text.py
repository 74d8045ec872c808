"""Text: every prompt is understood or refused by name, and the encoder lets words look at one another."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from minidiff import data
from minidiff.text import PAD, TextEncoder, Tokenizer, UnknownWord, split_words

TOKENIZER = Tokenizer.train(data.all_digit_captions(), length=4)


def words_of(ids) -> list[str]:
    return [TOKENIZER.words[i - 1] for i in ids if i != PAD]


# --- words ---


@pytest.mark.parametrize(
    "caption, words",
    [
        ("a seven", ["a", "seven"]),
        ("The Digit SEVEN!", ["the", "digit", "seven"]),
        ("the digit 7", ["the", "digit", "7"]),
        ("a7b 12", ["a", "7", "b", "12"]),
        ("twenty-one, (really)", ["twenty", "one", "really"]),
        ("snake_case", ["snake", "case"]),
        ("  a \t seven\n", ["a", "seven"]),
        ("Käse über Ελλάδα", ["käse", "über", "ελλάδα"]),
        ("?!… — 🙂", []),
        ("", []),
    ],
)
def test_a_caption_falls_into_lower_case_words_and_numbers(caption, words):
    assert split_words(caption) == words


@given(st.text())
def test_splitting_again_what_was_split_changes_nothing(caption):
    words = split_words(caption)
    assert all(words) and split_words(" ".join(words)) == words


# --- the tokenizer ---


def test_the_vocabulary_is_every_word_of_the_captions_once_in_order():
    tokenizer = Tokenizer.train(["a seven", "A seven, a ONE", "the digit 7"])
    assert tokenizer.words == ["7", "a", "digit", "one", "seven", "the"]
    assert len(tokenizer) == 7  # and no word
    assert Tokenizer.train(reversed(["a seven", "a one", "the digit 7"])).words == tokenizer.words


def test_every_caption_of_the_digits_is_understood():
    captions = data.all_digit_captions()
    ids = TOKENIZER(captions)
    assert ids.shape == (len(captions), 4) and ids.dtype == torch.long
    assert ids.min() >= 0 and ids.max() < len(TOKENIZER)
    assert [words_of(row) for row in ids.tolist()] == [split_words(c) for c in captions]


def test_the_empty_caption_is_nothing_but_padding():
    for nothing in ("", "   ", "...", "🙂"):
        assert TOKENIZER.encode(nothing) == [PAD] * 4


def test_words_come_first_and_padding_after_them():
    assert [i == PAD for i in TOKENIZER.encode("a seven")] == [False, False, True, True]


def test_case_and_punctuation_make_no_difference():
    assert TOKENIZER(["A Seven!"]).equal(TOKENIZER(["a seven"]))


def test_a_numeral_and_its_word_are_two_words():
    assert TOKENIZER.encode("7") != TOKENIZER.encode("seven")


def test_a_caption_means_the_same_alone_and_among_others():
    captions = data.all_digit_captions()
    together = TOKENIZER(captions)
    assert all(TOKENIZER([c])[0].equal(row) for c, row in zip(captions, together, strict=True))


def test_no_captions_are_no_rows():
    assert TOKENIZER([]).shape == (0, 4)


@pytest.mark.parametrize("prompt, word, near", [("a sevn", "sevn", "seven"), ("a nin", "nin", "nine")])
def test_an_unknown_word_is_named_with_the_nearest_known_ones(prompt, word, near):
    with pytest.raises(UnknownWord, match=f"never saw the word '{word}' .nearest known: .*{near}") as caught:
        TOKENIZER([prompt])
    assert caught.value.words == [word]
    assert TOKENIZER.nearest(word)[0] == near


def test_all_unknown_words_are_named_at_once_and_those_like_no_other_without_hint():
    with pytest.raises(UnknownWord) as caught:
        TOKENIZER(["a sevn qqq"])
    assert caught.value.words == ["sevn", "qqq"]
    assert str(caught.value).endswith("; 'qqq'")


def test_a_flood_of_unknown_words_is_told_in_a_line():
    with pytest.raises(UnknownWord, match="and 90 more") as caught:
        Tokenizer.train(["a seven"], 200)([" ".join("q" * n for n in range(2, 102))])
    assert len(caught.value.words) == 100 and len(str(caught.value)) < 1000


def test_an_unknown_word_is_a_value_error():
    assert issubclass(UnknownWord, ValueError)


def test_a_caption_that_is_too_long_is_refused_with_both_numbers():
    assert len(words_of(TOKENIZER.encode("a the a seven"))) == 4
    with pytest.raises(ValueError, match="may have 4 words here, this one has 5"):
        TOKENIZER(["a", "a the a the seven"])


@pytest.mark.parametrize("length", [0, -1])
def test_a_tokenizer_without_room_for_a_word_is_refused(length):
    with pytest.raises(ValueError, match=f"at least 1, got {length}"):
        Tokenizer(["a"], length)


@settings(max_examples=300)
@given(st.text() | st.lists(st.sampled_from([*TOKENIZER.words, *"A,$\uff17\u00b2", "sevn"])).map(" ".join))
def test_any_text_is_understood_or_refused_by_a_value_error(prompt):
    try:
        ids = TOKENIZER([prompt])
    except UnknownWord as error:
        assert error.words and all(repr(word) in str(error) for word in error.words[:10])
    except ValueError as error:
        assert "words" in str(error)
    else:
        assert ids.shape == (1, 4)
        assert words_of(ids[0].tolist()) == split_words(prompt)


# --- the encoder ---


def encoder(**settings) -> TextEncoder:
    torch.manual_seed(0)
    made = TextEncoder(len(TOKENIZER), 4, **(dict(dim=16, layers=2, heads=2) | settings))
    with torch.no_grad():
        for p in made.parameters():
            p.add_(0.2 * torch.randn_like(p))
    return made.eval()


@pytest.mark.parametrize("dim, layers, heads", [(16, 2, 2), (8, 1, 1), (24, 3, 4), (16, 0, 2)])
def test_the_encoder_gives_a_vector_a_place(dim, layers, heads):
    made = encoder(dim=dim, layers=layers, heads=heads)
    ctx = made(TOKENIZER(["a seven", "", "the digit 7"]))
    assert ctx.shape == (3, 4, dim) and bool(ctx.isfinite().all())
    assert made.config == dict(vocabulary=len(TOKENIZER), length=4, dim=dim, layers=layers, heads=heads)


def test_a_word_changes_the_vectors_of_all_others():
    ctx = encoder()(TOKENIZER(["the digit seven", "the digit one"]))
    assert bool(((ctx[0] - ctx[1]).abs().amax(1) > 1e-4).all())


def test_the_order_of_the_words_counts():
    ctx = encoder()(TOKENIZER(["seven one", "one seven"]))
    assert not torch.allclose(ctx[0, 0], ctx[1, 1], atol=1e-4)


def test_a_caption_is_encoded_the_same_alone_and_among_others():
    made, captions = encoder(), data.all_digit_captions()
    together = made(TOKENIZER(captions))
    for i in (0, 13, len(captions) - 1):
        torch.testing.assert_close(made(TOKENIZER(captions[i : i + 1]))[0], together[i], rtol=1e-5, atol=1e-5)


def test_heads_that_do_not_divide_the_width_are_refused():
    with pytest.raises(ValueError, match="multiple of heads, got 16 and 3"):
        encoder(heads=3)
