"""Values that Spinning Up's documentation writes: dict(...), [32]*2, int(1e5). None of them is evaluated."""

import math
import tracemalloc

import pytest
from torch import nn

from spinup.cli.values import cast_like, read_value
from spinup.errors import ConfigError


@pytest.mark.parametrize(
    ("word", "value"),
    [
        ("dict(hidden_sizes=[32,32])", {"hidden_sizes": [32, 32]}),
        ("dict(hidden_sizes=[64]*2, activation=torch.nn.Tanh)",
         {"hidden_sizes": [64, 64], "activation": nn.Tanh}),
        ("{'activation': nn.ELU}", {"activation": nn.ELU}),
        ("dict(activation=tf.nn.relu)", {"activation": "tf.nn.relu"}),
        ("dict()", {}), ("dict({'a': 1}, b=2)", {"a": 1, "b": 2}),
        ("[32]*2", [32, 32]), ("2*[32]", [32, 32]), ("(256,)*2", (256, 256)), ("[64]+[32]*2", [64, 32, 32]),
        ("[2**5, 64//2]", [32, 32]),
        ("int(1e5)", 100_000), ("int(-1.5)", -1), ("float('inf')", math.inf), ("float(3)", 3.0),
        ("list((1, 2))", [1, 2]), ("tuple([1])", (1,)), ("set()", set()),
        ("1e3*4", 4000.0), ("1+1", 2), ("3e-4/2", 1.5e-4), ("-2**2", -4), ("7%4", 3), ("10**6", 1_000_000),
        ("1+2j", 1 + 2j), ("1.", 1.0), ("2**-2", 0.25),
    ],
)  # fmt: skip
def test_forms_of_the_documentation(word, value):
    got = read_value(word)
    assert got == value
    assert type(got) is type(value)


@pytest.mark.parametrize(
    "word",
    ["2024-01-01", "a+b", "x*2", "print(1)", "os.getcwd()", "open('x')", "dict", "nn", "a if b else c",
     "lambda: 0", "'a'*3", "a[0]", "-x", "not 1", "1<2", "~1", "'%s' % 1", "f'{1}'", "1 and 2"],
)  # fmt: skip
def test_other_expressions_are_text(word):
    assert read_value(word) == word


@pytest.mark.parametrize(
    "word",
    [
        "9**9**9", "2**999999999", "-2**999999999", "[0]*10**9", "[[[0]*1000]*1000]*1000", "2.0**99999",
        "[0]*99999", "(0,)*10**9", "dict(a=[0]*10**9)", "1/0", "1%0", "dict(a=b)", "dict(1)", "dict(**{})",
        "dict(a=print(1))", "int('x')", "int(float('inf'))", "int(1, 2)", "int(x=1)", "list(5)",
        "[x for x in 'a']", "[*[1]]", "{**{}}", "[1", "{[]: 1}", "dict(a=torch.nn.Linear)", "2**(2**200)",
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_refused_in_one_line_and_little_memory(word):
    tracemalloc.start()
    try:
        with pytest.raises(ConfigError) as caught:
            read_value(word)
        assert tracemalloc.get_traced_memory()[1] < 5e6
    finally:
        tracemalloc.stop()
    assert "\n" not in str(caught.value)


def test_long_and_nested_words_are_refused_or_text():
    long = ("[" * 100_000, "-" * 100_000 + "1", "1" + "*9" * 20_000, "2**99*" * 5000 + "1", "1" * 10_000)
    for word in (*long, "0x" + "f" * 5000):
        refused = ""
        try:
            assert read_value(word) == word
        except ConfigError as error:
            refused = str(error)
        assert len(refused) < 400


def test_words_become_the_type_of_the_default():
    assert cast_like("place, goal", ()) == ("place", "goal")
    assert cast_like("place", ()) == "place"  # SACConfig makes a tuple of it
    assert cast_like((0.5, 0.999), (0.9, 0.999)) == (0.5, 0.999)
    assert cast_like("a,b", "") == "a,b"
    assert (cast_like(1e6, 1), cast_like(0.5, 1), cast_like("TRUE", False)) == (1_000_000, 0.5, True)
