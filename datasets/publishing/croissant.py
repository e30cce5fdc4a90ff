"""croissant.json: the build as Croissant 1.1 metadata (JSON-LD), with responsible-AI fields.

Paths are relative to the root, two folders above `builds/<id>/croissant.json`. Shards are listed with their sha256, and
so are the tables if the build's manifests are given: then `mlcroissant`, which reads no file set outside the folder of
the metadata, can load their records. It cannot load the media, because it has no WebP and FLAC reader.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import Any

import duckdb

from codi2_datasets.formats.sample import EXTENSIONS
from codi2_datasets.publishing.columns import COLUMNS
from codi2_datasets.publishing.figures import build_row, columns, find_works, one, rows
from codi2_datasets.publishing.licence_links import text_of
from codi2_storage.commits.manifests import Manifest

VERSION, RAI_VERSION = "http://mlcommons.org/croissant/1.1", "http://mlcommons.org/croissant/RAI/1.0"
CROISSANT_TERMS = (
    "arrayShape", "citeAs", "column", "containedIn", "equivalentProperty", "extract", "field", "fileObject",
    "fileProperty", "fileSet", "format", "includes", "isArray", "isLiveDataset", "jsonPath", "key", "md5", "parentField",
    "path", "recordSet", "references", "regex", "repeated", "replace", "samplingRate", "separator", "source",
    "subField", "transform",
)  # fmt: skip
CONTEXT: dict[str, Any] = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    **{term: f"cr:{term}" for term in CROISSANT_TERMS},
    "conformsTo": "dct:conformsTo",
    "cr": "http://mlcommons.org/croissant/",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "dct": "http://purl.org/dc/terms/",
    "description": {"@container": "@language"},
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "name": {"@container": "@language"},
    "rai": "http://mlcommons.org/croissant/RAI/",
    "sc": "https://schema.org/",
}
TABLES = {
    "samples": "One row a sample.",
    "parts": "One row a part of a sample (sample_id in samples, asset_id in assets). A medium lies in the sample's shard as {sample_id}.{position:03d}.{extension}.",
    "assets": "One row a medium that the build selected, and that it made (op is set).",
}
TYPES = {"VARCHAR": "sc:Text", "BIGINT": "cr:Int64", "DOUBLE": "cr:Float64", "BOOLEAN": "sc:Boolean"}
# the split is an enumeration of its own; mlcroissant fails on a second reference in a chain, so the sample of a part is
# given in the description only
REFERENCES = {("samples", "split"): "splits/name"}
MEDIA_TYPES = {"json": "application/json", "webp": "image/webp", "flac": "audio/flac", "mp4": "video/mp4"}


def croissant(connection: duckdb.DuckDBPyConnection, build_id: str, files: Sequence[Manifest] = ()) -> bytes:
    """The metadata as indented JSON. `files` are the manifests of the build's commit."""
    build = build_row(connection, build_id)
    find_works(connection)
    licences = [row["licence"] for row in rows(connection, "select distinct licence from works order by 1")]
    shards = rows(connection, "select * from shards order by shard")
    tables = {name: table_files(name, build_id, files) for name in TABLES}
    release = (build["code_version"] or "0.0.0").partition("+")[0]
    metadata: dict[str, Any] = {
        "@context": dict(sorted(CONTEXT.items())),
        "@type": "sc:Dataset",
        "conformsTo": [VERSION, RAI_VERSION],
        "name": f"codi2-{build['recipe']}",
        "description": summary(build),
        "version": f"{release}+{build_id}",
        "url": "README.md",
        "license": [text_of(name) or name for name in licences if name],
        "creator": {"@type": "sc:Organization", "name": "CoDi-2, open; the works are by those named in ATTRIBUTION"},
        "keywords": ["multimodal", "in-context learning", "interleaved", "instruction tuning", "any-to-any"],
        "inLanguage": languages(connection),
        "citeAs": cite(build),
        "isLiveDataset": False,
        "distribution": [
            root(shards),
            *map(shard, shards),
            *shard_sets(shards, modalities(connection)),
            *tables.values(),
        ],
        "recordSet": [splits(connection), *(record_set(connection, *item) for item in tables.items())],
        **responsible(connection, build),
    }
    if build["created_at"]:
        metadata["datePublished"] = build["created_at"]
    return json.dumps(metadata, indent=1, ensure_ascii=False).encode()


def summary(build: dict[str, Any]) -> str:
    return (
        f"In-context, interleaved, multimodal instructions: {build['samples'] or 0:,} samples as chat messages whose parts "
        f"are words, pictures, sounds and clips, built from openly licensed corpora by the recipe {build['recipe']}. "
        f"Build {build['build_id']}, made by code {build['code_version']}."
    )


def cite(build: dict[str, Any]) -> str:
    year = f",\n  year = {{{build['created_at'][:4]}}}" if build["created_at"] else ""
    title = f"CoDi-2, open: {build['recipe']} dataset, build {build['build_id']}"
    return f"@misc{{codi2_open_{build['build_id']},\n  title = {{{title}}}{year}\n}}"


def languages(connection: duckdb.DuckDBPyConnection) -> list[str]:
    if "language" not in columns(connection, "samples"):
        return ["en"]
    values = rows(connection, "select distinct language from samples where language is not null order by 1")
    return [row["language"] for row in values] or ["en"]


def modalities(connection: duckdb.DuckDBPyConnection) -> list[str]:
    values = rows(connection, "select distinct modality from parts where modality <> 'text' order by 1")
    return [row["modality"] for row in values]


def root(shards: list[dict[str, Any]]) -> dict[str, Any]:
    listed = "".join(f"{row['sha256']}  {row['shard']}\n" for row in shards)
    return {
        "@type": "cr:FileObject", "@id": "root", "name": "root",
        "description": "The folder that holds shards and catalog. Its sha256 is that of the list of this build's shards, "
                       "a line each: sha256, two spaces, name.",
        "contentUrl": "../..", "encodingFormat": "inode/directory", "sha256": hashlib.sha256(listed.encode()).hexdigest(),
    }  # fmt: skip


def shard(row: dict[str, Any]) -> dict[str, Any]:
    return {
        "@type": "cr:FileObject", "@id": row["shard"], "name": row["shard"].rpartition("/")[2],
        "description": f"{row['task']}, {row['split']}: {row['samples']:,} samples.",
        "contentUrl": f"../../{row['shard']}", "contentSize": f"{row['bytes']} B",
        "encodingFormat": "application/x-tar", "sha256": row["sha256"],
    }  # fmt: skip


def shard_sets(shards: list[dict[str, Any]], shown: list[str]) -> list[dict[str, Any]]:
    """The shards as one file set, and the files in them by extension."""
    names = [row["shard"] for row in shards]
    description = "WebDataset shards: the JSON of a sample first, then its media."
    extensions = ["json", *(EXTENSIONS[name] for name in shown if name in EXTENSIONS)]
    return [
        file_set("shards", description, "application/x-tar", names, "root"),
        *(
            file_set(
                f"{name}-in-shards", f"Every .{name} file in the shards.", MEDIA_TYPES[name], [f"*.{name}"], "shards"
            )
            for name in extensions
        ),
    ]


def table_files(table: str, build_id: str, files: Sequence[Manifest]) -> dict[str, Any]:
    """The Parquet file of a table with its hash; the set of its files if no manifest or several list it."""
    name, kind = f"{table}-table", "application/x-parquet"
    listed = [file for file in files if file.table == table]
    if len(listed) != 1:
        return file_set(name, TABLES[table], kind, [f"catalog/{table}/build={build_id}/*.parquet"], "root")
    return {
        "@type": "cr:FileObject", "@id": name, "name": f"{table}.parquet", "description": TABLES[table],
        "contentUrl": f"../../{listed[0].path}", "encodingFormat": kind, "sha256": listed[0].sha256,
    }  # fmt: skip


def file_set(name: str, description: str, kind: str, includes: list[str], inside: str) -> dict[str, Any]:
    return {
        "@type": "cr:FileSet", "@id": name, "name": name, "description": description, "encodingFormat": kind,
        "includes": includes, "containedIn": {"@id": inside},
    }  # fmt: skip


def splits(connection: duckdb.DuckDBPyConnection) -> dict[str, Any]:
    values = rows(connection, "select distinct split from samples order by 1")
    return {
        "@type": "cr:RecordSet", "@id": "splits", "name": "splits", "description": "The splits.",
        "dataType": "cr:Split", "key": {"@id": "splits/name"},
        "field": [{"@type": "cr:Field", "@id": "splits/name", "name": "name", "dataType": "sc:Text"}],
        "data": [{"splits/name": row["split"]} for row in values],
    }  # fmt: skip


def record_set(connection: duckdb.DuckDBPyConnection, table: str, file: dict[str, Any]) -> dict[str, Any]:
    """The columns of a table; `file` is the file or file set that holds it."""
    source = {"fileObject" if file["@type"] == "cr:FileObject" else "fileSet": {"@id": file["@id"]}}
    fields = [field(table, name, kind, source) for name, kind in columns(connection, table).items()]
    key = {"samples": ["sample_id"], "parts": ["sample_id", "position"], "assets": ["asset_id"]}[table]
    return {
        "@type": "cr:RecordSet", "@id": table, "name": table, "description": TABLES[table],
        "key": [{"@id": f"{table}/{name}"} for name in key], "field": fields,
    }  # fmt: skip


def field(table: str, name: str, kind: str, source: dict[str, Any]) -> dict[str, Any]:
    """One column; a list (VARCHAR[]) is an array of its type."""
    description: dict[str, Any] = {
        "@type": "cr:Field", "@id": f"{table}/{name}", "name": name, "description": COLUMNS.get(name, name),
        "dataType": TYPES[kind.removesuffix("[]")],
        "source": {**source, "extract": {"column": name}},
    }  # fmt: skip
    if kind.endswith("[]"):
        description |= {"isArray": True, "arrayShape": "-1"}
    if (table, name) in REFERENCES:
        description["references"] = {"field": {"@id": REFERENCES[table, name]}}
    return description


def responsible(connection: duckdb.DuckDBPyConnection, build: dict[str, Any]) -> dict[str, Any]:
    """Sources and known limitations of the data, in the terms of Croissant RAI 1.0."""
    sources = rows(
        connection,
        "select corpus, source, count(*) as works from works group by all order by all",
    )
    listed = "; ".join(f"{row['corpus']}: {row['works']:,} works of {row['source']}" for row in sources)
    runs = rows(
        connection,
        "select distinct stage, op, op_version from op_runs where stage in ('ingest', 'enrich', 'select') order by all",
    )
    refused = one(connection, "select count(*) from rejects")
    return {
        "rai:dataCollection": f"Nothing was collected anew: works come from published packages. {listed}.",
        "rai:dataCollectionType": ["Secondary Data Analysis"],
        "rai:dataCollectionMissingData": f"{refused:,} rows were refused; table rejects says why for each.",
        "rai:dataPreprocessingProtocol": [f"{row['stage']}: {row['op']}, version {row['op_version']}" for row in runs],
        "rai:dataAnnotationProtocol": "Captions are those of the corpora, written by people; instructions are phrasings "
        "filled with them by the recipe. No model wrote them.",
        "rai:dataUseCases": ["Training and testing models that read and write text, pictures, sounds and clips in context"],
        "rai:dataLimitations": [
            "Small pictures, drawings far more often than photographs, and few sounds: good for methods and for tests, "
            "not for a general model.",
            "Instructions follow a limited number of phrasings.",
        ],
        "rai:dataBiases": "Concepts are those that the makers of the corpora chose to draw or record, in the words of "
        "Unicode and of the packages.",
        "rai:personalSensitiveInformation": personal(connection),
        "rai:dataReleaseMaintenancePlan": "An author who opts out is removed with every sample that shows the work, by "
        "codi2 forget, as a new build.",
    }  # fmt: skip


def personal(connection: duckdb.DuckDBPyConnection) -> list[str]:
    """What may concern persons, by what the build shows."""
    notes = ["Names of authors, as they gave them to the package, stand in ATTRIBUTION and in the table source_rows: "
            "their licences ask for it."]  # fmt: skip
    by_modality = rows(
        connection,
        "select modality, string_agg(distinct corpus, ', ' order by corpus) as corpora from works group by all",
    )
    corpora = {row["modality"]: row["corpora"] for row in by_modality}
    if "text" in corpora:
        notes.append(f"Texts ({corpora['text']}) are as published; nobody screened them anew for what persons tell.")
    if "image" in corpora or "video" in corpora:
        notes.append("Pictures of people are told apart by skin tone and gender where the corpus draws them so; nobody "
                    "screened pictures anew for persons who can be recognised.")  # fmt: skip
    return notes
