"""In-context learning in text: examples in words, then an input -> the output by the same rule.

Definitions, hypernyms, antonyms and topics; arbitrary labels that the examples define; and the tasks of corpora made
for this (MetaICL, Natural Instructions).
"""

from codi2_datasets.planning.templates import phrasings
from codi2_datasets.tasks import Columns, Planner
from codi2_storage.catalog.sql import literals

SAID = {
    "meaning": (
        ("<demo>[demo_in]: [demo_out]\n</demo>[query]:", "[target]"),
        ("<demo>Word: [demo_in] Meaning: [demo_out]\n</demo>Word: [query] Meaning:", "[target]"),
    ),
    "word": (
        ("<demo>[demo_in] -> [demo_out]\n</demo>[query] ->", "[target]"),
        ("Which word is it? <demo>'[demo_in]' is '[demo_out]'. </demo>'[query]' is", "[target]"),
    ),
    "wider": (
        ("<demo>[demo_in] is a kind of [demo_out]. </demo>[query] is a kind of", "[target]"),
        ("<demo>[demo_in] -> [demo_out]\n</demo>[query] ->", "[target]"),
    ),
    "opposite": (
        ("<demo>[demo_in] -> [demo_out]\n</demo>[query] ->", "[target]"),
        ("<demo>The opposite of [demo_in] is [demo_out]. </demo>The opposite of [query] is", "[target]"),
    ),
    "topic": (
        ("<demo>Text: [demo_in] Topic: [demo_out]\n</demo>Text: [query] Topic:", "[target]"),
        ("Sort these. <demo>[demo_in] => [demo_out]\n</demo>[query] =>", "[target]"),
    ),
    "task": (
        ("<demo>[demo_in]\n[demo_out]\n\n</demo>[query]", "[target]"),
        ("<demo>Input: [demo_in]\nOutput: [demo_out]\n</demo>Input: [query]\nOutput:", "[target]"),
        ("Do as in these examples.\n<demo>[demo_in] -> [demo_out]\n</demo>[query] ->", "[target]"),
    ),
    "description": (
        ("<demo>[demo_in]: [demo_out]\n</demo>[query]:", "[target]"),
        ("In a few words. <demo>[demo_in] -> [demo_out]\n</demo>[query] ->", "[target]"),
    ),
}
SHOWN = 4  # examples of label mapping: two of each label
EXAMPLES = [f"demo{n}_{side}" for n in range(1, SHOWN + 1) for side in ("in", "out")]
LABELLED = (
    ("\n".join(f"[demo{n}_in] -> [demo{n}_out]" for n in range(1, SHOWN + 1)) + "\n[query] ->", "[target]"),
    ("Learn what the labels stand for. "
     + " ".join(f"Input: [demo{n}_in] Label: [demo{n}_out]." for n in range(1, SHOWN + 1))
     + " Input: [query] Label:", "[target]"),
    (" ".join(f"[demo{n}_in] goes with [demo{n}_out]." for n in range(1, SHOWN + 1))
     + " What does [query] go with?", "It goes with [target]."),
)  # fmt: skip
LONGEST = 1_000  # characters of an example's input, and of its output
CLASSES = ("noun.animal", "noun.artifact", "noun.food", "noun.plant", "noun.body", "noun.person", "noun.feeling",
           "noun.location")  # fmt: skip
LABELS = (("foo", "bar"), ("red", "blue"), ("A", "B"), ("left", "right"), ("1", "2"), ("cold", "warm"), ("x", "y"))


def pairs(kind: str, source: str, query: str, target: str, relation: str, where: str = "true") -> str:
    return f"""select '{kind}' || asset_id as key, '{kind}' as kind, '{kind}' as balance, split, holdout,
                      {relation} as relation, family, {query} as text_query, {target} as text_target,
                      asset_id as source_asset, concept as meta_concept, family as meta_family,
                      '{kind}' as meta_relation, 0 as shown
               from {source} where {where}"""


def labelled() -> str:
    """SQL for the CTE `labels`: a noun among two nouns of its class and two of another, each class under an arbitrary
    label.
    """
    classes = literals(CLASSES)
    labels = ", ".join(f"[{literals(pair)}]" for pair in LABELS)
    slots = ", ".join(
        f"d[{n}].word as text_demo{n}_in, d[{n}].asset as source_demo{n}_in, d[{n}].label as text_demo{n}_out, "
        f"null::varchar as source_demo{n}_out"
        for n in range(1, SHOWN + 1)
    )
    example = "{{'word': {0}, 'asset': {1}, 'label': {2}}}"
    listed = ", ".join(
        example.format(*of)
        for of in (("q.word1", "q.asset1", "own"), ("q.word2", "q.asset2", "own"),
                   ("o.word", "o.asset_id", "theirs"), ("o.word1", "o.asset1", "theirs"))
    )  # fmt: skip
    return f"""
        nouns as (
            select *, md5_number_lower(asset_id) // 4 as h,
                   lead(word, 1) over w as word1, lead(asset_id, 1) over w as asset1,
                   lead(word, 2) over w as word2, lead(asset_id, 2) over w as asset2
            from senses where lexname in ({classes}) and not contains(word, ' ')
            window w as (partition by lexname, split, holdout order by md5_number_lower(asset_id) // 4, asset_id)),
        asked as (
            select *, [{classes}] as classes, [{labels}] as labels, md5_number_upper(asset_id) as u from nouns),
        turned as (
            select *, labels[1 + (u % {len(LABELS)})::integer] as pair,
                   list_filter(classes, lambda c: c <> lexname)[1 + ((u // 16) % {len(CLASSES) - 1})::integer] as other,
                   md5_number_upper(asset_id || 'other') // 4 as place
            from asked where asset2 is not null),
        matched as (
            select q.asset_id, q.split, q.holdout, q.family, q.concept, q.word, q.lexname,
                   q.pair[1 + ((q.u // 1024) % 2)::integer] as own,
                   q.pair[2 - ((q.u // 1024) % 2)::integer] as theirs,
                   [{listed}] as shown_words
            from turned q asof join nouns o
                on o.lexname = q.other and o.split = q.split and o.holdout = q.holdout and q.place <= o.h
            where o.asset1 is not null),
        mapped as (
            select *, list_sort(list_transform(shown_words, lambda s: {{'h': md5(s.asset || asset_id), 'word': s.word,
                          'asset': s.asset, 'label': s.label}})) as d
            from matched),
        labels as (
        select 'label' || asset_id as key, 'label' as kind, 'label' as balance, split, holdout,
               'label' || asset_id as relation, family, word as text_query, own as text_target,
               asset_id as source_asset, {slots}, concept as meta_concept, family as meta_family,
               'label' as meta_relation, {SHOWN} as shown
        from mapped)"""


# a word with several meanings is asked about without a definition only in its most usual one
SENSES = """
    definitions as (
        select *, from_json(text, '["varchar"]')[1] as word, from_json(text, '["varchar"]')[2] as meaning,
               attributes ->> '$.lexname' as lexname, attributes ->> '$.hypernym' as hypernym,
               attributes ->> '$.antonym' as antonym, (attributes ->> '$.tagged')::integer as tagged
        from texts where kind = 'definition'),
    senses as (
        select * from definitions
        qualify row_number() over (partition by family order by tagged desc, asset_id) = 1),
    summaries as (
        select *, from_json(text, '["varchar"]')[1] as title,
               split_part(from_json(text, '["varchar"]')[2], '. ', 1) as opening,
               attributes ->> '$.topic' as topic, attributes ->> '$.description' as description
        from texts where kind = 'summary'),
    examples as (
        select *, from_json(text, '["varchar"]')[1] as asked, from_json(text, '["varchar"]')[2] as answer,
               attributes ->> '$.task' as task
        from texts where kind = 'icl')"""
LEXNAME = "'{0}' || lexname"
SHORT = r"len(opening) between 30 and 240 and regexp_matches(opening, ' (is|was|are|were) .*[a-z)]{3}\.?$')"
CANDIDATES = {
    "meaning": pairs("meaning", "senses", "word", "meaning", LEXNAME.format("meaning ")),
    "word": pairs("word", "senses", "meaning", "word", LEXNAME.format("word ")),
    "wider": pairs("wider", "senses", "word", "hypernym", "'wider'", "lexname like 'noun.%' and hypernym is not null"),
    "opposite": pairs("opposite", "senses", "word", "antonym", "'opposite'", "antonym is not null and tagged > 1"),
    "topic": pairs("topic", "summaries", "opening", "topic", "'topic'", f"topic is not null and {SHORT}"),
    "task": pairs(
        "task",
        "examples",
        "asked",
        "answer",
        "'task ' || task",
        f"length(asked) <= {LONGEST} and length(answer) <= {LONGEST}",
    ),
    "description": pairs(
        "description", "summaries", "title", "description", "'description'", "description is not null"
    ),
    "label": "select * from labels",
}

PLANNER = Planner(
    "text_icl",
    "1",
    phrasings({**SAID, "label": LABELLED}),
    CANDIDATES,
    Columns(
        texts=("query", "target", *EXAMPLES),
        sources=("asset", *EXAMPLES),
        meta=("concept", "family", "relation"),
        others=("shown",),
    ),
    tables=f"{SENSES}, {labelled()}",
    options={"min_demos": 1, "max_demos": 5, "pairing": "relation"},
    demos=True,
)
