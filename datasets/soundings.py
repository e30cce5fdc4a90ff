"""Pictures and sounds of the same thing, as their corpus pairs them: the duck and its quack."""

from __future__ import annotations

# One row a pair: picture, sound, and what both show. Of one split and holdout, so that none leaks.
SOUNDINGS = """
    select p.asset_id as picture, s.asset_id as sound, p.caption as words, s.caption as sound_words, p.split, p.holdout,
           p.concept, p.family, p.corpus
    from (select *, attributes ->> '$.pair' as pair from pictures) p
    join (select *, attributes ->> '$.pair' as pair from sounds where kind is distinct from 'speech') s
        on s.pair = p.pair and s.corpus = p.corpus and s.split = p.split and s.holdout = p.holdout
    where p.caption <> '' and s.caption <> ''"""
