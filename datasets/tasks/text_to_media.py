"""Plain text -> the same text with words for things replaced by images of them, or by their sounds.

A word is replaced if the sentence itself shows that it names one thing: after an article or similar, and before
something that cannot continue the name ('the dog barks' qualifies, 'the dog house' does not).

photo     the word replaced by a photograph of one thing (COCO), instead of a drawing of a style
document  a page that had images, as plain text -> the page with its images in place (OBELICS, MMC4)
"""

from codi2_datasets.corpora import attributes
from codi2_datasets.planning.templates import phrasings
from codi2_datasets.tasks import Columns, Planner
from codi2_datasets.vocabulary.categories import things
from codi2_storage.catalog.sql import literal, literals

BEFORE = ("a", "an", "the", "my", "your", "his", "her", "our", "their", "this", "that", "one", "another", "every")
BETWEEN = ("big", "small", "little", "old", "young", "new", "black", "white", "red", "brown", "green", "yellow", "large",
           "tiny", "beautiful", "good", "huge", "wild", "fresh")  # fmt: skip
AFTER = ("is", "was", "are", "and", "or", "in", "on", "at", "with", "to", "from", "that", "which", "who", "has", "had",
         "by", "for", "under", "over", "but", "as", "into", "when", "while", "because", "up", "down", "near", "so",
         "through", "without", "can", "will", "would", "could", "if", "too", "then", "very", "there", "like")  # fmt: skip
# words with other meanings
AMBIGUOUS = ("fly", "seal", "bat", "turkey", "crane", "top", "date", "bow", "tie", "suit", "ring", "bug", "ram", "roll",
             "mate", "fish", "mouse", "plane", "organ", "horn", "bass", "drum", "trip", "glass", "house", "school",
             "bank", "hotel", "church", "office", "factory", "pass", "cap", "letter", "box", "key", "worm", "pig",
             "monkey", "chick", "chicken", "egg", "triangle", "shark", "ox", "rat", "snake", "pan", "pot", "sign",
             "gun", "wave", "clap", "record", "voice", "whistle", "synthesizer", "people")  # fmt: skip
MOST = 3  # words replaced in a sentence
LENGTH = (20, 200)  # characters of a sentence

PICTURES = (
    ("Put a picture in the place of {words}: [sentence]", "{reply}"),
    ("[sentence] Write this again with a picture instead of {words}.", "{reply}"),
    ("Show {words} instead of writing it. [sentence]", "Here it is: {reply}"),
    ("Rewrite this with {style} pictures for {words}: [sentence]", "{reply}"),
)
PHOTOS = PICTURES[:3]
PER_WORD = 8  # photographs of each word, by hash
DOCUMENTS = (
    ("Put pictures into this text where they belong.\n[sentence]", "{reply}"),
    ("[sentence]\nIllustrate this.", "{reply}"),
    ("This page has lost its pictures:\n[sentence]\nBring them back.", "Here it is:\n{reply}"),
)
SOUNDS = (
    ("Put a sound in the place of {words}: [sentence]", "{reply}"),
    ("[sentence] Write this again with a sound instead of {words}.", "{reply}"),
    ("Let me hear {words} instead of reading the word. [sentence]", "Here it is: {reply}"),
)


def sentences() -> str:
    """SQL for the CTEs `sentences` (of dictionaries, summaries and conversations) and `named`: positions of words in
    them.
    """
    before, between, after = map(literals, (BEFORE, BETWEEN, AFTER))
    return f"""
        sentences as (
            select asset_id as source_asset, family as source_family, split, holdout, licence,
                   unnest(list_sort(list_distinct(string_split(
                       case kind when 'definition' then attributes ->> '$.example'
                            when 'summary' then replace(from_json(text, '["varchar"]')[2], '. ', '.\n')
                            when 'instruction' then replace(array_to_string(from_json(text, '["varchar"]'), '\n'), '. ', '.\n')
                            when 'icl' then replace(array_to_string(from_json(text, '["varchar"]')[1:2], '\n'), '. ', '.\n')
                            else array_to_string(from_json(text, '["varchar"]'), '\n') end, '\n')))) as sentence
            from texts where kind in ('definition', 'summary', 'dialogue', 'instruction', 'icl')),
        tokens as (
            select *, string_split(sentence, ' ') as t from sentences
            where length(sentence) between {LENGTH[0]} and {LENGTH[1]} and not contains(sentence, '  ')),
        placed as (select *, unnest(range(2, len(t) + 1)) as i from tokens),
        named as (
            select *, regexp_extract(t[i], '^[A-Za-z]+') as word, regexp_replace(t[i], '^[A-Za-z]+', '') as rest
            from placed
            where (lower(t[i - 1]) in ({before})
                   or (lower(t[i - 1]) in ({between}) and i > 2 and lower(t[i - 2]) in ({before})))
              and (t[i + 1] is null or regexp_extract(lower(t[i + 1]), '^[a-z]+') in ({after}) or regexp_matches(t[i], '[a-z][,.;!?]+$'))
              and regexp_matches(t[i], '^[a-z]+[,.;!?]*$'))"""


def replaced() -> str:
    """SQL for `replaced`: each sentence with the images of one style, or with one sound, for its first words."""
    ambiguous = literals(AMBIGUOUS)
    named = {name: literal(attribute.neutral) for name, attribute in attributes().items() if attribute.neutral}
    neutral = " and ".join(f"coalesce({name} = {value}, true)" for name, value in named.items())
    return f"""
        photos as (
            select lower(concept) as word, asset_id as hand, asset_id, modality, split, holdout, licence, family
            from pictures where style is null and kind = 'photo' and concept is not null
            qualify row_number() over (partition by word, split, holdout order by md5(asset_id), asset_id) <= {PER_WORD}),
        shown as (
            select lower(concept) as word, style as hand, asset_id, modality, split, holdout, licence, family
            from ({things()}) where {neutral}
            union all by name
            select lower(concept) as word, asset_id as hand, asset_id, modality, split, holdout, licence, family
            from sounds where kind is distinct from 'speech' and caption <> ''
              and lower(concept) in (select lower(concept) from ({things()}) union select word from photos)
            union all by name
            select * from photos),
        known as (
            select * from shown where regexp_full_match(word, '[a-z]+') and word not in ({ambiguous})
            qualify row_number() over (partition by word, hand order by asset_id) = 1),
        vocabulary as (select distinct word from known),
        first_words as (
            select n.* from named n semi join vocabulary using (word)
            qualify row_number() over (partition by source_asset, sentence order by i) <= {MOST}),
        counted as (
            select source_asset, sentence, any_value(source_family) as source_family, any_value(split) as split,
                   any_value(holdout) as holdout, any_value(licence) as licence, any_value(t) as t, list(i order by i) as places,
                   list(word order by i) as words, list(rest order by i) as rests
            from first_words group by source_asset, sentence),
        told as (  -- the words of a sentence that a style, a photograph or a sound shows; the last two one word alone
            select c.source_asset, c.sentence, k.hand, k.modality, list(f.i order by f.i) as places,
                   list(k.asset_id order by f.i) as media, list(f.word order by f.i) as words,
                   list_sort(list_distinct(list(k.family))) as families, list(k.split) as splits, list(k.holdout) as holdouts
            from counted c join first_words f using (source_asset, sentence)
            join known k on k.word = f.word and joinable(k.licence, c.licence)
            group by c.source_asset, c.sentence, k.hand, k.modality),
        replaced as (
            select r.*, c.* exclude (source_asset, sentence, places, words),
                   list_distinct(list_filter(list_append(r.splits, c.split), s -> s <> 'train')) as unseen
            from told r join counted c using (source_asset, sentence)
            where (len(r.places) = len(c.places) or r.hand = r.media[1])
              -- the words stand nowhere else in the sentence, so that all of them are replaced
              and len(list_filter(c.t, x -> list_contains(r.words, regexp_extract(lower(x), '[a-z]+')))) = len(r.places))"""


def between(n: int) -> str:
    """SQL for the text before the n-th replaced word, or after the last one; null if there is none."""
    rest = f"regexp_replace(t[places[{n - 1}]], '^[A-Za-z]+', '')" if n > 1 else "''"  # the comma after 'dog,'
    start = f"places[{n - 1}] + 1" if n > 1 else "1"
    words = f"list_concat(if({n} > 1, [{rest}], []), t[{start}:{{end}}])"
    before = f"array_to_string(list_append({words.format(end=f'places[{n}] - 1')}, ''), ' ')"
    after = f"array_to_string({words.format(end='')}, ' ')"
    return f"case len(places) >= {n} when true then {before} else if(len(places) = {n - 1}, {after}, null) end"


TEXTS = range(1, MOST + 2)
MEDIA = ", ".join(f"media[{n}] as slot_m{n}" for n in range(1, MOST + 1))
TABLES = f"""
    {sentences()}, {replaced()},
    fitting as (
        select *, case when len(unseen) = 0 then 'train'
                       when len(unseen) = 1 and not list_contains(splits, 'train') then unseen[1] end as side
        from replaced)"""
CANDIDATES = {
    "replaced": f"""
        select modality || md5(concat_ws('|', source_asset, sentence, hand)) as key,
               case when modality = 'audio' then 'sound' when hand = media[1] then 'photo' else 'picture' end
                   || len(places) as kind,
               kind as balance, side as split,
               case when side = 'train' then ''
                    when holdout = 'concept' and list_distinct(holdouts) = ['concept'] then 'concept'
                    else 'combination' end as holdout,
               sentence as text_sentence, {", ".join(f"{between(n)} as text_t{n}" for n in TEXTS)}, {MEDIA}, source_asset, hand as word_style,
               array_to_string(list_sort(list_distinct(words)), ' and ') as word_words,
               array_to_string(words, ', ') as meta_concept, families[1] as meta_family
        from fitting where side is not null""",
    "document": f"""
        select 'document' || asset_id as key, 'document' || len(media) as kind, 'document' as balance, split, holdout,
               array_to_string(list_filter(turns, t -> t <> ''), '\n') as text_sentence,
               {", ".join(f"turns[{n}] as text_t{n}" for n in TEXTS)}, {MEDIA}, asset_id as source_asset,
               family as meta_family
        from spoken where kind = 'document' and len(media) <= {MOST}""",
}


def reply(words: int) -> str:
    return "".join(f"[t{n}][m{n}]" for n in range(1, words + 1)) + f"[t{words + 1}]"


PLANNER = Planner(
    "text_to_media",
    "1",
    phrasings(
        {
            f"{kind}{n}": [(user, answer.format(reply=reply(n))) for user, answer in said]
            for kind, said in (("picture", PICTURES), ("sound", SOUNDS), ("photo", PHOTOS), ("document", DOCUMENTS))
            for n in range(1, MOST + 1)
        }
    ),
    CANDIDATES,
    Columns(
        words=("style", "words"),
        media=tuple(f"m{n}" for n in range(1, MOST + 1)),
        texts=("sentence", *(f"t{n}" for n in TEXTS)),
        sources=("asset",),
    ),
    tables=TABLES,
)
