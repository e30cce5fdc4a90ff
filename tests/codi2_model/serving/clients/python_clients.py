"""Stock Python clients against a server: what each makes of text, an image, audio and a stream. One JSON object on stdout.

    python python_clients.py http://127.0.0.1:8000/v1

It runs in an environment of its own (requirements.clients.txt), and knows nothing of this project.
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"  # else it asks the network for prices
os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
BASE, MODEL = sys.argv[1], "codi2-tiny"
TEXT, IMAGE, AUDIO = "Say hello.", "Draw an apple.", "Play a drum."
Found = dict[str, Any]


def found(text: Any, image: Any = None, audio: Any = None) -> Found:
    return {"text": text, "image": bool(image), "audio": bool(audio)}


def messages(text: str) -> list[dict[str, Any]]:
    return [{"role": "user", "content": text}]


def openai_python() -> dict[str, Callable[[], Found]]:
    from openai import OpenAI

    client = OpenAI(base_url=BASE, api_key="x", max_retries=0)

    def ask(text: str) -> Found:
        message = client.chat.completions.create(model=MODEL, messages=messages(text)).choices[0].message
        return found(message.content.strip(), message.model_extra["images"], message.audio)

    def stream() -> Found:
        with client.chat.completions.stream(model=MODEL, messages=messages(IMAGE)) as events:
            list(events)
            message = events.get_final_completion().choices[0].message
        return found(message.content.strip(), message.model_extra["images"])

    def responses() -> Found:
        made = client.responses.create(model=MODEL, input=IMAGE)
        return found(made.output_text.strip(), [item for item in made.output if item.type == "image_generation_call"])

    def responses_stream() -> Found:
        with client.responses.stream(model=MODEL, input=IMAGE) as events:
            list(events)
            made = events.get_final_response()
        return found(made.output_text.strip(), [item for item in made.output if item.type == "image_generation_call"])

    def media() -> Found:
        image = base64.b64decode(client.images.generate(model=MODEL, prompt="x").data[0].b64_json)
        edited = client.images.edit(model=MODEL, image=("a.png", image), prompt="blue").data[0].b64_json
        return found("", edited, client.audio.speech.create(model=MODEL, voice="alloy", input="x").content)

    def turns() -> Found:
        first = client.chat.completions.create(model=MODEL, messages=messages(AUDIO)).choices[0].message
        by_id: Any = {"role": "assistant", "audio": {"id": first.audio.id}}
        for turn in (first, by_id):
            said = [*messages(AUDIO), turn, *messages(TEXT)]
            text = client.chat.completions.create(model=MODEL, messages=said).choices[0].message.content
        return found(text.strip())

    return {
        "text": lambda: ask(TEXT), "image": lambda: ask(IMAGE), "audio": lambda: ask(AUDIO), "stream": stream,
        "responses": responses, "responses stream": responses_stream, "media": media, "turns": turns,
    }  # fmt: skip


def litellm() -> dict[str, Callable[[], Found]]:
    import litellm

    litellm.suppress_debug_info = True
    about: dict[str, Any] = {"model": f"openai/{MODEL}", "api_base": BASE, "api_key": "x", "num_retries": 0}

    def read(message: Any) -> Found:
        return found(message.content.strip(), getattr(message, "images", None), getattr(message, "audio", None))

    def ask(text: str) -> Found:
        return read(litellm.completion(**about, messages=messages(text)).choices[0].message)

    def stream() -> Found:
        chunks = list(litellm.completion(**about, messages=messages(IMAGE), stream=True))
        return read(litellm.stream_chunk_builder(chunks).choices[0].message)

    def responses() -> Found:
        made = litellm.responses(**about, input=TEXT)
        return found(made.output[0].content[0].text.strip())

    def media() -> Found:
        image = litellm.image_generation(**about, prompt="x").data[0].b64_json
        return found("", image, litellm.speech(**about, voice="alloy", input="x").content)

    return {
        "text": lambda: ask(TEXT), "image": lambda: ask(IMAGE), "audio": lambda: ask(AUDIO), "stream": stream,
        "responses": responses, "media": media,
    }  # fmt: skip


def langchain() -> dict[str, Callable[[], Found]]:
    from langchain_core.messages import HumanMessage
    from langchain_core.output_parsers import StrOutputParser
    from langchain_openai import ChatOpenAI

    chat = ChatOpenAI(model=MODEL, base_url=BASE, api_key="x", max_retries=0)
    newer = ChatOpenAI(model=MODEL, base_url=BASE, api_key="x", max_retries=0, use_responses_api=True)

    def ask(text: str) -> Found:
        made = chat.invoke(text)
        return found(made.content.strip(), made.additional_kwargs.get("images"), made.additional_kwargs.get("audio"))

    def stream() -> Found:
        return found("".join((chat | StrOutputParser()).stream(TEXT)).strip())

    def responses() -> Found:
        made = newer.invoke(IMAGE)
        return found(made.text.strip(), [part for part in made.content if part["type"] == "image_generation_call"])

    def responses_stream() -> Found:
        return found("".join(piece.text for piece in newer.stream(TEXT)).strip())

    def turns() -> Found:
        for model in (chat, newer):
            text = model.invoke([HumanMessage(IMAGE), model.invoke(IMAGE), HumanMessage(TEXT)]).text
        return found(text.strip())

    return {
        "text": lambda: ask(TEXT), "image": lambda: ask(IMAGE), "audio": lambda: ask(AUDIO), "stream": stream,
        "responses": responses, "responses stream": responses_stream, "turns": turns,
    }  # fmt: skip


def pydantic_ai() -> dict[str, Callable[[], Found]]:
    from pydantic_ai import Agent, BinaryContent, BinaryImage
    from pydantic_ai.models.openai import OpenAIChatModel, OpenAIResponsesModel
    from pydantic_ai.profiles.openai import OpenAIModelProfile
    from pydantic_ai.providers.openai import OpenAIProvider

    provider = OpenAIProvider(base_url=BASE, api_key="x")
    chat, newer = OpenAIChatModel(MODEL, provider=provider), OpenAIResponsesModel(MODEL, provider=provider)
    draws = OpenAIResponsesModel(MODEL, provider=provider, profile=OpenAIModelProfile(supports_image_output=True))

    def ask(text: str) -> Found:
        return found(Agent(chat).run_sync(text).output.strip())

    def stream() -> Found:
        async def pieces() -> str:
            async with Agent(chat).run_stream(TEXT) as events:
                return "".join([piece async for piece in events.stream_text(delta=True)])

        return found(asyncio.run(pieces()).strip())

    def responses() -> Found:
        image = Agent(draws, output_type=BinaryImage).run_sync(IMAGE).output
        return found(Agent(newer).run_sync(TEXT).output.strip(), image.data)

    def turns() -> Found:
        for model in (chat, newer):
            first = Agent(model).run_sync(["What is this?", BinaryContent(PNG, media_type="image/png")])
            text = Agent(model).run_sync(TEXT, message_history=first.all_messages()).output
        return found(text.strip())

    return {
        "text": lambda: ask(TEXT), "image": lambda: ask(IMAGE), "audio": lambda: ask(AUDIO), "stream": stream,
        "responses": responses, "turns": turns,
    }  # fmt: skip


def llm() -> dict[str, Callable[[], Found]]:
    folder = Path(tempfile.mkdtemp(prefix="llm-"))
    os.environ["LLM_USER_PATH"] = str(folder)
    about = {
        "model_id": "codi2",
        "model_name": MODEL,
        "api_base": BASE,
        "api_key_name": "x",
        "vision": True,
        "audio": True,
    }
    (folder / "extra-openai-models.yaml").write_text(json.dumps([about]))  # JSON is YAML
    import llm

    model = llm.get_model("codi2")
    model.key = "x"

    def ask(text: str, stream: bool = False) -> Found:
        return found("".join(model.prompt(text, stream=stream)).strip())

    def turns() -> Found:
        conversation = model.conversation()
        conversation.prompt("What is this?", attachments=[llm.Attachment(type="image/png", content=PNG)]).text()
        return found(conversation.prompt(TEXT).text().strip())

    return {
        "text": lambda: ask(TEXT), "image": lambda: ask(IMAGE), "audio": lambda: ask(AUDIO), "stream": lambda: ask(TEXT, True),
        "turns": turns,
    }  # fmt: skip


def gradio() -> dict[str, Callable[[], Found]]:
    import gradio

    whole = gradio.load_chat(BASE, model=MODEL, token="x", streaming=False).fn
    streamed = gradio.load_chat(BASE, model=MODEL, token="x").fn
    with_files = gradio.load_chat(BASE, model=MODEL, token="x", file_types="image", streaming=False).fn

    def ask(text: str) -> Found:
        return found(whole(text, []).strip())

    def turns() -> Found:
        path = Path(tempfile.mkdtemp(prefix="gradio-")) / "a.png"
        path.write_bytes(PNG)
        turns = {"user": TEXT, "assistant": whole(TEXT, [])}
        said = [{"role": role, "content": [{"type": "text", "text": text}]} for role, text in turns.items()]
        return found(with_files({"text": "What is this?", "files": [str(path)]}, said).strip())

    return {
        "text": lambda: ask(TEXT), "image": lambda: ask(IMAGE), "audio": lambda: ask(AUDIO),
        "stream": lambda: found(list(streamed(TEXT, []))[-1].strip()), "turns": turns,
    }  # fmt: skip


PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAIAAAACCAIAAAD91JpzAAAAEElEQVR4nGP4z8AARAwQCgAf7gP9i18U1AAAAABJRU5ErkJggg=="
)


def tried(cell: Callable[[], Found]) -> Found:
    try:
        return cell()
    except Exception as error:
        return {"error": f"{type(error).__name__}: {error}"[:300]}


if __name__ == "__main__":
    table = {}
    for client in (openai_python, litellm, langchain, pydantic_ai, llm, gradio):
        table[client.__name__] = {name: tried(cell) for name, cell in client().items()}
    print("\n" + json.dumps(table))
