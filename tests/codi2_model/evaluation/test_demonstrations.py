"""Demonstrations of a prompt: count, reduce, exchange."""

from __future__ import annotations

from typing import Any

from codi2_model.evaluation.bench.demonstrations import count, cut, exchange


def t(words: str, role: str | None = None) -> dict[str, Any]:
    return {"type": "text", "text": words, **({"icl_role": role} if role else {})}


def i(name: str, role: str) -> dict[str, Any]:
    return {"type": "image", "value": name, "icl_role": role}


def prompt(letters: str, query: str = "q") -> list[dict[str, Any]]:
    content = [t("We turn ")]
    for n, letter in enumerate(letters):
        content += [t(" and ")] if n else []
        content += [i(letter, "demo_input"), t(" into "), i(letter.upper(), "demo_output")]
    return [{"role": "user", "content": [*content, t(". What becomes of "), i(query, "query"), t("?")]}]


def said(messages: list[dict[str, Any]]) -> str:
    return "|".join("".join(part.get("text") or part["value"] for part in m["content"]) for m in messages)


def test_the_last_demonstrations_are_kept() -> None:
    asked = prompt("abcd")
    assert count(asked) == 4
    assert (
        said(cut(asked, 4))
        == said(cut(asked, 9))
        == "We turn a into A and b into B and c into C and d into D. What becomes of q?"
    )
    assert said(cut(asked, 2)) == "We turn c into C and d into D. What becomes of q?"
    assert said(cut(asked, 0)) == "What becomes of q?"
    assert count(cut(asked, 2)) == 2


def test_a_prompt_without_demonstrations_stays() -> None:
    asked = [{"role": "user", "content": [t("Draw "), i("q", "query")]}]
    assert count(asked) == 0 and said(cut(asked, 0)) == "Draw q"


def test_demonstrations_of_words_and_of_several_inputs() -> None:
    content = [t("Word: "), t("a", "demo_input"), t(" Meaning: "), t("A", "demo_output"), t("\nWord: ")]
    content += [
        t("b", "demo_input"),
        t(" Meaning: "),
        t("B", "demo_output"),
        t("\nWord: "),
        t("q", "query"),
        t(" Meaning:"),
    ]
    words = [{"role": "user", "content": content}]
    assert said(cut(words, 1)) == "Word: b Meaning: B\nWord: q Meaning:"
    assert said(cut(words, 0)) == "Word: q Meaning:"
    sums = [i("a", "demo_input"), t("+"), i("b", "demo_input"), t("="), i("c", "demo_output"), t("; ")]
    sums += [
        i("d", "demo_input"),
        t("+"),
        i("e", "demo_input"),
        t("="),
        i("f", "demo_output"),
        t("; "),
        i("q", "query"),
    ]
    both = [{"role": "user", "content": sums}]
    assert count(both) == 2 and said(cut(both, 1)) == "d+e=f; q"


def test_demonstrations_over_several_messages() -> None:
    asked = []
    for letter in "ab":
        asked += [{"role": "user", "content": [i(letter, "demo_input")]}]
        asked += [{"role": "assistant", "content": [i(letter.upper(), "demo_output")]}]
    asked += [{"role": "user", "content": [i("q", "query")]}]
    assert said(cut(asked, 1)) == "b|B|q" and said(cut(asked, 0)) == "q"
    assert [m["role"] for m in cut(asked, 1)] == ["user", "assistant", "user"]
    other = [{**m, "content": [{**p, "value": p["value"] * 2} for p in m["content"]]} for m in asked]
    assert said(exchange(asked, other)) == "aa|AA|bb|BB|q"


def test_foreign_demonstrations_take_the_place_of_the_own_ones() -> None:
    assert said(exchange(prompt("ab"), prompt("xy", "z"))) == "We turn x into X and y into Y. What becomes of q?"
