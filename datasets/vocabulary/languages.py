"""Instruction templates in the languages, beside English, that captions exist in.

Captions follow a colon or stand in quotation marks, so that they need no article, case or gender.
"""

from __future__ import annotations

from codi2_datasets.planning.planner import Columns
from codi2_datasets.vocabulary.captions import captioned_rows

DRAW = {
    "de": ("Zeichne das: {caption}", "Ich möchte ein Bild, das dies zeigt: {caption}", "Mach ein Bild: {caption}"),
    "es": ("Dibuja esto: {caption}", "Quiero una imagen que muestre esto: {caption}", "Haz una imagen: {caption}"),
    "fr": ("Dessine ceci : {caption}", "Je voudrais une image qui montre ceci : {caption}", "Fais une image : {caption}"),
    "it": ("Disegna questo: {caption}", "Vorrei un’immagine che mostri questo: {caption}", "Fai un’immagine: {caption}"),
    "ja": ("これを描いて：{caption}", "次の絵をください：{caption}", "「{caption}」の絵を作って"),
    "nl": ("Teken dit: {caption}", "Ik wil graag een plaatje hiervan: {caption}", "Maak een plaatje: {caption}"),
    "pl": ("Narysuj to: {caption}", "Chcę obrazek, który to pokazuje: {caption}", "Zrób obrazek: {caption}"),
    "pt": ("Desenha isto: {caption}", "Quero uma imagem que mostre isto: {caption}", "Faz uma imagem: {caption}"),
    "ru": ("Нарисуй это: {caption}", "Мне нужна картинка, на которой это: {caption}", "Сделай картинку: {caption}"),
    "zh": ("画这个：{caption}", "我想要一张图，内容是：{caption}", "做一张图：{caption}"),
}  # fmt: skip
NAME = {
    "de": ("Was zeigt dieses Bild? [query]", "[query] Beschreibe das."),
    "es": ("¿Qué muestra esta imagen? [query]", "[query] Describe esto."),
    "fr": ("Que montre cette image ? [query]", "[query] Décris ceci."),
    "it": ("Che cosa mostra questa immagine? [query]", "[query] Descrivi questo."),
    "ja": ("この絵は何ですか？[query]", "[query] これを説明して。"),
    "nl": ("Wat laat dit plaatje zien? [query]", "[query] Beschrijf dit."),
    "pl": ("Co pokazuje ten obrazek? [query]", "[query] Opisz to."),
    "pt": ("O que mostra esta imagem? [query]", "[query] Descreve isto."),
    "ru": ("Что на этой картинке? [query]", "[query] Опиши это."),
    "zh": ("这张图里是什么？[query]", "[query] 描述一下。"),
}  # fmt: skip


def captioned(slot: str) -> dict[str, str]:
    """SQL for candidates: every image with each of its English captions, and with its caption in each of the languages
    of an option.

    The image is in the column `slot`. The kinds are plain, styled, and the languages.
    """
    columns = f"""split, holdout, style as word_style, asset_id as slot_{slot}, concept as meta_concept,
                  family as meta_family, style as meta_style, language"""
    english = f"""select said_key as key, if(style is null, 'plain', 'styled') as kind,
                         coalesce(style, corpus) as balance, {columns}, caption as word_caption
                  from (select *, 'en' as language from {captioned_rows("pictures")})"""
    others = f"""select asset_id || language as key, language as kind, language as balance, {columns},
                        captions ->> ('$.' || language) as word_caption
                 from (select *, attributes -> '$.captions' as captions from pictures),
                      (select unnest($languages::varchar[]) as language)
                 where captions ->> ('$.' || language) <> ''"""
    return {"en": english, "others": others}


def captioned_columns(slot: str) -> Columns:
    return Columns(words=("caption", "style"), media=(slot,), meta=("concept", "family", "style"), others=("language",))
