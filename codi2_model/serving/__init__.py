"""Serving: an OpenAI-compatible API, batch generation and a terminal chat.

From a request to tokens:

1. `http.routes` receives the request; the Pydantic model `openai.request_models.ChatBody` checks it, `openai.messages` decodes its media.
2. `scheduler.pipeline.Pipeline.stream` passes it to the language stage, `scheduler.engine.Engine`.
3. `scheduler.continuous_batch.ContinuousBatch` adds a row; `codi2_model.processor.CoDi2Processor` makes its prompt tokens.
4. `generation.decode_loop.Writer` chooses the tokens of the reply; completed media go to the decoder stages (`scheduler.decode_requests`).
5. Events come back through the pipeline; `openai.chat_response` formats them.
"""
