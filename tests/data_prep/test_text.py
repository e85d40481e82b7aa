import pytest
import tensorflow as tf

from data_prep import text

CASES = [
    ("A dog.", "A dog."),
    ("", ""),
    (" \t\r\n ", ""),
    # Tags and comments.
    ("one<br>two<BR/>three", "one two three"),
    ("<a href='http://x.com/a?b=1&c'>link</a> here", "link here"),
    ("a <!-- no\n<b> --> b", "a b"),
    ('<p class="x"\nid=1>text</p>', "text"),
    ("1 < 2 and 3 > 2, <3, 5 <6 and 7> 3", "1 < 2 and 3 > 2, <3, 5 <6 and 7> 3"),
    # URLs, whose full stop belongs to the sentence.
    ("see http://x.com/a.b/?c=d#e. Then", "see . Then"),
    ("HTTPS://X.COM/Y", ""),
    ("(www.y.org/z), ok", "( ), ok"),
    ("ftp://a.b/c?d=1&amp;e=2 x", "x"),
    ("wwwhat? http is a protocol", "wwwhat? http is a protocol"),
    # Entities.
    ("AT&amp;T &lt;3", "AT&T <3"),
    ("&quot;rock&quot; &#39;n&#x27; &apos;roll&rsquo;", "\"rock\" 'n' 'roll'"),
    ("&ldquo;a&rdquo;&nbsp;b&hellip; c&mdash;d", '"a" b. c-d'),
    ("&amp;lt;", "&lt;"),
    ("&copy; &#8364;", "&copy; &#8364;"),
    # Control characters and odd white space.
    ("a\x00b\x07c\x7fd\x85e", "abcde"),
    ("zero\u200bwidth\ufeff", "zerowidth"),
    ("a\tb\r\nc\u00a0d\u2028e\x0bf\u3000g", "a b c d e f g"),
    # Mentions and hashtags.
    ("@ann saw #RedFox, #été and @x_y", "ann saw RedFox, été and x_y"),
    ("##twice @#both (#inside)", "twice both (inside)"),
    ("me@home.org likes C# @ 5", "me@home.org likes C# @ 5"),
    # Repetitions of the same mark.
    (
        "no!!! why??? so... a,,b;; c:: d--e __f__ ~~ ** == ++",
        "no! why? so. a,b; c: d-e _f_ ~ * = +",
    ),
    ("what?!?! 3.5 10:30 it's well-known", "what?!?! 3.5 10:30 it's well-known"),
    ("soooo 1000", "soooo 1000"),
    # Other scripts, the case and joined emoji stay.
    ("ÜBER Größe 日本語 👩\u200d👧", "ÜBER Größe 日本語 👩\u200d👧"),
]


@pytest.mark.parametrize(("before", "after"), CASES)
def test_clean_of_literal_texts(before, after):
    assert text.clean(tf.constant(before)).numpy().decode() == after


def test_clean_is_the_same_mapped_in_batches_of_any_shape():
    before = tf.constant([before for before, _ in CASES])
    expected = [after.encode() for _, after in CASES]
    dataset = tf.data.Dataset.from_tensor_slices(before)
    assert list(dataset.map(text.clean).as_numpy_iterator()) == expected
    (batch,) = dataset.batch(len(CASES)).map(text.clean).as_numpy_iterator()
    assert batch.tolist() == expected
    grid = text.clean(tf.reshape(before[:6], (2, 3, 1)))
    assert grid.shape == (2, 3, 1)
    assert tf.reshape(grid, [-1]).numpy().tolist() == expected[:6]
    assert text.clean(tf.constant([], tf.string)).shape == (0,)


def test_clean_keeps_bytes_that_are_no_utf_8():
    cleaned = text.clean(tf.constant(b"\xff\xfe  so!!! <b>x</b> \xc3"))
    assert cleaned.numpy() == b"\xff\xfe so! x \xc3"


def test_clean_is_the_same_in_a_saved_model(tmp_path):
    module = tf.Module()
    module.clean = tf.function(text.clean, [tf.TensorSpec((None,), tf.string)])
    tf.saved_model.save(module, str(tmp_path))
    loaded = tf.saved_model.load(str(tmp_path))
    before = tf.constant([before for before, _ in CASES])
    assert loaded.clean(before).numpy().tolist() == [after.encode() for _, after in CASES]
