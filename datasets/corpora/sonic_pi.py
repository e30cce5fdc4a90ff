"""Sonic Pi's samples: drums, basses, ambience, electronic and recorded sounds, all CC0 from freesound.org.

File names are terse ('drum_tom_hi_hard'), so captions are written here, by family. If a name is vague ('bd_zum'), the
caption includes only what is certain; if it is meaningless, the sample is rejected.
Attributes: concept (the caption), family, kind 'sound', url (of the original on freesound.org).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from codi2_datasets.corpora.base import RejectedRow, SourceRow

SAMPLES = "usr/share/sonic-pi/samples"

# family -> file name without extension -> caption
CAPTIONS: dict[str, dict[str, str]] = {
    "ambience": {
        "ambi_choir": "ambient choir", "ambi_dark_woosh": "dark whoosh", "ambi_drone": "ambient drone",
        "ambi_haunted_hum": "haunted hum", "ambi_lunar_land": "eerie lunar landscape",
        "ambi_piano": "ambient piano note", "ambi_soft_buzz": "soft buzz", "loop_drone_g_97": "droning loop in G",
    },
    "glass": {"ambi_glass_hum": "humming glass", "ambi_glass_rub": "rubbed glass"},
    "sauna": {"ambi_sauna": "sauna"},
    "swoosh": {"ambi_swoosh": "ambient swoosh", "perc_swash": "swash", "perc_swoosh": "swoosh"},
    "bass": {
        "bass_dnb_f": "drum and bass bass note in F", "bass_drop_c": "dropping bass note in C",
        "bass_hard_c": "hard bass note in C", "bass_hit_c": "bass hit in C", "bass_thick_c": "thick bass note in C",
        "bass_trance_c": "trance bass note in C", "bass_voxy_c": "vocal bass note in C",
        "bass_voxy_hit_c": "vocal bass hit in C", "bass_woodsy_c": "woody bass note in C",
        "glitch_bass_g": "glitchy bass note in G",
    },
    "bass drum": {
        "bd_808": "808 bass drum", "bd_ada": "bass drum", "bd_boom": "booming bass drum", "bd_fat": "fat bass drum",
        "bd_gas": "bass drum", "bd_haus": "house bass drum", "bd_klub": "club bass drum", "bd_mehackit": "bass drum",
        "bd_pure": "pure bass drum", "bd_sone": "bass drum", "bd_tek": "techno bass drum", "bd_zome": "bass drum",
        "bd_zum": "bass drum", "drum_bass_hard": "hard bass drum", "drum_bass_soft": "soft bass drum",
        "drum_heavy_kick": "heavy kick drum", "elec_hollow_kick": "hollow electronic kick drum",
        "elec_soft_kick": "soft electronic kick drum",
    },
    "bell": {
        "drum_cowbell": "cowbell", "elec_bell": "electronic bell", "elec_chime": "electronic chime",
        "elec_triangle": "electronic triangle", "perc_bell": "bell", "perc_bell2": "another bell",
    },
    "cymbal": {
        "drum_cymbal_closed": "closed hi-hat cymbal", "drum_cymbal_hard": "hard cymbal",
        "drum_cymbal_open": "open hi-hat cymbal", "drum_cymbal_pedal": "pedal hi-hat cymbal",
        "drum_cymbal_soft": "soft cymbal", "drum_splash_hard": "hard splash cymbal",
        "drum_splash_soft": "soft splash cymbal", "elec_cymbal": "electronic cymbal",
    },
    "snare drum": {
        "drum_snare_hard": "hard snare drum", "drum_snare_soft": "soft snare drum", "drum_roll": "drum roll",
        "elec_filt_snare": "filtered electronic snare drum", "elec_hi_snare": "high electronic snare drum",
        "elec_lo_snare": "low electronic snare drum", "elec_mid_snare": "middle electronic snare drum",
        "elec_snare": "electronic snare drum", "sn_dolf": "snare drum", "sn_dub": "dub snare drum",
        "sn_generic": "plain snare drum", "sn_zome": "snare drum",
    },
    "tom drum": {
        "drum_tom_hi_hard": "hard high tom drum", "drum_tom_hi_soft": "soft high tom drum",
        "drum_tom_lo_hard": "hard low tom drum", "drum_tom_lo_soft": "soft low tom drum",
        "drum_tom_mid_hard": "hard middle tom drum", "drum_tom_mid_soft": "soft middle tom drum",
        "elec_fuzz_tom": "fuzzy electronic tom drum",
    },
    "electronic blip": {
        "elec_beep": "electronic beep", "elec_blip": "electronic blip", "elec_blip2": "another electronic blip",
        "elec_blup": "electronic blup", "elec_flip": "electronic flip", "elec_ping": "electronic ping",
        "elec_plip": "electronic plip", "elec_pop": "electronic pop", "elec_tick": "electronic tick",
        "elec_twip": "electronic twip",
    },
    "electronic twang": {"elec_bong": "electronic bong", "elec_twang": "electronic twang",
                         "elec_wood": "electronic wood block"},
    "glitch": {f"glitch_perc{n}": f"glitchy percussion number {n}" for n in range(1, 6)},
    "robot": {
        **{f"glitch_robot{n}": f"glitchy robot number {n}" for n in range(1, 3)},
        **{f"mehackit_robot{n}": f"robot number {n}" for n in range(1, 8)},
    },
    "phone": {f"mehackit_phone{n}": f"phone number {n}" for n in range(1, 5)},
    "guitar": {
        "guit_e_fifths": "electric guitar playing fifths on E", "guit_e_slide": "guitar sliding on E",
        "guit_em9": "guitar chord of E minor 9", "guit_harmonics": "guitar harmonics",
    },
    "drum loop": {
        "loop_amen": "amen break drum loop", "loop_amen_full": "full amen break drum loop",
        "loop_breakbeat": "breakbeat drum loop", "loop_industrial": "industrial drum loop",
        "loop_perc1": "percussion loop", "loop_perc2": "another percussion loop",
    },
    "music loop": {"loop_electric": "electric music loop", "loop_safari": "safari music loop"},
    "printer": {"loop_3d_printer": "3D printer at work"},
    "tabla": {
        "loop_tabla": "tabla loop", "tabla_dhec": "tabla stroke dhec", "tabla_na": "tabla stroke na",
        "tabla_na_o": "open tabla stroke na", "tabla_na_s": "short tabla stroke na", "tabla_re": "tabla stroke re",
        "tabla_te_m": "middle tabla stroke te", "tabla_te_ne": "tabla strokes te and ne",
        **{f"tabla_{stroke}{n}": f"tabla stroke {stroke} number {n}" for stroke, last in
           {"ghe": 8, "ke": 3, "tas": 3, "te": 2, "tun": 3}.items() for n in range(1, last + 1)},
    },
    "burp": {"misc_burp": "burp"},
    "cinematic boom": {"misc_cineboom": "cinematic boom"},
    "crow": {"misc_crow": "crow cawing"},
    "door": {"perc_door": "door"},
    "impact": {"perc_impact1": "impact", "perc_impact2": "another impact"},
    "finger snap": {"perc_snap": "finger snap", "perc_snap2": "another finger snap"},
    "cash register": {"perc_till": "cash register"},
    "vinyl record": {
        "vinyl_backspin": "vinyl record spinning back", "vinyl_hiss": "hiss of a vinyl record",
        "vinyl_rewind": "vinyl record rewinding", "vinyl_scratch": "vinyl record scratch",
    },
}  # fmt: skip


@dataclass(frozen=True)
class SonicPi:
    name: str = "sonic-pi-samples"
    version: str = "2"
    source: str = "deb:sonic-pi-samples"
    companions: tuple[str, ...] = ()
    licence: str = "CC0-1.0"
    description: str = "Drums, basses, ambience, electronic and recorded sounds"
    tasks: tuple[str, ...] = ("text_to_audio", "audio_editing")
    size: str = "159 sounds, 22 MB"

    def rows(self, package: Path, companions: dict[str, Path]) -> Iterator[SourceRow | RejectedRow]:
        families = {name: (family, caption) for family, named in CAPTIONS.items() for name, caption in named.items()}
        origins = read_origins(package / SAMPLES / "README.md")
        for path in sorted((package / SAMPLES).glob("*.flac")):
            locator = f"{SAMPLES}/{path.name}"
            if path.stem not in families:
                yield RejectedRow(self.name, locator, "its name does not tell what it sounds like")
                continue
            family, caption = families[path.stem]
            author, url = origins.get(path.stem.replace("_", ""), ("unknown (freesound.org)", ""))
            yield SourceRow(
                corpus=self.name,
                locator=locator,
                modality="audio",
                payload=path.read_bytes(),
                media_type="audio/flac",
                licence=self.licence,
                author=author,
                caption=caption,
                attributes={"concept": caption, "family": family, "kind": "sound", "url": url},
            )


def read_origins(readme: Path) -> dict[str, tuple[str, str]]:
    """Author and URL of each sample; names without underscores, which the list uses inconsistently."""
    line = re.compile(r"^\* `:(\w+)`\s*-\s*(https?://\S+/people/([^/]+)/\S+)", re.MULTILINE)
    entries = line.findall(readme.read_text(encoding="utf-8"))
    return {name.replace("_", ""): (f"{user.replace('%20', ' ')} (freesound.org)", url) for name, url, user in entries}


CORPUS = SonicPi()
