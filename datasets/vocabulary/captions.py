"""SQL for media with several captions each, as in COCO and Clotho."""

from __future__ import annotations

MORE = """from_json(attributes -> '$.more', '["varchar"]')"""


def captioned_rows(table: str) -> str:
    """SQL in brackets: the captioned rows of a table, one per caption.

    The own caption has said_key = asset id; for those of the attribute `more`, said_key also holds their number.
    """
    return f"""(
        select *, asset_id as said_key from {table} where caption <> ''
        union all by name
        select * exclude (words, nth) replace (words as caption), asset_id || '/' || nth as said_key
        from (select *, unnest({MORE}) as words, generate_subscripts({MORE}, 1) as nth
              from {table} where caption <> '' and contains(attributes, '"more": '))
        where words <> '')"""
