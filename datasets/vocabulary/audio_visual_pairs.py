"""SQL for pairs of images and audio of the same thing, such as a duck and its quack: paired by their corpus or by name."""

from __future__ import annotations

PER_PICTURE = 4  # maximum number of audio assets paired with one image by name

# One row per pair: image, audio, and the captions of both. Both are of one split and holdout, so that nothing leaks.
# Paired by name are concepts with equal names ('violin', 'dog' and 'dog face'), except for ambiguous words.
AUDIO_VISUAL_PAIRS = f"""
    with seen as (
        select *, attributes ->> '$.pair' as pair,
               regexp_replace(lower(concept), ' face$', '') as name from pictures where caption <> ''),
    heard as (
        select *, attributes ->> '$.pair' as pair, lower(concept) as name from sounds
        where kind is distinct from 'speech' and caption <> ''),
    paired as (
        select p.asset_id as picture, s.asset_id as sound, p.caption as words, s.caption as sound_words, p.split,
               p.holdout, p.concept, p.family, p.corpus
        from seen p join heard s
            on s.pair = p.pair and s.corpus = p.corpus and s.split = p.split and s.holdout = p.holdout),
    named as (
        select p.asset_id as picture, s.asset_id as sound, p.caption as words, s.caption as sound_words, p.split,
               p.holdout, p.concept, p.family, p.corpus
        from seen p join heard s on s.name = p.name and s.split = p.split and s.holdout = p.holdout
        where joinable(p.licence, s.licence) and p.name not in ('music', 'fire', 'star', 'computer', 'bass', 'robot', 'synthesizer', 'triangle', 'ring')
        qualify row_number() over (partition by p.asset_id order by md5(p.asset_id || s.asset_id)) <= {PER_PICTURE})
    select * from paired
    union all select * from named anti join paired using (picture, sound)"""
