"""The newer and smaller routes of OpenAI's API: responses, edits of images, speech, and what an unknown route is told."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient
from PIL import Image

from codi2_datasets.media.decoding.media_types import media_type_of
from codi2_model.serving.deploy.settings import ServerSettings
from codi2_model.serving.http.api import build_api
from codi2_model.serving.http.media import encoded
from codi2_model.serving.http.multipart import parse_form
from codi2_model.serving.openai.errors import RequestError
from codi2_model.serving.openai.generations import sizes_of

openai = pytest.importorskip("openai", reason="the openai client is not installed")
MODEL = "codi2-tiny"
PNG = base64.b64decode(encoded("image", Image.new("RGB", (8, 6), "red")))
RED = f"data:image/png;base64,{base64.b64encode(PNG).decode()}"


@pytest.fixture
def http(maker: Any) -> TestClient:
    return TestClient(build_api(maker, sizes=lambda: {"image": 8, "video": 16}), base_url="http://127.0.0.1")


@pytest.fixture
def client(maker: Any, served: Any) -> Iterator[Any]:
    with served(build_api(maker, sizes=lambda: {"image": 8, "video": 16})) as url:
        yield openai.OpenAI(base_url=f"{url}/v1", api_key="x", max_retries=0)


def error_of(answer: Any, status: int = 400) -> dict[str, Any]:
    assert answer.status_code == status, answer.text[:300]
    error = answer.json()["error"]
    assert error["param"] is None or error["message"].startswith(error["param"])
    return error


# --- responses --------------------------------------------------------------------------------------------------------


def test_a_response_holds_text_and_images_as_the_client_expects_them(client: Any, maker: Any) -> None:
    made = client.responses.create(model=MODEL, input="a red apple", instructions="Be kind.", max_output_tokens=2**20)
    assert made.output_text == "You said: a red apple " and made.status == "completed" and made.usage.total_tokens == 9
    seen = maker.seen[-1]
    assert [message["role"] for message in seen.messages] == ["system", "user"]
    assert seen.settings.modalities == ("text", "image") and seen.settings.required is None
    drawn = client.responses.create(
        model=MODEL, input="an apple", tools=[{"type": "image_generation"}], tool_choice="required"
    )
    assert [item.type for item in drawn.output] == ["message", "image_generation_call"]
    assert Image.open(io.BytesIO(base64.b64decode(drawn.output[1].result))).size == (8, 8)
    cut = client.responses.create(model=MODEL, input="x", max_output_tokens=1)
    assert cut.status == "incomplete" and cut.incomplete_details.reason == "max_output_tokens"


def test_a_streamed_response_tells_of_each_item_and_ends_with_the_whole(client: Any) -> None:
    asked: dict[str, Any] = {
        "model": MODEL,
        "input": "an apple",
        "extra_body": {"modalities": ["text", "image"], "preview_every": 1},
    }
    with client.responses.stream(**asked) as stream:
        events = list(stream)
        whole = stream.get_final_response()
    kinds = [event.type.removeprefix("response.") for event in events]
    assert kinds[:4] == ["created", "in_progress", "output_item.added", "content_part.added"]
    image = [kind.rpartition(".")[2] for kind in kinds if kind.startswith("image_generation_call")]
    assert image == ["in_progress", "generating", "partial_image", "completed"] and kinds[-1] == "completed"
    assert [event.sequence_number for event in events] == list(range(len(events)))
    text = "".join(event.delta for event in events if event.type == "response.output_text.delta")
    assert text == whole.output_text == "You said: an apple " and whole.output[1].result
    again = client.responses.create(**asked).output
    assert [(item.type, item.model_dump()) for item in again] == [
        (
            item.type,
            {**item.model_dump(), "id": other.id}
            | ({"content": other.model_dump()["content"]} if item.type == "message" else {}),
        )
        for item, other in zip(whole.output, again, strict=True)
    ]


def test_items_of_a_conversation_are_read_in_every_form_that_clients_send(client: Any, maker: Any) -> None:
    first = client.responses.create(model=MODEL, input="an apple", extra_body={"modalities": ["text", "image"]})
    said = [
        {"role": "developer", "content": "Be kind."},
        {
            "role": "user",
            "content": [{"type": "input_text", "text": "an apple"}, {"type": "input_image", "image_url": RED}],
        },
    ]
    more = {"type": "message", "role": "user", "content": "more"}
    for history in (
        [item.model_dump() for item in first.output],
        [{"type": "item_reference", "id": item.id} for item in first.output],
        [{"id": item.id} for item in first.output],
        [{"type": "reasoning", "id": "rs_1", "summary": []}, *first.output],
    ):
        client.responses.create(model=MODEL, input=[*said, *history, more])
        system, user, assistant, last = maker.seen[-1].messages
        assert [part["type"] for part in user["content"]] == ["text", "image"] and system["role"] == "system"
        assert [part["type"] for part in assistant["content"]] == ["text", "image"] and last["content"][0][
            "text"
        ] == "more"
    client.responses.create(model=MODEL, input="more", previous_response_id=first.id)
    assert [message["role"] for message in maker.seen[-1].messages] == ["user", "assistant", "user"]
    empty = [{"role": "user", "content": "x"}, {"role": "assistant", "content": None}, {"role": "user", "content": "y"}]
    client.responses.create(model=MODEL, input=empty)
    assert maker.seen[-1].messages[1]["content"] == []


def test_a_response_that_is_not_to_be_stored_is_not_kept(client: Any) -> None:
    made = client.responses.create(model=MODEL, input="x", store=False)
    with pytest.raises(openai.NotFoundError, match="previous_response_id: no response"):
        client.responses.create(model=MODEL, input="y", previous_response_id=made.id)


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"input": None}, "input"), ({"input": []}, "input"), ({"input": [5]}, "input[0]"),
        ({"input": [{"type": "function_call_output", "output": "4"}]}, "input[0].type"),
        ({"input": [{"role": "user", "content": [{"type": "smell"}]}]}, "input[0].content[0].type"),
        ({"input": [{"role": "tool", "content": "4"}]}, "input[0].role"),
        ({"input": [{"role": "user", "content": [{"type": "input_image", "image_url": "data:image/png;base64,AAAA"}]}]}, "input[0].content[0].image_url"),
        ({"input": [{"role": "user", "content": "x"}, {"role": "assistant", "content": "y"}]}, "input[1].role"),
        ({"tools": [{"type": "web_search"}]}, "tools[0].type"), ({"tools": False}, "tools"), ({"tool_choice": "required"}, "tool_choice"),
        ({"tools": [{"type": "image_generation", "size": "1024x1024"}]}, "tools[0].size"),
        ({"text": {"format": {"type": "json_object"}}}, "text.format"), ({"reasoning": {"effort": "low"}}, "reasoning.effort"),
        ({"modalities": ["audio"]}, "modalities[0]"), ({"background": True}, "background"), ({"conversation": "conv_1"}, "conversation"),
        ({"previous_response_id": 5}, "previous_response_id"), ({"instructions": 5}, "instructions"), ({"colour": "red"}, "colour"),
        ({"metadata": 5}, "metadata"), ({"metadata": {"a": "\ud800"}}, "metadata"), ({"store": "yes"}, "store"), ({"temperature": 5}, "temperature"), ({"max_output_tokens": 0}, "max_output_tokens"),
    ],
)  # fmt: skip
def test_what_a_response_cannot_honor_is_refused_by_name(http: TestClient, fields: dict[str, Any], param: str) -> None:
    assert error_of(http.post("/v1/responses", content=json.dumps({"input": "x", **fields})))["param"] == param


def test_what_changes_no_response_is_accepted(client: Any) -> None:
    made = client.responses.create(
        model=MODEL, input="x", background=False, truncation="disabled", metadata={"a": "b"}, include=[], service_tier="auto",
        reasoning={"effort": "none"}, text={"format": {"type": "text"}}, parallel_tool_calls=True,
    )  # fmt: skip
    assert made.metadata == {"a": "b"} and made.status == "completed"


def test_a_failure_within_a_streamed_response_is_an_event(http: TestClient, echo: Any) -> None:
    failing = TestClient(build_api(echo), base_url="http://127.0.0.1")
    assert error_of(failing.post("/v1/responses", json={"input": "refuse me", "stream": True}))["message"]

    async def half(request: Any) -> Any:
        from codi2_model.generation.events import TextDelta

        yield TextDelta("Half ")
        raise RuntimeError("cannot open /secret/place")

    echo.stream = half
    text = failing.post("/v1/responses", json={"input": "x", "stream": True}).text
    assert "event: error" in text and "event: response.failed" in text and "secret" not in text


# --- images and speech ------------------------------------------------------------------------------------------------


def test_an_image_is_edited_as_a_form_or_as_json(client: Any, http: TestClient, maker: Any) -> None:
    made = client.images.edit(model=MODEL, image=("a.png", PNG, "image/png"), prompt="make it blue", n=2)
    assert len(made.data) == 2 and [p["type"] for p in maker.seen[-1].messages[0]["content"]] == ["image", "text"]
    assert maker.seen[-1].messages[0]["content"][0]["value"].size == (8, 6)
    client.images.edit(model=MODEL, image=[("a.png", PNG), ("b.png", PNG)], prompt="mix", extra_body={"seed": 7})
    assert [p["type"] for p in maker.seen[-1].messages[0]["content"]] == ["image", "image", "text"]
    assert maker.seen[-1].settings.seed == 7
    for images in ([{"image_url": RED}], [RED]):
        answer = http.post("/v1/images/edits", json={"prompt": "blue", "images": images, "response_format": "url"})
        assert answer.json()["data"][0]["url"].startswith("data:image/png;base64,")


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({}, "image"), ({"images": []}, "image"), ({"images": [5]}, "images[0]"), ({"images": ["data:;base64,AAAA"]}, "images[0]"),
        ({"images": [RED], "size": "1024x1024"}, "size"), ({"images": [RED], "prompt": " "}, "prompt"), ({"images": [RED] * 99}, "images"),
        ({"images": [RED], "mask": {"image_url": RED}}, "mask"), ({"images": [RED], "quality": "high"}, "quality"),
        ({"images": [RED], "stream": True}, "stream"), ({"images": [RED], "background": "transparent"}, "background"),
        ({"images": [RED], "n": 99}, "n"), ({"images": [RED], "model": "other"}, "model"),
    ],
)  # fmt: skip
def test_an_edit_at_fault_is_refused_by_name(http: TestClient, fields: dict[str, Any], param: str) -> None:
    status = 404 if param == "model" else 400
    assert error_of(http.post("/v1/images/edits", json={"prompt": "x", **fields}), status)["param"] == param


def test_forms_are_read_byte_by_byte_and_broken_ones_are_refused(http: TestClient) -> None:
    value = bytes(range(256)) + b"\r\n--not the boundary\r\n\r\n"
    head = b'--x\r\nContent-Disposition: form-data; name="image[]"; filename="a.png"\r\nContent-Type: image/png\r\n\r\n'
    body = head + value + b"\r\n--x\r\nContent-Disposition: form-data; name=prompt\r\n\r\nb\r\n--x--\r\n"
    assert parse_form(body, "multipart/form-data; boundary=x") == {"image": [value], "prompt": [b"b"]}
    for broken, kind in (
        (body, "multipart/form-data"), (body[:-8], "multipart/form-data; boundary=x"), (b"", "multipart/form-data; boundary=x"),
        (b"--x\r\n\r\nb\r\n--x--", "multipart/form-data; boundary=x"), (head * 100, 'multipart/form-data; boundary="x"'),
    ):  # fmt: skip
        with pytest.raises(RequestError):
            parse_form(broken, kind)
        error_of(http.post("/v1/images/edits", content=broken, headers={"Content-Type": kind}))
    bad = b'--x\r\nContent-Disposition: form-data; name="n"\r\n\r\ntwo\r\n--x--\r\n'
    assert (
        error_of(
            http.post("/v1/images/edits", content=bad, headers={"Content-Type": "multipart/form-data; boundary=x"})
        )["param"]
        == "n"
    )


def test_images_are_given_in_the_format_asked_for(http: TestClient) -> None:
    for form in ("png", "jpeg", "webp"):
        answer = http.post("/v1/images/generations", json={"prompt": "x", "output_format": form}).json()
        assert answer["output_format"] == form
        assert media_type_of(base64.b64decode(answer["data"][0]["b64_json"])) == f"image/{form}"
    assert (
        error_of(http.post("/v1/images/generations", json={"prompt": "x", "output_format": "gif"}))["param"]
        == "output_format"
    )


def test_speech_is_a_file_of_the_format_asked_for(client: Any, http: TestClient) -> None:
    made = {form: client.audio.speech.create(model=MODEL, voice="alloy", input="a drum", response_format=form).content
            for form in ("mp3", "opus", "aac", "flac", "wav")}  # fmt: skip
    kinds = {"mp3": "audio/mpeg", "opus": "audio/ogg", "aac": "audio/aac", "flac": "audio/flac", "wav": "audio/wav"}
    assert {form: media_type_of(data) for form, data in made.items()} == kinds
    bare = http.post("/v1/audio/speech", json={"input": "a drum", "response_format": "pcm"})
    assert bare.headers["content-type"] == "audio/pcm" and len(np.frombuffer(bare.content, "<i2")) == 24_000
    events = http.post("/v1/audio/speech", json={"input": "a drum", "stream_format": "sse"}).text.split("\n\n")
    told = [json.loads(line.removeprefix("data: ")) for line in events if line]
    assert [one["type"] for one in told] == ["speech.audio.delta", "speech.audio.done"]
    assert base64.b64decode(told[0]["audio"]) == made["mp3"]


@pytest.mark.parametrize(
    ("fields", "param"),
    [({"input": ""}, "input"), ({"input": 5}, "input"), ({"response_format": "ogg"}, "response_format"), ({"speed": 2}, "speed"),
     ({"instructions": "whisper"}, "instructions"), ({"stream_format": "x"}, "stream_format"), ({"colour": 1}, "colour")],
)  # fmt: skip
def test_speech_at_fault_is_refused_by_name(http: TestClient, fields: dict[str, Any], param: str) -> None:
    assert error_of(http.post("/v1/audio/speech", json={"input": "x", **fields}))["param"] == param


def test_a_size_is_that_of_what_is_made() -> None:
    from codi2_model import CoDi2Config

    small = CoDi2Config.preset("small")
    enlarged = getattr(small.decoder("image"), "upscale", None) is not None
    assert sizes_of(small) == {"image": small.image_size * (4 if enlarged else 1), "video": small.video.size}


# --- chat -------------------------------------------------------------------------------------------------------------


def test_audio_comes_in_the_format_asked_for_and_its_id_stands_for_it(client: Any, maker: Any) -> None:
    said = [{"role": "user", "content": "a drum"}]
    asked: dict[str, Any] = {
        "model": MODEL,
        "modalities": ["text", "audio"],
        "audio": {"voice": "alloy", "format": "mp3"},
    }
    message = client.chat.completions.create(messages=said, **asked).choices[0].message
    assert (
        message.content == "You said: a drum " and media_type_of(base64.b64decode(message.audio.data)) == "audio/mpeg"
    )
    with client.chat.completions.stream(messages=said, **asked) as stream:
        list(stream)
        streamed = stream.get_final_completion().choices[0].message.audio
    audio_id = streamed["id"] if isinstance(streamed, dict) else streamed.id
    for history in (
        message,
        {"role": "assistant", "audio": {"id": message.audio.id}},
        {"role": "assistant", "audio": {"id": audio_id}},
    ):
        client.chat.completions.create(messages=[*said, history, *said], **asked)
        assert [part["type"] for part in maker.seen[-1].messages[1]["content"]] == ["text", "audio"]
    for bad in ("ogg", 5, "../x"):
        with pytest.raises(openai.BadRequestError, match=r"audio\.format"):
            client.chat.completions.create(messages=said, **asked | {"audio": {"voice": "a", "format": bad}})


def test_an_unknown_route_is_told_what_there_is(http: TestClient) -> None:
    for answer in (
        http.post("/v1/embeddings", json={}),
        http.post("/chat/completions", json={}),
        http.get("/v1/responses/resp_1"),
    ):
        assert "POST /v1/chat/completions" in error_of(answer, 404)["message"]
    assert "GET /v1/chat/completions" in error_of(http.get("/v1/chat/completions"), 405)["message"]


def test_pages_of_allowed_origins_may_send_the_headers_that_clients_send(maker: Any) -> None:
    app = TestClient(build_api(maker, ServerSettings(origins=("https://app.example",))), base_url="http://127.0.0.1")
    asked = {"Origin": "https://app.example", "Access-Control-Request-Method": "POST"}
    answer = app.options(
        "/v1/chat/completions", headers={**asked, "Access-Control-Request-Headers": "authorization,x-stainless-lang"}
    )
    assert answer.status_code == 200 and "x-stainless-lang" in answer.headers["access-control-allow-headers"]
