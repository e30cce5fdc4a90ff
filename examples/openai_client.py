"""OpenAI's Python client against our server: text, an image of a prompt, an edit, a stream. Needs `openai`.

codi2 serve --checkpoint shipped --port 8000
python examples/openai_client.py http://127.0.0.1:8000/v1
"""

from __future__ import annotations

import base64
import sys
from pathlib import Path

from openai import OpenAI

import codi2_model

EXAMPLES = Path(codi2_model.__file__).parent / "serving" / "page" / "examples"


def main(base_url: str) -> None:
    client = OpenAI(base_url=base_url, api_key="none")
    model = client.models.list().data[0].id

    hello = [{"role": "user", "content": "Hello, who are you?"}]
    answer = client.chat.completions.create(model=model, messages=hello, max_tokens=16)
    print("text:", answer.choices[0].message.content)

    drawn = client.images.generate(model=model, prompt="Draw a red apple in the Noto style.")
    Path("apple.png").write_bytes(base64.b64decode(drawn.data[0].b64_json))
    print("image: apple.png")

    data = base64.b64encode((EXAMPLES / "apple-noto.webp").read_bytes()).decode()
    parts = [
        {"type": "text", "text": "Make it green."},
        {"type": "image_url", "image_url": {"url": f"data:image/webp;base64,{data}"}},
    ]
    edit = client.chat.completions.create(
        model=model,
        messages=[{"role": "user", "content": parts}],
        extra_body={"modalities": ["image"], "content_format": "list", "steps": 4},
    )
    url = edit.choices[0].message.content[0]["image_url"]["url"]
    Path("edited.png").write_bytes(base64.b64decode(url.partition(",")[2]))
    print("edit: edited.png")

    print("stream:", end=" ")
    for chunk in client.chat.completions.create(model=model, messages=hello, max_tokens=16, stream=True):
        print((chunk.choices[0].delta.content or "") if chunk.choices else "", end="", flush=True)
    print()


if __name__ == "__main__":
    main(*sys.argv[1:])
